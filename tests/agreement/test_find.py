"""One question through two doors: QIDO-RS and C-FIND find the same, whatever kind of matching it is."""

import shutil
from io import BytesIO

import httpx
import pytest
from pydicom import dcmread
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
)

from tests.factories import VL_PHOTOGRAPHIC, uid, write_instance
from tests.servers import PROJECT, free_port
from tests.web.multiparts import parts

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

MR = "1.2.840.10008.5.1.4.1.1.4"
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
    ("STUDY", {"SOPClassesInStudy": MR}),
    ("STUDY", {"SOPClassesInStudy": f"{MR}\\{VL_PHOTOGRAPHIC}", "PatientID": "*1*"}),
    ("STUDY", {"InstitutionName": "*"}),
    ("SERIES", {"Modality": "??"}),
    ("SERIES", {"Manufacturer": "*"}),
    ("SERIES", {"Modality": "XC", "PatientID": "*1*"}),
    ("SERIES", {"SOPClassesInStudy": VL_PHOTOGRAPHIC}),
    ("IMAGE", {"SOPClassesInStudy": VL_PHOTOGRAPHIC}),
    ("IMAGE", {"Rows": "64"}),
    ("IMAGE", {"PhotometricInterpretation": "MONO*"}),
    ("IMAGE", {"SOPClassUID": MR}),
    ("IMAGE", {"PatientID": "nobody"}),
    ("STUDY", {"StudyTime": "-0304"}),
    ("STUDY", {"StudyDate": "20040101-20200102", "StudyTime": "0304-0305"}),
    ("STUDY", {"StudyInstanceUID": f"{uid('study')}\\1.3.6.1.4.1.5962.1.2.4.20040826185059.5457\\1.2.3"}),
    ("STUDY", {"NumberOfStudyRelatedInstances": "3"}),
    ("SERIES", {"NumberOfSeriesRelatedInstances": "1"}),
    ("STUDY", {"PatientName": "Exampel Ana"}),
    ("STUDY", {"PatientName": "山田"}),
    ("STUDY", {"PatientName": "Yamada^Tarou=山田^太郎"}),
    ("STUDY", {"PatientName": "=山田*"}),
    ("STUDY", {"PatientName": "Yamada*=山田^太*"}),
    ("IMAGE", {"AnatomicRegionSequence.CodeValue": "ARM"}),
    ("IMAGE", {"AnatomicRegionSequence.CodeMeaning": "*r*"}),
    ("IMAGE", {"AnatomicRegionSequence.CodeValue": "ARM", "AnatomicRegionSequence.CodeMeaning": "leg"}),
]
ANSWERED = {
    "STUDY": (
        "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances", "ModalitiesInStudy", "PatientName",
        "PatientID", "PatientBirthDate", "StudyDate", "StudyTime", "StudyDescription", "SOPClassesInStudy",
    ),
    "SERIES": ("NumberOfSeriesRelatedInstances", "Modality", "SeriesNumber", "Manufacturer"),
    "IMAGE": ("SOPClassUID", "Rows", "BitsStored", "ImageType", "AnatomicRegionSequence", "PixelSpacing"),
}  # fmt: skip
NATIVE = "1.2.840.10008.1.2.1"


def region(code):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "SCT", code.lower()
    return item


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
            files / f"photo-{number}.dcm",
            name=f"photo-{number}",
            series=f"{number % 2}",
            jpeg=True,
            AnatomicRegionSequence=[region(("ARM", "LEG", "ARM")[number])],
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
    def __init__(self, server, ae_title="DERMZOO", root=""):
        self.server, self.root = server, root or server.dicomweb_url
        ae = AE("TEST")
        ae.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
        ae.add_requested_context(StudyRootQueryRetrieveInformationModelGet)
        classes = {VL_PHOTOGRAPHIC, *(str(dcmread(SPECIMENS / f"{name}.dcm").SOPClassUID) for name in NAMES)}
        for sop_class in classes:
            ae.add_requested_context(sop_class, NATIVE)
        relational = SOPClassExtendedNegotiation()
        relational.sop_class_uid = StudyRootQueryRetrieveInformationModelFind
        relational.service_class_application_information = b"\x01\x01\x01"
        self.association = ae.associate(
            "127.0.0.1",
            int(server.settings["dimse_port"]),
            ae_title=ae_title,
            ext_neg=[relational, *(build_role(sop_class, scp_role=True) for sop_class in classes)],
            evt_handlers=[(evt.EVT_C_STORE, self._received)],
        )
        self.got = {}
        self.statuses = set()
        assert self.association.is_established

    def qido(self, level, keys):
        answer = httpx.get(f"{self.root}{PATHS[level]}", params=keys | {"fuzzymatching": "true"})
        assert answer.status_code == 200, answer.text
        tag = f"{tag_for_keyword(UNIQUE[level]):08X}"
        return [each[tag]["Value"][0] for each in answer.json()]

    def find(self, level, keys):
        return [str(found[UNIQUE[level]].value) for found in self.answers(level, keys)]

    def answers(self, level, keys):
        """The identifiers of the answers; a key `A.B` is B in an item of A."""
        identifier = Dataset()
        identifier.QueryRetrieveLevel = level
        setattr(identifier, UNIQUE[level], "")
        for path, value in keys.items():
            *above, name = path.split(".")
            inside = identifier
            for sequence in above:
                if sequence not in inside:
                    setattr(inside, sequence, [Dataset()])
                inside = inside[sequence][0]
            setattr(inside, name, int(value) if value and dictionary_VR(name) == "US" else value)
        identifier.SpecificCharacterSet = "ISO_IR 192"
        answers = list(self.association.send_c_find(identifier, StudyRootQueryRetrieveInformationModelFind))
        self.statuses = {status.Status for status, _ in answers[:-1]}
        assert answers[-1][0].Status == 0x0000
        return [found for _, found in answers[:-1]]

    def get(self, study):
        """The data sets of a study in Explicit VR Little Endian, by SOP Instance UID."""
        identifier = Dataset()
        identifier.QueryRetrieveLevel, identifier.StudyInstanceUID = "STUDY", study
        self.got = {}
        *_, (status, _) = self.association.send_c_get(identifier, StudyRootQueryRetrieveInformationModelGet)
        assert status.Status == 0x0000
        return self.got

    def _received(self, event):
        self.got[str(event.request.AffectedSOPInstanceUID)] = event.request.DataSet.getvalue()
        return 0x0000


@pytest.mark.parametrize(("level", "keys"), QUESTIONS, ids=str)
def test_both_doors_find_the_same(asked, level, keys):
    assert asked.find(level, keys) == asked.qido(level, keys)


def test_the_questions_find_something(asked):
    found = [bool(asked.qido(level, keys)) for level, keys in QUESTIONS]
    assert found.count(True) >= len(found) - 4


@pytest.mark.parametrize("level", PATHS)
def test_sop_classes_of_what_was_matched_are_answered(asked, level):
    """PS3.4 C.6.1.1.3 and PS3.18 10.6.3.3: a key that is matched is returned, of the study at each level."""
    keys = {"SOPClassesInStudy": VL_PHOTOGRAPHIC}
    over_http = httpx.get(f"{asked.server.dicomweb_url}{PATHS[level]}", params=keys).json()
    found = [each.to_json_dict() for each in asked.answers(level, keys)]
    assert [each["00080062"] for each in found] == [each["00080062"] for each in over_http]
    assert all(each["00080062"] == {"vr": "UI", "Value": [VL_PHOTOGRAPHIC]} for each in found)
    assert asked.statuses == {0xFF00}


@pytest.mark.parametrize("level", PATHS)
def test_both_doors_answer_the_same(asked, level):
    """Every attribute that C-FIND is asked for is what QIDO-RS returns, empty where that has none."""
    names = ANSWERED[level]
    answer = httpx.get(
        f"{asked.server.dicomweb_url}{PATHS[level]}", params={"includefield": ",".join(names)}, timeout=60
    )
    tags = [f"{tag_for_keyword(name):08X}" for name in names]
    over_http = [[each.get(tag, {}).get("Value", []) for tag in tags] for each in answer.json()]
    found = [each.to_json_dict() for each in asked.answers(level, dict.fromkeys(names, None))]
    assert all(tag in each for each in found for tag in tags)
    assert [[each[tag].get("Value", []) for tag in tags] for each in found] == over_http
    if "SOPClassesInStudy" in names:  # which no instance says
        assert [VL_PHOTOGRAPHIC] in [each["00080062"]["Value"] for each in found]


def test_both_doors_give_the_same_pixels(asked):
    """C-GET where only Explicit VR Little Endian is accepted, and WADO-RS in it: the same data set."""
    accept = {"Accept": f'multipart/related; type="application/dicom"; transfer-syntax={NATIVE}'}
    compared = 0
    for study in asked.qido("STUDY", {}):
        answer = httpx.get(f"{asked.server.dicomweb_url}/studies/{study}", headers=accept, timeout=60)
        assert answer.status_code == 200, answer.text
        got = asked.get(study)
        for _, whole in parts(answer):
            instance = str(dcmread(BytesIO(whole), specific_tags=["SOPInstanceUID"]).SOPInstanceUID)
            start = 144 + int.from_bytes(whole[140:144], "little")
            assert got.pop(instance) == whole[start:], instance
            compared += 1
        assert not got
    assert compared == len(NAMES) + 3
