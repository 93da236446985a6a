"""What C-GET and C-MOVE send (PS3.4 C.4.2, C.4.3): which instances, in which transfer syntax, the counts."""

from contextlib import contextmanager
from io import BytesIO

import pytest
from pydicom.filereader import dcmread, read_dataset
from pydicom.uid import ImplicitVRLittleEndian, JPEGBaseline8Bit
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation, SOPClassExtendedNegotiation

from app.archive.store import store_staged, taking_in
from app.dimse.commands import Element, Kind
from tests.dimse.conftest import listeners
from tests.dimse.raw_peer import PLAIN, RawPeer
from tests.dimse.stage import GET, Stage, counts, failed_list, identifier, status
from tests.factories import VL_PHOTOGRAPHIC, instance_bytes, uid
from tests.servers import PROJECT

PATIENT_GET = "1.2.840.10008.5.1.4.1.2.1.3"
MR, MR_CLASS = "MR_small_implicit", "1.2.840.10008.5.1.4.1.1.4"


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    """A study with two photographs in JPEG and a native one, in two series; and an MR of another patient."""
    contents = [
        instance_bytes(name=f"photo {number}", series=f"series {number % 2}", jpeg=number < 2)
        for number in range(3)
    ]
    contents.append((PROJECT / "tests" / "data" / "dicom" / "valid" / f"{MR}.dcm").read_bytes())
    with listeners(tmp_path_factory.mktemp("held")) as start:
        listening = start()
        archive = listening.listener.archive
        with taking_in(archive) as staging:
            staged = []
            for content in contents:
                file = staging.new()
                file.write(content)
                file.finish()
                staged.append(file)
            assert not any(result.error for result in store_staged(archive, staging, staged))
        yield listening


@contextmanager
def getting(held, *storage, model=GET, extended=None):
    """A peer that proposes storage contexts, (SOP class, transfer syntaxes), to get instances in."""
    extra = []
    for sop_class in dict(storage):
        role = SCP_SCU_RoleSelectionNegotiation()
        role.sop_class_uid, role.scu_role, role.scp_role = sop_class, False, True
        extra.append(role)
    if extended:
        item = SOPClassExtendedNegotiation()
        item.sop_class_uid, item.service_class_application_information = model, extended
        extra.append(item)
    with RawPeer(held.port) as peer:
        peer.associate(model, *storage, extra=extra)
        yield peer


def get(peer, data_set, model=GET):
    request = {
        Element.COMMAND_FIELD: Kind.C_GET_RQ,
        Element.MESSAGE_ID: 1,
        Element.AFFECTED_SOP_CLASS_UID: model,
    }
    peer.stored.clear()
    peer.ask(1, request, data_set)
    return peer.answers()


def test_what_is_stored_is_sent_where_it_is_accepted_and_decoded_where_not(held):
    study = identifier(StudyInstanceUID=uid("study"))
    with getting(held, (VL_PHOTOGRAPHIC, [JPEGBaseline8Bit]), (VL_PHOTOGRAPHIC, PLAIN)) as peer:
        answers = get(peer, study)
        assert (status(answers), counts(answers)) == (0x0000, (None, 3, 0, 0))
        sizes = sorted(map(len, peer.stored))
        assert sizes[0] < 16 * 24 * 3 * 2 < 2 * sizes[2]
    with getting(held, (VL_PHOTOGRAPHIC, [ImplicitVRLittleEndian])) as peer:
        answers = get(peer, study)
        assert (status(answers), counts(answers)) == (0x0000, (None, 3, 0, 0))
        for data in peer.stored:
            found = read_dataset(BytesIO(data), is_implicit_VR=True, is_little_endian=True)
            assert (found.PhotometricInterpretation, len(found.PixelData)) == ("RGB", 16 * 24 * 3)


def test_what_has_no_context_is_a_failed_suboperation(held):
    # PS3.4 C.4.3.3: each is counted, and named
    photographs = {uid("photo 0"), uid("photo 1")}
    with getting(held, (MR_CLASS, PLAIN)) as peer:
        answers = get(peer, identifier(StudyInstanceUID=uid("study")))
        assert (status(answers), counts(answers)) == (0xA702, (None, 0, 3, 0))
    with getting(held, (VL_PHOTOGRAPHIC, ["1.2.840.10008.1.2.4.51"])) as peer:
        answers = get(peer, identifier("IMAGE", **keys(0)))
        assert (status(answers), counts(answers)) == (0xA702, (None, 0, 1, 0))
        assert failed_list(answers) <= photographs


def keys(number):
    return {
        "StudyInstanceUID": uid("study"),
        "SeriesInstanceUID": uid(f"series {number % 2}"),
        "SOPInstanceUID": uid(f"photo {number}"),
    }


@pytest.mark.parametrize(
    ("level", "asked", "expected"),
    [
        ("STUDY", {"StudyInstanceUID": [uid("study"), "1.2.3"]}, 3),
        ("SERIES", {"StudyInstanceUID": uid("study"), "SeriesInstanceUID": uid("series 0")}, 2),
        (
            "SERIES",
            {"StudyInstanceUID": uid("study"), "SeriesInstanceUID": [uid("series 0"), uid("series 1")]},
            3,
        ),
        ("IMAGE", keys(1), 1),
        ("IMAGE", keys(0) | {"SOPInstanceUID": [uid("photo 0"), uid("photo 2")]}, 2),
        ("IMAGE", keys(0) | {"SOPInstanceUID": uid("photo 1")}, 0),  # not in that series
    ],
)
def test_what_is_addressed_at_each_level(held, level, asked, expected):
    with getting(held, (VL_PHOTOGRAPHIC, PLAIN)) as peer:
        answers = get(peer, identifier(level, **asked))
    assert (status(answers), counts(answers)) == (0x0000, (None, expected, 0, 0))


def test_a_patient_in_patient_root(held):
    with getting(held, (VL_PHOTOGRAPHIC, PLAIN), model=PATIENT_GET) as peer:
        answers = get(peer, identifier("PATIENT", PatientID="EXAMPLE_1"), PATIENT_GET)
        assert counts(answers) == (None, 3, 0, 0)
        assert status(get(peer, identifier("STUDY", StudyInstanceUID=uid("study")), PATIENT_GET)) == 0xA900
        # a unique key is one value, or a list of UIDs (PS3.4 C.4.3.1.3.1)
        assert status(get(peer, identifier("PATIENT", PatientID="EXAMPLE_?"), PATIENT_GET)) == 0xA900


def test_relational_retrieval_only_where_it_was_negotiated(held):
    asked = identifier("IMAGE", SOPInstanceUID=uid("photo 1"))
    with getting(held, (VL_PHOTOGRAPHIC, PLAIN)) as peer:
        assert status(get(peer, asked)) == 0xA900
    with getting(held, (VL_PHOTOGRAPHIC, PLAIN), extended=b"\x01") as peer:
        assert counts(get(peer, asked)) == (None, 1, 0, 0)


def test_a_move_decodes_for_a_destination_that_takes_nothing_else(held, monkeypatch):
    arrived = []

    def handle(event):
        arrived.append((event.context.transfer_syntax, event.dataset.PhotometricInterpretation))
        assert event.request.MoveOriginatorApplicationEntityTitle == "RAW"
        assert event.request.MoveOriginatorMessageID == 7
        return 0x0000

    stage = Stage(held, monkeypatch)
    with stage.destination(handle):
        answers = stage.move()
    assert (status(answers), counts(answers)) == (0x0000, (None, 3, 0, 0))
    assert {photometric for _, photometric in arrived} == {"RGB"}
    assert not any(syntax == JPEGBaseline8Bit for syntax, _ in arrived)


def test_the_specimen_is_one_patients_of_its_own(held):
    found = dcmread(PROJECT / "tests" / "data" / "dicom" / "valid" / f"{MR}.dcm")
    with getting(held, (MR_CLASS, PLAIN)) as peer:
        assert counts(get(peer, identifier(StudyInstanceUID=found.StudyInstanceUID))) == (None, 1, 0, 0)
