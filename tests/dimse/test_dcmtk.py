"""DCMTK's programs, the stock ones, against the listener."""

import re
import subprocess
import time

import pydicom
import pytest

from app.dimse.peers import Peer
from tests.dimse.conftest import listeners
from tests.factories import uid, write_instance
from tests.servers import free_port

STUDY_ROOT, PATIENT_ROOT = "-S", "-P"
SUCCESS = "(Success)"


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """Three studies of two patients, only read from: two photographs in JPEG, one native."""
    with listeners(tmp_path_factory.mktemp("filled")) as start:
        listening = start()
        store(listening)
        yield listening


def store(listening):
    folder = listening.folder / "sent"
    folder.mkdir()
    for number, patient in enumerate(("ISIC_1", "ISIC_1", "ISIC_2")):
        path = folder / f"{number}.dcm"
        write_instance(
            path,
            name=f"instance {number}",
            study=f"study {number}",
            series=f"series {number}",
            PatientID=patient,
            jpeg=number != 2,
            PatientName="Zoë^Ärzte" if number == 2 else "Doe^John",
            StudyDate=f"2020010{number + 1}",
        )
    said = listening.dcmtk("storescu", "-xy", after=sorted(folder.iterdir())[:2])
    assert said.count("Received Store Response (Success)") == 2, said
    said = listening.dcmtk("storescu", after=[folder / "2.dcm"])
    assert said.count("Received Store Response (Success)") == 1, said


def keys(*pairs):
    return [part for pair in pairs for part in ("-k", pair)]


def find(listening, root, *pairs, extra=()):
    said = listening.dcmtk("findscu", root, *extra, *keys(*pairs))
    return said, re.findall(r"Find Response: \d+ \(Pending\)", said)


def test_echo(listening):
    assert "Received Echo Response (Success)" in listening.dcmtk("echoscu")


def test_another_ae_title_is_rejected(listening):
    said = listening.dcmtk("echoscu", called="SOMEBODY")
    assert "Called AE Title Not Recognized" in said
    assert "exit 0" not in said


def test_terminate_is_not_obeyed(listening):
    listening.dcmtk("termscu")
    assert SUCCESS in listening.dcmtk("echoscu")


def test_what_was_stored_is_the_same_data_set(filled, tmp_path):
    for number, syntaxes in ((0, ["+xy"]), (2, [])):
        sent = pydicom.dcmread(filled.folder / "sent" / f"{number}.dcm")
        out = tmp_path / f"got {number}"
        out.mkdir()
        said = filled.dcmtk(
            "getscu",
            STUDY_ROOT,
            *syntaxes,
            "-od",
            out,
            *keys("QueryRetrieveLevel=STUDY", f"StudyInstanceUID={sent.StudyInstanceUID}"),
        )
        assert "Completed Suboperations : 1" in said, said
        (path,) = out.iterdir()
        got = pydicom.dcmread(path)
        assert got == sent
        assert got.file_meta.TransferSyntaxUID == sent.file_meta.TransferSyntaxUID


def test_find_at_every_level_in_both_models(filled):
    said, pending = find(
        filled, STUDY_ROOT, "QueryRetrieveLevel=STUDY", "PatientID=ISIC_*", "StudyInstanceUID"
    )
    assert len(pending) == 3, said
    said, pending = find(
        filled,
        PATIENT_ROOT,
        "QueryRetrieveLevel=PATIENT",
        "PatientID=ISIC_*",
        "NumberOfPatientRelatedStudies",
    )
    assert len(pending) == 2, said
    assert re.search(r"NumberOfPatientRelatedStudies", said)
    assert re.findall(r"\(0020,1200\) IS \[(\d)", said) == ["2", "1"]
    study = uid("study 1")
    _, pending = find(
        filled, STUDY_ROOT, "QueryRetrieveLevel=SERIES", f"StudyInstanceUID={study}", "Modality"
    )
    assert len(pending) == 1
    said, pending = find(
        filled,
        STUDY_ROOT,
        "QueryRetrieveLevel=IMAGE",
        f"StudyInstanceUID={study}",
        f"SeriesInstanceUID={uid('series 1')}",
        "SOPInstanceUID",
        "PhotometricInterpretation",
    )
    assert len(pending) == 1
    assert f"[{uid('instance 1')}]" in said
    assert "[YBR_FULL_422]" in said


def test_every_requested_attribute_comes_back_and_nothing_else(filled):
    said, _ = find(
        filled, STUDY_ROOT, "QueryRetrieveLevel=STUDY", "PatientID=ISIC_2", "InstitutionName", "StudyDate"
    )
    answer = said[said.index("Find Response") :]
    tags = re.findall(r"^I: \(([0-9a-f]{4},[0-9a-f]{4})\)", answer, re.MULTILINE)
    assert tags == ["0008,0020", "0008,0052", "0008,0054", "0008,0080", "0010,0020"]


def test_character_sets_are_the_callers_if_they_hold_the_answer(filled):
    for asked, answered in (
        ("ISO_IR 100", "ISO_IR 100"),
        ("ISO_IR 192", "ISO_IR 192"),
        ("ISO_IR 101", "ISO_IR 101"),
        ("ISO_IR 144", "ISO_IR 192"),
        ("GB18030", "GB18030"),
    ):
        said, pending = find(
            filled,
            STUDY_ROOT,
            f"SpecificCharacterSet={asked}",
            "QueryRetrieveLevel=STUDY",
            "PatientID=ISIC_2",
            "PatientName",
        )
        assert len(pending) == 1, said
        assert f"(0008,0005) CS [{answered}" in said[said.index("Find Response") :]
    said, _ = find(
        filled,
        STUDY_ROOT,
        "SpecificCharacterSet=ISO_IR 100",
        "QueryRetrieveLevel=STUDY",
        "PatientID=ISIC_1",
        "PatientName",
    )
    assert "(0008,0005)" not in said[said.index("Find Response") :]


def test_a_name_in_another_character_set_is_found(filled):
    said, pending = find(
        filled, STUDY_ROOT, "SpecificCharacterSet=ISO_IR 192", "QueryRetrieveLevel=STUDY", "PatientName=zoë*"
    )
    assert len(pending) == 1, said


@pytest.mark.parametrize(
    ("root", "pairs", "why"),
    [
        (STUDY_ROOT, ["QueryRetrieveLevel=PATIENT", "PatientID"], "There is no level PATIENT in Study Root"),
        (STUDY_ROOT, ["QueryRetrieveLevel=HOSPITAL"], "Query/Retrieve Level is 'HOSPITAL'"),
        (STUDY_ROOT, ["QueryRetrieveLevel=SERIES", "Modality=XC"], "SERIES needs the unique key of STUDY"),
        (PATIENT_ROOT, ["QueryRetrieveLevel=STUDY", "PatientID=I*"], "STUDY needs the unique key of PATIENT"),
        (STUDY_ROOT, ["QueryRetrieveLevel=STUDY", "StudyDate=yesterday"], "is not a DA"),
    ],
)  # fmt: skip
def test_queries_that_the_model_does_not_allow(filled, root, pairs, why):
    said, pending = find(filled, root, *pairs, extra=["-d"])
    assert not pending
    assert "0xa900" in said.lower()
    assert why in said


def test_get_decompresses_for_a_caller_that_takes_nothing_else(filled, tmp_path):
    out = tmp_path / "native"
    out.mkdir()
    said = filled.dcmtk(
        "getscu",
        STUDY_ROOT,
        "-od",
        out,
        *keys("QueryRetrieveLevel=STUDY", f"StudyInstanceUID={uid('study 0')}"),
    )
    assert "Completed Suboperations : 1" in said, said
    (path,) = out.iterdir()
    got = pydicom.dcmread(path)
    assert not got.file_meta.TransferSyntaxUID.is_compressed
    assert (got.PhotometricInterpretation, got.LossyImageCompression) == ("RGB", "01")


def test_get_needs_its_unique_key(filled):
    said = filled.dcmtk("getscu", STUDY_ROOT, "-d", *keys("QueryRetrieveLevel=STUDY", "PatientID=ISIC_1"))
    assert "0xa900" in said.lower()


def test_get_of_nothing_is_a_success_without_suboperations(filled):
    said = filled.dcmtk("getscu", STUDY_ROOT, *keys("QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.2.3"))
    assert "Completed Suboperations : 0" in said
    assert "Received C-GET Response (Success)" in said


def test_move_goes_to_peers_that_are_known(start_listener):
    port = free_port()
    listening = start_listener(peers=(Peer(ae_title="DEST", host="127.0.0.1", port=port),))
    sent = listening.folder / "a.dcm"
    write_instance(sent, jpeg=True)
    listening.dcmtk("storescu", "-xy", after=[sent])
    out = listening.folder / "moved"
    out.mkdir()
    with subprocess.Popen(["storescp", "-od", out, "+xa", "-aet", "DEST", str(port)]) as receiver:
        try:
            study = keys("QueryRetrieveLevel=STUDY", f"StudyInstanceUID={uid('study')}")
            said = ""
            for _ in range(50):  # until storescp listens
                said = listening.dcmtk("movescu", STUDY_ROOT, "-d", "-aem", "DEST", *study)
                if "0x0000: Success" in said:
                    break
                assert "0xa702" in said
                time.sleep(0.1)
            (path,) = out.iterdir()
            assert pydicom.dcmread(path) == pydicom.dcmread(sent)
            said = listening.dcmtk("movescu", STUDY_ROOT, "-aem", "ELSEWHERE", *study)
            assert "MoveDestinationUnknown" in said
        finally:
            receiver.terminate()


def test_the_same_data_set_again_is_a_success_and_another_is_not(listening):
    path = listening.folder / "a.dcm"
    write_instance(path)
    for _ in range(2):
        assert "Received Store Response (Success)" in listening.dcmtk("storescu", after=[path])
    write_instance(path, PatientName="Somebody^Else")
    assert "0x111" in listening.dcmtk("storescu", after=[path])


def test_who_may_not(start_listener):
    listening = start_listener(may=frozenset({"echo"}))
    path = listening.folder / "a.dcm"
    write_instance(path)
    assert "0124" in listening.dcmtk("storescu", "-d", after=[path])
    said, pending = find(listening, STUDY_ROOT, "QueryRetrieveLevel=STUDY", "PatientID", extra=["-d"])
    assert not pending
    assert "0x0124" in said
