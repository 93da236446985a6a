"""One question through two doors: QIDO-RS and C-FIND find the same, whatever kind of matching it is."""

import shutil

import httpx
import pytest
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from tests.factories import write_instance
from tests.servers import PROJECT, free_port

# A wild card is no value of its VR.
pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR")

SPECIMENS = PROJECT / "tests" / "data" / "dicom" / "valid"
NAMES = (
    "SC_rgb_jpeg_dcmtk",
    "MR_small_implicit",
    "chrH31",
    "examples_ybr_color",
    "sr_document",
    "waveform_ecg",
)
UNIQUE = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
PATHS = {"STUDY": "/studies", "SERIES": "/series", "IMAGE": "/instances"}

QUESTIONS = [
    ("STUDY", {}),
    ("STUDY", {"PatientName": "*a*"}),
    ("STUDY", {"PatientName": "doe^john"}),
    ("STUDY", {"PatientID": "4MR*"}),
    ("STUDY", {"PatientID": "?MR1"}),
    ("STUDY", {"StudyDate": "20040101-"}),
    ("STUDY", {"StudyDate": "-20040101"}),
    ("STUDY", {"StudyDate": "20040119"}),
    ("STUDY", {"StudyTime": "10-15"}),
    ("STUDY", {"ModalitiesInStudy": "MR"}),
    ("STUDY", {"InstitutionName": "*"}),
    ("SERIES", {"Modality": "??"}),
    ("SERIES", {"Manufacturer": "*"}),
    ("SERIES", {"Modality": "XC", "PatientID": "*1*"}),
    ("IMAGE", {"Rows": "64"}),
    ("IMAGE", {"PhotometricInterpretation": "MONO*"}),
    ("IMAGE", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"}),
    ("IMAGE", {"PatientID": "nobody"}),
]


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """The two doors of one server: asked.qido(level, keys), asked.find(level, keys)."""
    from tests.servers import Server

    folder = tmp_path_factory.mktemp("doors")
    files = folder / "files"
    files.mkdir()
    for name in NAMES:
        shutil.copy(SPECIMENS / f"{name}.dcm", files)
    for number in range(3):
        write_instance(
            files / f"photo-{number}.dcm", name=f"photo-{number}", series=f"{number % 2}", jpeg=True
        )
    server = Server(folder / "server", {"throttle": "off", "dimse": "true", "dimse_port": str(free_port())})
    server.run("index", files)
    server.start()
    try:
        doors = Doors(server)
        yield doors
        doors.association.release()
    finally:
        server.stop()


class Doors:
    def __init__(self, server):
        self.server = server
        ae = AE("TEST")
        ae.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
        relational = SOPClassExtendedNegotiation()
        relational.sop_class_uid = StudyRootQueryRetrieveInformationModelFind
        relational.service_class_application_information = b"\x01\x01\x01"
        self.association = ae.associate(
            "127.0.0.1", int(server.settings["dimse_port"]), ae_title="DERMZOO", ext_neg=[relational]
        )
        assert self.association.is_established

    def qido(self, level, keys):
        answer = httpx.get(
            f"{self.server.dicomweb_url}{PATHS[level]}", params=keys | {"fuzzymatching": "true"}
        )
        assert answer.status_code == 200, answer.text
        tag = f"{tag_for_keyword(UNIQUE[level]):08X}"
        return [each[tag]["Value"][0] for each in answer.json()]

    def find(self, level, keys):
        identifier = Dataset()
        identifier.QueryRetrieveLevel = level
        setattr(identifier, UNIQUE[level], "")
        for name, value in keys.items():
            setattr(identifier, name, int(value) if dictionary_VR(name) == "US" else value)
        identifier.SpecificCharacterSet = "ISO_IR 192"
        answers = list(self.association.send_c_find(identifier, StudyRootQueryRetrieveInformationModelFind))
        assert answers[-1][0].Status == 0x0000
        return [str(found[UNIQUE[level]].value) for _, found in answers[:-1]]


@pytest.mark.parametrize(("level", "keys"), QUESTIONS, ids=str)
def test_both_doors_find_the_same(asked, level, keys):
    assert asked.find(level, keys) == asked.qido(level, keys)


def test_the_questions_find_something(asked):
    found = [bool(asked.qido(level, keys)) for level, keys in QUESTIONS]
    assert found.count(True) >= len(found) - 4
