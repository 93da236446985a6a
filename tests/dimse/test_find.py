"""What C-FIND matches, at which levels, and what has to be negotiated for it (PS3.4 C.2.2.2, C.4.1, C.5)."""

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation
from pynetdicom.sop_class import (
    PatientRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
)

from app.archive.store import store_staged, taking_in
from tests.dimse.conftest import listeners
from tests.factories import instance_bytes, make_instance, uid
from tests.servers import PROJECT

# A wild card, a range and a list are no values of their VR.
pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR")

STUDY, PATIENT = StudyRootQueryRetrieveInformationModelFind, PatientRootQueryRetrieveInformationModelFind
GET = StudyRootQueryRetrieveInformationModelGet
JAPANESE = PROJECT / "tests" / "data" / "dicom" / "valid" / "chrH31.dcm"
RELATIONAL, COMBINED, FUZZY = b"\x01\x00\x00", b"\x00\x01\x00", b"\x00\x00\x01"
EVENING, NIGHT = "evening", "night"


def code(value):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", value.lower()
    return item


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    """Two studies of one patient, late in the evening and early the next day; one of a Japanese name."""
    instances = [
        make_instance(
            name,
            study=name,
            series=name,
            PatientName="Müller^Anna",
            StudyDate=date,
            StudyTime=time,
            TimezoneOffsetFromUTC="+0100",
            AcquisitionDate=date,
            AcquisitionTime=time,
            AnatomicRegionSequence=[code(region)],
        )
        for name, date, time, region in (
            (EVENING, "20200101", "230000", "ARM"),
            (NIGHT, "20200102", "010000", "LEG"),
        )
    ]
    with listeners(tmp_path_factory.mktemp("held")) as start:
        listening = start()
        archive = listening.listener.archive
        with taking_in(archive) as staging:
            staged = []
            for content in [*map(instance_bytes, instances), JAPANESE.read_bytes()]:
                file = staging.new()
                file.write(content)
                file.finish()
                staged.append(file)
            assert not any(result.error for result in store_staged(archive, staging, staged))
        yield listening


class Caller:
    """An association for queries, with what was negotiated for it."""

    def __init__(self, listening, extended=None, model=STUDY):
        ae = AE("CALLER")
        ae.add_requested_context(model)
        item = SOPClassExtendedNegotiation()
        item.sop_class_uid, item.service_class_application_information = model, extended
        self.association = ae.associate(
            "127.0.0.1", listening.port, ae_title="DERMZOO", ext_neg=[item] if extended else []
        )
        assert self.association.is_established
        self.model = model

    def find(self, level="STUDY", **keys):
        """The status of the last response, and the answers."""
        asked = Dataset()
        asked.QueryRetrieveLevel = level
        for name, value in keys.items():
            setattr(asked, name, value)
        *answers, (status, _) = self.association.send_c_find(asked, self.model)
        return status.Status, [found for _, found in answers]


@pytest.fixture
def call(held):
    callers = []

    def associate(extended=None, model=STUDY):
        callers.append(Caller(held, extended, model))
        return callers[-1]

    yield associate
    for caller in callers:
        caller.association.release()


def names_of(found):
    return sorted(
        {uid(name): name for name in (EVENING, NIGHT)}.get(each.StudyInstanceUID, "") for each in found
    )


@pytest.mark.parametrize(
    ("date", "time"), [("StudyDate", "StudyTime"), ("AcquisitionDate", "AcquisitionTime")]
)
def test_a_date_and_a_time_are_one_range_only_where_that_was_negotiated(call, date, time):
    # PS3.4 C.2.2.2.5: apart, each is a range of its own; together they are one of moments
    level = "STUDY" if date == "StudyDate" else "IMAGE"
    unique = {"StudyInstanceUID": "", "SeriesInstanceUID": "", "SOPInstanceUID": ""}
    asked = {date: "20200101-20200102", time: "2200-0200"}
    early = {date: "20200101-20200102", time: "0000-1200"}
    apart, together = call(RELATIONAL), call(b"\x01\x01\x00")
    assert names_of(apart.find(level, **unique | early)[1]) == [NIGHT]
    assert names_of(together.find(level, **unique | early)[1]) == [EVENING, NIGHT]
    assert names_of(apart.find(level, **unique | asked)[1]) == []
    assert names_of(together.find(level, **unique | asked)[1]) == [EVENING, NIGHT]


def test_names_are_matched_by_sound_only_where_that_was_negotiated(call):
    keys = {"PatientName": "Mueller^Ana", "StudyInstanceUID": ""}
    assert call().find(**keys) == (0x0000, [])
    assert names_of(call(FUZZY).find(**keys)[1]) == [EVENING, NIGHT]
    # without a single word of case: PS3.4 C.2.2.2.1
    assert names_of(
        call().find(PatientName="MÜLLER^anna", SpecificCharacterSet="ISO_IR 192", StudyInstanceUID="")[1]
    )


def test_relational_queries_only_where_they_were_negotiated(call):
    keys = {"Modality": "XC", "SeriesInstanceUID": "", "StudyInstanceUID": ""}
    assert call().find("SERIES", **keys)[0] == 0xA900
    status, found = call(RELATIONAL).find("SERIES", **keys)
    assert (status, names_of(found)) == (0x0000, [EVENING, NIGHT])


@pytest.mark.parametrize("value", ["*", "1.2.*", [uid(EVENING), uid(NIGHT)], ""])
def test_the_unique_key_above_a_level_is_one_value(call, value):
    # PS3.4 C.4.1.2.1; at its own level it may be a list
    assert call().find("SERIES", StudyInstanceUID=value)[0] == 0xA900


def test_a_list_of_uids_at_its_own_level(call):
    # PS3.4 C.2.2.2.2
    status, found = call().find(StudyInstanceUID=[uid(EVENING), uid(NIGHT), "1.2.3"])
    assert (status, names_of(found)) == (0x0000, [EVENING, NIGHT])


def test_patient_root_begins_with_the_patient(call):
    caller = call(model=PATIENT)
    status, found = caller.find("PATIENT", PatientName="M*", PatientID="", NumberOfPatientRelatedStudies="")
    assert status == 0x0000
    assert [(each.PatientID, each.NumberOfPatientRelatedStudies) for each in found] == [("EXAMPLE_1", 2)]
    above = {"PatientID": "EXAMPLE_1"}
    assert names_of(caller.find("STUDY", StudyInstanceUID="", **above)[1]) == [EVENING, NIGHT]
    above["StudyInstanceUID"] = uid(NIGHT)
    assert len(caller.find("SERIES", SeriesInstanceUID="", **above)[1]) == 1
    above["SeriesInstanceUID"] = uid(NIGHT)
    [found] = caller.find("IMAGE", SOPInstanceUID="", Rows=None, **above)[1]
    assert (found.SOPInstanceUID, found.Rows) == (uid(NIGHT), 16)
    assert caller.find("STUDY", StudyInstanceUID="")[0] == 0xA900
    assert call().find("PATIENT", PatientID="")[0] == 0xA900


def test_a_patient_has_the_numbers_of_all_its_studies_and_no_study_s_attributes(call):
    """PS3.4 C.6.1.1.2: what is asked at PATIENT is the patient's, whichever study was matched."""
    numbers = [f"NumberOfPatientRelated{what}" for what in ("Studies", "Series", "Instances")]
    of_studies = {"StudyInstanceUID": "", "StudyTime": "", "NumberOfStudyRelatedInstances": ""}
    status, [found] = call(model=PATIENT).find(
        "PATIENT", PatientID="EXAMPLE_1", StudyDate="20200102", **dict.fromkeys(numbers, ""), **of_studies
    )
    assert status == 0x0000
    assert [found[name].value for name in numbers] == [2, 2, 2]
    assert (found.PatientID, found.StudyDate) == ("EXAMPLE_1", "20200102")
    assert not any(found[name].value for name in of_studies)


def test_a_sequence_is_matched_by_one_item(call):
    # PS3.4 C.2.2.2.6
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "ARM", "SCT", ""
    status, found = call(RELATIONAL).find("IMAGE", StudyInstanceUID="", AnatomicRegionSequence=[item])
    assert (status, names_of(found)) == (0x0000, [EVENING])
    [answered] = found[0].AnatomicRegionSequence
    assert (answered.CodeValue, answered.CodeMeaning) == ("ARM", "arm")
    item.CodingSchemeDesignator = "ELSE"
    assert call(RELATIONAL).find("IMAGE", StudyInstanceUID="", AnatomicRegionSequence=[item]) == (0x0000, [])


@pytest.mark.parametrize("asked", [[], [Dataset()]], ids=["no item", "an empty item"])
def test_an_empty_sequence_matches_everything_and_comes_back_whole(call, asked):
    keys = {"StudyInstanceUID": uid(NIGHT), "SeriesInstanceUID": uid(NIGHT), "AnatomicRegionSequence": asked}
    status, [found] = call().find("IMAGE", **keys)
    assert status == 0x0000
    [item] = found.AnatomicRegionSequence
    assert [item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning] == ["LEG", "SCT", "leg"]


def test_an_offset_from_utc_is_returned_and_matches_nothing(call):
    # PS3.4 C.4.1.1.3: it says how to read times
    keys = {"StudyInstanceUID": uid(NIGHT), "SeriesInstanceUID": uid(NIGHT)}
    for asked in ("", "-0500"):
        [found] = call().find("IMAGE", TimezoneOffsetFromUTC=asked, **keys)[1]
        assert found.TimezoneOffsetFromUTC == "+0100"


def test_two_items_are_no_key(call):
    keys = {"StudyInstanceUID": "", "AnatomicRegionSequence": [code("ARM"), code("LEG")]}
    assert call(RELATIONAL).find("IMAGE", **keys) == (0xA900, [])


@pytest.mark.parametrize(
    ("character_sets", "asked", "extended"),
    [
        (["", "ISO 2022 IR 87"], "*=山田^太郎", FUZZY),
        (["ISO 2022 IR 6", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう", None),
        (["ISO_IR 192"], "太郎", FUZZY),
        (["ISO_IR 192"], "yamada^*=山田*", None),
        (["GB18030"], "太郎 山田", FUZZY),
    ],
)
def test_names_in_any_character_set(call, character_sets, asked, extended):
    # asked in the caller's, answered in it (PS3.4 C.4.1.1.3), whatever the instance itself is written in
    status, [found] = call(extended).find(
        SpecificCharacterSet=character_sets, PatientName=asked, StudyInstanceUID="", StudyDate=""
    )
    assert status == 0x0000
    assert found.SpecificCharacterSet == (character_sets[0] if len(character_sets) == 1 else character_sets)
    assert found.PatientName == dcmread(JAPANESE).PatientName
    assert found.PatientName.ideographic == "山田^太郎"


def test_extended_negotiation_is_answered_field_by_field(held):
    ae = AE("CALLER")
    items = []
    for model, asked in (
        (STUDY, b"\x01\x01\x01\x01\x01"),
        (StudyRootQueryRetrieveInformationModelGet, b"\x01\x01"),
    ):
        ae.add_requested_context(model)
        item = SOPClassExtendedNegotiation()
        item.sop_class_uid, item.service_class_application_information = model, asked
        items.append(item)
    association = ae.associate("127.0.0.1", held.port, ae_title="DERMZOO", ext_neg=items)
    answered = association.acceptor.sop_class_extended
    # relational, combined date and time, fuzzy; for retrieval relational alone (PS3.4 Tables C.5-1 to C.5-3)
    assert answered == {STUDY: b"\x01\x01\x01", GET: b"\x01"}
    association.release()
