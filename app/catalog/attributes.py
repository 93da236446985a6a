"""The one table of searchable attributes.

A row gives an attribute its level, its column and, where PS3.18 requires it, its place in every
answer. To index another, add a row here and a migration (docs/how-to/add-an-attribute.md).
"""

from dataclasses import dataclass
from typing import Literal

from app.dicom.matching import INTEGER_VRS, Level
from app.dicom.private_block import PRIVATE_ELEMENTS
from app.dicom.tags import parse_attribute, value_representation


@dataclass(frozen=True)
class Attribute:
    """One searchable attribute; `name` is a keyword of PS3.6 or a dotted path of two.

    `returned`: in every answer, `always` (empty when it has no value) or when `known`. `source`: its value
    is a `column` of its own level's table, or the `modalities`, the `sop_classes` or the `count` of what is
    below; or it is a `fact`, which has rows of its own.
    """

    name: str
    level: Level
    column: str
    returned: Literal["always", "known", ""] = ""
    indexed: bool = False
    source: Literal["column", "modalities", "sop_classes", "count", "fact"] = "column"

    @property
    def tag(self) -> str:
        """Its tag, or tag path, in hexadecimal."""
        return parse_attribute(self.name)

    @property
    def vr(self) -> str:
        """The VR of its value."""
        return value_representation(self.tag)

    @property
    def is_in_sequence(self) -> bool:
        """Whether its column holds the values of all items of a sequence."""
        return "." in self.name

    @property
    def is_gathered(self) -> bool:
        """Whether its values are those of the rows below, where each is looked for."""
        return self.source in {"modalities", "sop_classes"}

    @property
    def is_integer(self) -> bool:
        """Whether its column holds integers."""
        return self.vr in INTEGER_VRS and self.source != "fact"


STUDY, SERIES, INSTANCE = Level.STUDY, Level.SERIES, Level.INSTANCE

# `returned` follows PS3.18 Tables 10.6.3-3 to 10.6.3-5, and adds StudyDescription, SeriesDate and
# BodyPartExamined, which viewers show in their lists.
ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute("StudyDate", STUDY, "study_date", returned="always", indexed=True),
    Attribute("StudyTime", STUDY, "study_time", returned="always"),
    Attribute("AccessionNumber", STUDY, "accession_number", returned="always", indexed=True),
    Attribute("ModalitiesInStudy", STUDY, "modalities_in_study", returned="always", source="modalities"),
    Attribute("SOPClassesInStudy", STUDY, "sop_classes_in_study", source="sop_classes"),
    Attribute("ReferringPhysicianName", STUDY, "referring_physician_name", returned="always"),
    Attribute("StudyDescription", STUDY, "study_description", returned="known"),
    Attribute("PatientName", STUDY, "patient_name", returned="always", indexed=True),
    Attribute("PatientID", STUDY, "patient_id", returned="always", indexed=True),
    Attribute("PatientBirthDate", STUDY, "patient_birth_date", returned="always"),
    Attribute("PatientSex", STUDY, "patient_sex", returned="always"),
    Attribute("StudyInstanceUID", STUDY, "study_instance_uid", returned="always", indexed=True),
    Attribute("StudyID", STUDY, "study_id", returned="always"),
    Attribute("NumberOfStudyRelatedSeries", STUDY, "number_of_series", returned="always", source="count"),
    Attribute(
        "NumberOfStudyRelatedInstances", STUDY, "number_of_instances", returned="always", source="count"
    ),
    Attribute("SeriesDate", SERIES, "series_date", returned="known"),
    Attribute("SeriesTime", SERIES, "series_time", returned="known"),
    Attribute("Modality", SERIES, "modality", returned="always", indexed=True),
    Attribute("SeriesDescription", SERIES, "series_description", returned="known"),
    Attribute("SeriesInstanceUID", SERIES, "series_instance_uid", returned="always", indexed=True),
    Attribute("SeriesNumber", SERIES, "series_number", returned="always"),
    Attribute("BodyPartExamined", SERIES, "body_part_examined", returned="known"),
    Attribute("PerformedProcedureStepStartDate", SERIES, "procedure_step_start_date", returned="known"),
    Attribute("PerformedProcedureStepStartTime", SERIES, "procedure_step_start_time", returned="known"),
    Attribute("RequestAttributesSequence.ScheduledProcedureStepID", SERIES, "scheduled_procedure_step_id"),
    Attribute("RequestAttributesSequence.RequestedProcedureID", SERIES, "requested_procedure_id"),
    Attribute(
        "NumberOfSeriesRelatedInstances", SERIES, "number_of_instances", returned="always", source="count"
    ),
    Attribute("SOPClassUID", INSTANCE, "sop_class_uid", returned="always"),
    Attribute("SOPInstanceUID", INSTANCE, "sop_instance_uid", returned="always", indexed=True),
    Attribute("AvailableTransferSyntaxUID", INSTANCE, "transfer_syntax_uid", returned="known"),
    Attribute("InstanceNumber", INSTANCE, "instance_number", returned="always"),
    Attribute("SamplesPerPixel", INSTANCE, "samples_per_pixel"),
    Attribute("PhotometricInterpretation", INSTANCE, "photometric_interpretation"),
    Attribute("NumberOfFrames", INSTANCE, "number_of_frames", returned="known"),
    Attribute("Rows", INSTANCE, "rows", returned="known"),
    Attribute("Columns", INSTANCE, "columns", returned="known"),
    Attribute("BitsAllocated", INSTANCE, "bits_allocated", returned="known"),
    *(
        Attribute(element.keyword, INSTANCE, "value", indexed=True, source="fact")
        for element in PRIVATE_ELEMENTS.values()
        if element.indexed
    ),
)

BY_TAG = {attribute.tag: attribute for attribute in ATTRIBUTES}

# Sequences that are returned because an attribute inside them can be asked for (PS3.18 Table 10.6.3-4).
RETURNED_SEQUENCES = {SERIES: frozenset({parse_attribute("RequestAttributesSequence")})}

RETURNED: dict[Level, frozenset[str]] = {
    level: frozenset(a.tag for a in ATTRIBUTES if a.level == level and a.returned)
    | RETURNED_SEQUENCES.get(level, frozenset())
    for level in Level
}

# PS3.3: attributes of the modules of the Patient (C.7.1), the Study (C.7.2), and the Series and Equipment
# (C.7.3, C.7.5) entities. Whatever is not named here belongs to the instance.
_PATIENT_KEYWORDS = """
    ReferencedPatientSequence PatientName PatientID IssuerOfPatientID TypeOfPatientID
    IssuerOfPatientIDQualifiersSequence PatientBirthDate PatientBirthTime PatientSex OtherPatientNames
    OtherPatientIDsSequence OtherPatientIDs EthnicGroup PatientComments PatientSpeciesDescription
    PatientSpeciesCodeSequence PatientBreedDescription PatientBreedCodeSequence BreedRegistrationSequence
    ResponsiblePerson ResponsiblePersonRole ResponsibleOrganization StrainDescription QualityControlSubject
    PatientIdentityRemoved DeidentificationMethod DeidentificationMethodCodeSequence
    ClinicalTrialSponsorName ClinicalTrialProtocolID ClinicalTrialProtocolName ClinicalTrialSiteID
    ClinicalTrialSiteName ClinicalTrialSubjectID ClinicalTrialSubjectReadingID
    OtherClinicalTrialProtocolIDsSequence
"""
_STUDY_KEYWORDS = """
    StudyDate StudyTime AccessionNumber IssuerOfAccessionNumberSequence ReferringPhysicianName
    ReferringPhysicianIdentificationSequence ConsultingPhysicianName StudyDescription ProcedureCodeSequence
    PhysiciansOfRecord NameOfPhysiciansReadingStudy ReferencedStudySequence
    AdmittingDiagnosesDescription AdmittingDiagnosesCodeSequence PatientAge PatientSize PatientWeight
    PatientBodyMassIndex MedicalAlerts Allergies Occupation SmokingStatus AdditionalPatientHistory
    PregnancyStatus LastMenstrualDate PatientSexNeutered ReasonForVisit AdmissionID ServiceEpisodeID
    PatientState StudyInstanceUID StudyID RequestingService ReasonForPerformedProcedureCodeSequence
    ClinicalTrialTimePointID ClinicalTrialTimePointDescription
    LongitudinalTemporalOffsetFromEvent LongitudinalTemporalEventType ConsentForClinicalTrialUseSequence
"""
_SERIES_KEYWORDS = """
    Modality SeriesInstanceUID SeriesNumber Laterality SeriesDate SeriesTime PerformingPhysicianName
    ProtocolName SeriesDescription SeriesDescriptionCodeSequence OperatorsName BodyPartExamined
    PatientPosition PerformedProcedureStepID PerformedProcedureStepStartDate PerformedProcedureStepStartTime
    PerformedProcedureStepEndDate PerformedProcedureStepEndTime PerformedProcedureStepDescription
    PerformedProtocolCodeSequence RequestAttributesSequence ReferencedPerformedProcedureStepSequence
    CommentsOnThePerformedProcedureStep ClinicalTrialSeriesID ClinicalTrialSeriesDescription
    ClinicalTrialCoordinatingCenterName Manufacturer InstitutionName InstitutionAddress StationName
    InstitutionalDepartmentName ManufacturerModelName DeviceSerialNumber SoftwareVersions
"""
_LEVELS: dict[str, Level] = {
    **{parse_attribute(keyword): STUDY for keyword in (_PATIENT_KEYWORDS + _STUDY_KEYWORDS).split()},
    **{parse_attribute(keyword): SERIES for keyword in _SERIES_KEYWORDS.split()},
    **{a.tag: a.level for a in ATTRIBUTES if "." not in a.tag},
}

# What of a study is the patient's own.
PATIENT_TAGS = frozenset(map(parse_attribute, _PATIENT_KEYWORDS.split()))

# What is kept of a study and of a series beside their columns.
TAGS = {level: frozenset(tag for tag, own in _LEVELS.items() if own == level) for level in Level}


# Asked for at the levels above too, of any instance below: what is known of an image.
_OF_ANY_BELOW = frozenset(a.tag for a in ATTRIBUTES if a.source == "fact")


def matched_from(tag: str) -> Level:
    """Return the highest level at which a key with this attribute is matched."""
    return STUDY if tag in _OF_ANY_BELOW else level_of(tag)


def level_of(tag: str) -> Level:
    """Return the level that an attribute, or the sequence that holds it, belongs to."""
    return _LEVELS.get(tag[:8], INSTANCE)
