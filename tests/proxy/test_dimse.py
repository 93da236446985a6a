"""Orthanc's DICOMweb under an AE title of ours: what it answers itself on the DICOM network, and more."""

import threading
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import httpx
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit
from pynetdicom import AE, evt
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation

from app.dicom.part10 import PREAMBLE, file_meta
from app.dimse.commands import Element, Kind
from app.dimse.peers import Peer
from app.proxy import client as proxy_client
from app.throttle.budget import Budget
from app.throttle.policy import Allowance, Holding, Policy, Upstream
from app.throttle.stores import MemoryStore
from tests.dimse.conftest import Listening, Start, answered, listeners
from tests.dimse.raw_peer import RawPeer
from tests.dimse.stage import cancel, comment, counts, encoded, failed_list, identifier, status
from tests.factories import VL_PHOTOGRAPHIC, instance_bytes, make_instance, uid
from tests.proxy.conftest import CREDENTIALS, MR, OTHERS, PICTURES, Between, upstreams_file
from tests.servers import free_port

__all__ = ["answered"]  # what is answered stands in the table of statuses

PATIENT_FIND = "1.2.840.10008.5.1.4.1.2.1.1"
FIND, MOVE, GET = (f"1.2.840.10008.5.1.4.1.2.2.{number}" for number in (1, 2, 3))
# Orthanc of this age takes the parameters of a query as they stand in the URL.
TITLED = ('ae_title = "ORTHANC"', "decodes_queries = false")
P = {"StudyInstanceUID": uid("p")}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_client, "_FIRST_PAUSE_S", 0.0)


@pytest.fixture
def recording(between: Between) -> Iterator:
    """What is asked of Orthanc, and may go wrong."""
    between.recording.taken()
    between.recording.let_go.clear()
    yield between.recording
    between.recording.misbehave = lambda _: ""
    between.recording.let_go.set()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with listeners(tmp_path) as starting:
        yield starting


@pytest.fixture
def listed(recording, tmp_path: Path) -> Path:
    """The file of upstreams."""
    return upstreams_file(tmp_path / "upstreams.toml", recording.url, *TITLED, CREDENTIALS)


@pytest.fixture
def listening(start: Start, listed: Path) -> Listening:
    return titled(start(upstreams_file=listed))


@pytest.fixture(scope="module")
def shared(between: Between, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    """A listener for tests that leave nothing behind that others would notice."""
    folder = tmp_path_factory.mktemp("shared")
    listed = upstreams_file(folder / "upstreams.toml", between.recording.url, *TITLED, CREDENTIALS)
    with listeners(folder) as start:
        yield titled(start(upstreams_file=listed))


def titled(listening: Listening) -> Listening:
    listening.ae_title = "ORTHANC"
    return listening


def query(level: str, **keys: object) -> Dataset:
    made = Dataset()
    made.QueryRetrieveLevel = level
    for name, value in keys.items():
        setattr(made, name, value)
    return made


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


MR_UIDS = pydicom.dcmread(BytesIO(MR), stop_before_pixels=True)
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


def get(
    listening: Listening, keys: dict[str, str], *accepted: str, sop_class: str = VL_PHOTOGRAPHIC
) -> tuple[list[Dataset], int]:
    """C-GET by another toolkit: what arrives, and the last status."""
    arrived: list[Dataset] = []

    def keep(event: evt.Event) -> int:
        instance = event.dataset
        instance.file_meta = event.file_meta
        arrived.append(instance)
        return 0x0000

    ae = AE("TEST")
    ae.add_requested_context(GET)
    ae.add_requested_context(sop_class, list(accepted))
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid, role.scu_role, role.scp_role = sop_class, False, True
    association = ae.associate(
        "127.0.0.1",
        listening.port,
        ae_title="ORTHANC",
        ext_neg=[role],
        evt_handlers=[(evt.EVT_C_STORE, keep)],
    )
    level = "IMAGE" if "SOPInstanceUID" in keys else "STUDY"
    responses = [response for response, _ in association.send_c_get(query(level, **keys), GET)]
    association.release()
    return arrived, responses[-1].Status


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


def ask(
    listening: Listening,
    kind: int,
    abstract_syntax: str,
    data_set: bytes | None = None,
    store: Callable[..., int] = lambda _: 0,
    **more: object,
) -> list:
    """All the responses to one request of a raw peer."""
    with associated(listening, abstract_syntax) as peer:
        peer.ask(1, command(kind, abstract_syntax, **more), data_set)
        answers = peer.answers(store)
        listening.stored = peer.stored  # type: ignore[attr-defined]
        return answers


def associated(listening: Listening, abstract_syntax: str) -> RawPeer:
    peer = RawPeer(listening.port)
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid, role.scu_role, role.scp_role = VL_PHOTOGRAPHIC, False, True
    photographs = (VL_PHOTOGRAPHIC, [JPEGBaseline8Bit])
    if abstract_syntax == GET:
        peer.associate(GET, photographs, called="ORTHANC", extra=[role])
    else:
        peer.associate(abstract_syntax, called="ORTHANC")
    return peer


def command(kind: int, abstract_syntax: str, **more: object) -> dict:
    elements = {
        Element.COMMAND_FIELD: kind,
        Element.MESSAGE_ID: 7,
        Element.PRIORITY: 0,
        Element.AFFECTED_SOP_CLASS_UID: abstract_syntax,
    }
    return elements | {Element[name.upper()]: value for name, value in more.items()}


def ask_find(listening: Listening) -> list:
    return ask(listening, Kind.C_FIND_RQ, FIND, identifier(**P))


def ask_get(listening: Listening, **more: object) -> list:
    return ask(listening, Kind.C_GET_RQ, GET, identifier(**P), **more)


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


@pytest.mark.parametrize("fault", ["reset", "500", "429"])
def test_an_upstream_that_fails(listening: Listening, recording, fault: str) -> None:
    """PS3.4 Tables C.4-1 to C.4-3: not our fault, nor the caller's quota, and the comment says whose."""
    recording.misbehave = lambda _: fault
    for answers, code in ((ask_find(listening), 0xA700), (ask_get(listening), 0xA701)):
        assert status(answers) == code
        assert "server 'orthanc' " in comment(answers)
    assert len(recording.taken()) == 6


def test_an_upstream_that_only_fails_is_left_alone(listening: Listening, recording) -> None:
    recording.misbehave = lambda _: "500"
    for _ in range(5):
        assert status(ask_find(listening)) == 0xA700
    recording.taken()
    answers = ask_find(listening)
    assert (status(answers), recording.taken()) == (0xA700, [])
    assert "failed again and again" in comment(answers)


def test_what_was_found_before_is_no_answer_while_the_upstream_fails(
    start: Start, listed: Path, recording
) -> None:
    listed.write_text(f"{listed.read_text()}\n[upstream.cache]\nsearch_s = 0\n")
    listening = start(upstreams_file=listed)
    assert status(ask_find(listening)) == 0x0000
    recording.misbehave = lambda _: "500"
    assert status(ask_find(listening)) == 0xA700


@pytest.mark.parametrize("fault", ["cut", "500", "reset"])
def test_an_instance_that_does_not_come_is_a_failed_suboperation(
    listening: Listening, recording, fault: str
) -> None:
    """PS3.4 C.4.3: the others arrive, whole; of this one nothing."""
    lost = uid("p2")
    recording.misbehave = lambda path: fault if path.endswith(lost) else ""
    answers = ask_get(listening)
    assert (status(answers), counts(answers), failed_list(answers)) == (0xB000, (None, 2, 1, 0), {lost})
    whole = [encoded_pixels(PICTURES[name]) for name in ("p1", "p3")]
    assert sorted(whole) == sorted(stored[-len(whole[0]) :] for stored in listening.stored)  # type: ignore[attr-defined]
    recording.misbehave = lambda _: ""
    assert status(ask_get(listening)) == 0x0000


def test_another_instance_than_was_asked_for_is_not_sent(listening: Listening, recording) -> None:
    other = f"/dicom-web/studies/{uid('p')}/series/{uid('s')}/instances/{uid('p1')}"
    recording.misbehave = lambda path: other if path.endswith(uid("p2")) else ""
    answers = ask_get(listening)
    assert (status(answers), failed_list(answers)) == (0xB000, {uid("p2")})
    assert len(listening.stored) == 2  # type: ignore[attr-defined]


def test_what_its_file_calls_otherwise_is_sent(shared: Listening, between: Between) -> None:
    """PS3.10 7.1: File Meta Information is its writer's; the data set says what it is."""
    odd = make_instance("odd", study="odd", series="odd")
    meta = file_meta(VL_PHOTOGRAPHIC, uid("p1"), ExplicitVRLittleEndian)
    root = between.upstream.removesuffix("/dicom-web")
    content = PREAMBLE + meta + encoded(odd)
    httpx.post(f"{root}/instances", content=content, auth=("orthanc", "orthanc")).raise_for_status()
    [got], code = get(shared, {"StudyInstanceUID": uid("odd")}, ExplicitVRLittleEndian)
    assert (got, code) == (odd, 0x0000)


def encoded_pixels(file: bytes) -> bytes:
    return file[file.index(b"\xe0\x7f\x10\x00") :]


def test_an_instance_that_broke_off_once_is_whole(
    listening: Listening, recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy_client, "SMALL_BYTES", 0)  # as a large one: some of it has come by then
    faults = ["cut"]
    recording.misbehave = lambda path: faults.pop() if faults and path.endswith(uid("p1")) else ""
    assert (status(ask_get(listening)), faults) == (0x0000, [])


def test_the_whole_upstream_is_gone(listening: Listening, recording) -> None:
    recording.misbehave = lambda path: "reset" if "/instances/" in path else ""
    answers = ask_get(listening)
    assert (status(answers), counts(answers)) == (0xA702, (None, 0, 3, 0))


def test_the_budget_of_the_upstream_is_not_the_callers(start: Start, listed: Path, recording) -> None:
    """Requests to it are drawn from its bucket, whichever door they come through."""
    allowed = Upstream(requests=Allowance(per_second=0.001, burst=1))
    budget = Budget(Policy(upstream=allowed, hold=Holding(longest_s=0)), MemoryStore())
    listening = start(upstreams_file=listed, budget=budget)
    assert status(ask_find(listening)) == 0x0000
    answers = ask_get(listening)
    assert (status(answers), comment(answers)) == (0xA701, "The budget of the server 'orthanc' is used up.")
    assert len(recording.taken()) == 1


@pytest.fixture
def waiting(recording) -> threading.Event:
    """Set when Orthanc was asked; it does not answer until it is let go."""
    asked = threading.Event()

    def hold(_: str) -> str:
        asked.set()
        return "hold"

    recording.misbehave = hold
    return asked


@pytest.mark.parametrize(("kind", "model"), [(Kind.C_FIND_RQ, FIND), (Kind.C_GET_RQ, GET)])
def test_a_caller_that_cancels_does_not_wait_for_the_upstream(
    listening: Listening, recording, waiting: threading.Event, kind: int, model: str
) -> None:
    """PS3.7 9.3.2.3."""
    with associated(listening, model) as peer:
        peer.ask(1, command(kind, model), identifier(**P))
        assert waiting.wait(20)
        cancel(peer)
        assert status(peer.answers()) == 0xFE00
        recording.misbehave = lambda _: ""
        recording.let_go.set()
        peer.ask(1, command(kind, model), identifier(**P))
        assert status(peer.answers()) == 0x0000


def test_a_listener_that_stops_does_not_wait_for_the_upstream(
    listening: Listening, waiting: threading.Event
) -> None:
    """PS3.8 9.3.8: A-ABORT."""
    with associated(listening, FIND) as peer:
        peer.ask(1, command(Kind.C_FIND_RQ, FIND), identifier(**P))
        assert waiting.wait(20)
        listening.listener.stopping.set()
        kind, _ = peer.read()
        assert kind == 7


def test_a_response_that_comes_while_the_next_is_fetched_is_heeded(listening: Listening, recording) -> None:
    """The next instance is asked for while the caller answers to this one."""
    answered_first = threading.Event()

    def slow(path: str) -> str:
        return "hold" if path.endswith(uid("p2")) and not answered_first.is_set() else ""

    recording.misbehave = slow

    def store(_: object) -> int:
        answered_first.set()
        threading.Timer(0.6, recording.let_go.set).start()
        return 0

    answers = ask_get(listening, store=store)
    assert (status(answers), counts(answers)) == (0x0000, (None, 3, 0, 0))


def test_what_is_odd_in_a_query_is_the_callers_fault(shared: Listening, recording) -> None:
    answers = ask(shared, Kind.C_FIND_RQ, FIND, identifier("SERIES", **P).replace(b"2.25.", b"2.25x"))
    assert status(answers) == 0xA900
    assert recording.taken() == []
