"""Orthanc's DICOMweb under an AE title of ours: what it answers itself on the DICOM network, and more."""

from io import BytesIO
from pathlib import Path

import httpx
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit
from pynetdicom import AE, evt

from app.dicom.part10 import PREAMBLE, file_meta
from app.dimse.commands import Kind
from app.dimse.peers import Peer
from tests.dimse.conftest import Listening, Start, listeners
from tests.dimse.stage import counts, encoded, identifier, status
from tests.factories import VL_PHOTOGRAPHIC, instance_bytes, make_instance, uid
from tests.proxy.conftest import CREDENTIALS, OTHERS, PICTURES, Between, upstreams_file
from tests.proxy.titled import (
    FIND,
    MOVE,
    PATIENT_FIND,
    TITLED,
    P,
    answered,
    ask,
    get,
    listed,
    listening,
    no_pauses,
    query,
    recording,
    shared,
    start,
)
from tests.servers import free_port

__all__ = ["answered", "listed", "listening", "no_pauses", "recording", "shared", "start"]


def found(port: int, keys: Dataset, model: str = FIND) -> list[tuple[object, ...]]:
    """What is answered to a query: the values of its keys, in an order that does not depend on the server."""
    ae = AE("TEST")
    ae.add_requested_context(model)
    association = ae.associate("127.0.0.1", port, ae_title="ORTHANC")
    assert association.is_established
    answers = []
    for response, attributes in association.send_c_find(keys, model):
        if attributes is None:
            assert response.Status == 0x0000, response
        else:
            # each writes in a character set of its choice
            compared = [element.tag for element in keys if element.keyword != "SpecificCharacterSet"]
            answers.append(tuple(plain(attributes.get(tag)) for tag in compared))
    association.release()
    return sorted(answers, key=str)


def plain(element: object) -> str:
    return "" if element is None or element.value is None else str(element.value).strip()  # type: ignore[attr-defined]


AGREED = {
    "every study": (query("STUDY", StudyInstanceUID="", PatientName="", StudyDate="", StudyTime=""), 5),
    "a wild card": (query("STUDY", StudyInstanceUID="", PatientID="OTHER_?"), 2),
    "a name, in another case": (query("STUDY", StudyInstanceUID="", PatientName="doe^*"), 1),
    "a name in letters of its own": (
        query("STUDY", SpecificCharacterSet="ISO_IR 192", PatientName="m*^j*", StudyInstanceUID=""),
        1,
    ),
    "a range of dates": (query("STUDY", StudyInstanceUID="", StudyDate="20210510-20210510"), 1),
    "an open range": (query("STUDY", StudyInstanceUID="", StudyDate="20210101-", StudyID=""), 2),
    "a list of UIDs": (
        query("STUDY", StudyInstanceUID=[uid("p"), uid("other 0"), "1.2.3"], ModalitiesInStudy=""),
        2,
    ),
    "modalities": (query("STUDY", ModalitiesInStudy="MR", StudyInstanceUID=""), 1),
    "numbers of what is in it": (
        query("STUDY", **P, NumberOfStudyRelatedSeries="", NumberOfStudyRelatedInstances=""),
        1,
    ),
    "the series of a study": (query("SERIES", **P, SeriesInstanceUID="", Modality="", SeriesNumber=""), 1),
    "the instances of a series": (
        query(
            "IMAGE",
            **P,
            SeriesInstanceUID=uid("s"),
            SOPInstanceUID="",
            SOPClassUID="",
            InstanceNumber="",
            Rows=None,
        ),
        3,
    ),
    "one instance by number": (
        query(
            "IMAGE",
            StudyInstanceUID=uid("other 1"),
            SeriesInstanceUID=uid("other 1"),
            SOPInstanceUID="",
            InstanceNumber="3",
        ),
        1,
    ),
    "nothing": (query("STUDY", StudyInstanceUID="", PatientID="NOBODY"), 0),
    "no such study": (query("SERIES", StudyInstanceUID="1.2.3.4", SeriesInstanceUID=""), 0),
}


@pytest.mark.parametrize("name", AGREED)
def test_a_query_has_the_answers_that_orthanc_gives_itself(
    shared: Listening, between: Between, name: str
) -> None:
    """PS3.4 C.4.1."""
    keys, number = AGREED[name]
    ours = found(shared.port, keys)
    assert ours == found(between.dicom_port, keys)
    assert len(ours) >= number if name == "every study" else len(ours) == number  # another test stores one


def test_patients(shared: Listening, between: Between) -> None:
    """PS3.4 C.6.1.1.2: DICOMweb has no such level; those of its studies are told apart."""
    keys = query("PATIENT", PatientID="OTHER_*", PatientName="", PatientSex="")
    ours = found(shared.port, keys, PATIENT_FIND)
    assert ours == found(between.dicom_port, keys, PATIENT_FIND)
    assert len(ours) == 2


def test_a_key_that_orthanc_passes_over_is_told(shared: Listening) -> None:
    """PS3.4 C.4.1.1.4: Orthanc neither matches nor returns what is within a sequence."""
    keys = [f"{name}InstanceUID={uid('other 1')}" for name in ("Study", "Series")]
    keys += ["QueryRetrieveLevel=IMAGE", "SOPInstanceUID"]
    keys += ["RequestAttributesSequence[0].ScheduledProcedureStepID=STEP 3"]
    said = shared.dcmtk("findscu", "-S", *(part for key in keys for part in ("-k", key)))
    assert said.count("(Pending: WarningUnsupportedOptionalKeys)") == 2, said


def test_results_come_page_by_page(listening: Listening, recording, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.dimse.upstreams._FIRST_PAGE", 1)
    monkeypatch.setattr("app.dimse.upstreams._NEXT_PAGES", 2)
    number = len(found(listening.port, AGREED["every study"][0]))
    asked = [path.partition("limit=")[2] for _, path in recording.taken()]
    assert asked == ["1&offset=0", *(f"2&offset={offset}" for offset in range(1, number + 1, 2))]


def test_get_as_stored_cold_and_warm(listening: Listening, recording) -> None:
    """PS3.4 C.4.3, PS3.18 10.4.1.1.3: what is stored goes on; a second time it costs the upstream nothing."""
    for cost in (1 + len(PICTURES), 0):
        out = listening.folder / f"cost {cost}"
        out.mkdir()
        said = listening.dcmtk(
            "getscu",
            "-S",
            "+xy",
            "-od",
            out,
            "-k",
            "QueryRetrieveLevel=STUDY",
            "-k",
            f"StudyInstanceUID={uid('p')}",
        )
        assert "Completed Suboperations : 3" in said, said
        got = {path.name: pydicom.dcmread(path) for path in out.iterdir()}
        assert len(got) == len(PICTURES)
        for sent in map(pydicom.dcmread, map(BytesIO, PICTURES.values())):
            [same] = [one for one in got.values() if one.SOPInstanceUID == sent.SOPInstanceUID]
            assert same == sent
            assert same.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
        assert len(recording.taken()) == cost
    assert list((listening.listener.archive.scratch_dir).iterdir()) == []


@pytest.mark.parametrize(
    ("accepted", "came"),
    [
        ([JPEGBaseline8Bit], JPEGBaseline8Bit),
        ([ExplicitVRLittleEndian], ExplicitVRLittleEndian),
        ([ImplicitVRLittleEndian], ImplicitVRLittleEndian),
    ],
)
def test_the_transfer_syntax_is_one_that_was_accepted(
    shared: Listening, accepted: list[str], came: str
) -> None:
    """PS3.5 10: as stored, else native; as Implicit VR, which DICOMweb does not have, by ourselves."""
    keys = {**P, "SeriesInstanceUID": uid("s"), "SOPInstanceUID": uid("p1")}
    [instance], code = get(shared, keys, *accepted)
    assert code == 0x0000
    assert instance.file_meta.TransferSyntaxUID == came
    assert instance.SOPInstanceUID == uid("p1")
    assert instance.pixel_array.shape == (16, 24, 3) if came != JPEGBaseline8Bit else instance.PixelData


def test_what_cannot_be_made_is_a_failed_suboperation(shared: Listening) -> None:
    arrived, code = get(shared, {"StudyInstanceUID": uid("other 1")}, JPEGBaseline8Bit)
    assert (arrived, code) == ([], 0xA702)


def test_native_instances_go_as_they_are(shared: Listening) -> None:
    arrived, code = get(shared, {"StudyInstanceUID": uid("other 1")}, ExplicitVRLittleEndian)
    assert code == 0x0000
    sent = {one.SOPInstanceUID: one for one in map(pydicom.dcmread, map(BytesIO, OTHERS))}
    assert len(arrived) == 2
    assert all(one == sent[one.SOPInstanceUID] for one in arrived)


def test_what_a_viewer_has_fetched_is_not_fetched_again(between: Between, recording) -> None:
    """One cache for both doors."""
    instance = f"/studies/{uid('p')}/series/{uid('s')}/instances/{uid('p3')}"
    accept = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
    assert httpx.get(f"{between.url}{instance}", headers=accept).status_code == 200
    recording.taken()
    listed = upstreams_file(between.server.folder / "titled.toml", recording.url, *TITLED, CREDENTIALS)
    with listeners(between.server.folder) as start:
        listening = start(upstreams_file=listed, port=between.server.port)
        keys = {**P, "SeriesInstanceUID": uid("s"), "SOPInstanceUID": uid("p3")}
        [got], _ = get(listening, keys, JPEGBaseline8Bit)
        assert got == pydicom.dcmread(BytesIO(PICTURES["p3"]))
    assert [path for _, path in recording.taken() if path.endswith(uid("p3"))] == []


def test_move(start: Start, listed: Path) -> None:
    """PS3.4 C.4.2: to a peer that is known, in the syntaxes that it takes."""
    arrived: dict[str, str] = {}

    def keep(event: evt.Event) -> int:
        arrived[event.request.AffectedSOPInstanceUID] = event.context.transfer_syntax
        return 0x0000

    port, ae = free_port(), AE("DEST")
    ae.add_supported_context(VL_PHOTOGRAPHIC, [JPEGBaseline8Bit, ExplicitVRLittleEndian])
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])
    peers = (Peer(ae_title="DEST", host="127.0.0.1", port=port),)
    listening = start(upstreams_file=listed, peers=peers)
    try:
        answers = ask(listening, Kind.C_MOVE_RQ, MOVE, identifier(**P), move_destination="DEST")
    finally:
        server.shutdown()
    assert (status(answers), counts(answers)) == (0x0000, (None, 3, 0, 0))
    assert arrived == {uid(name): JPEGBaseline8Bit for name in PICTURES}


def test_echo_is_answered_here_and_nothing_is_stored(shared: Listening, recording) -> None:
    assert "Received Echo Response (Success)" in shared.dcmtk("echoscu")
    path = shared.folder / "a.dcm"
    path.write_bytes(instance_bytes(make_instance("refused")))
    assert "0124" in shared.dcmtk("storescu", "-d", after=[path])
    assert recording.taken() == []


def test_the_archive_keeps_its_own_title(shared: Listening, recording) -> None:
    assert "Received Find Response" not in shared.dcmtk(
        "findscu", "-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID", called="DERMZOO"
    )
    assert recording.taken() == []
    assert "Called AE Title Not Recognized" in shared.dcmtk("echoscu", called="NOBODY")


def test_what_its_file_calls_otherwise_is_sent(shared: Listening, between: Between) -> None:
    """PS3.10 7.1: File Meta Information is its writer's; the data set says what it is."""
    odd = make_instance("odd", study="odd", series="odd", PatientID="ODD")
    meta = file_meta(VL_PHOTOGRAPHIC, uid("p1"), ExplicitVRLittleEndian)
    root = between.upstream.removesuffix("/dicom-web")
    content = PREAMBLE + meta + encoded(odd)
    httpx.post(f"{root}/instances", content=content, auth=("orthanc", "orthanc")).raise_for_status()
    [got], code = get(shared, {"StudyInstanceUID": uid("odd")}, ExplicitVRLittleEndian)
    assert (got, code) == (odd, 0x0000)


def test_what_is_odd_in_a_query_is_the_callers_fault(shared: Listening, recording) -> None:
    answers = ask(shared, Kind.C_FIND_RQ, FIND, identifier("SERIES", **P).replace(b"2.25.", b"2.25x"))
    assert status(answers) == 0xA900
    assert recording.taken() == []
