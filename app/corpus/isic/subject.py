"""Patient, study and series: what must be equal in all their instances, and the UIDs that follow from it.

ISIC gives age, day and collection per image, DICOM per study: hence one study per (patient, day, age).
No date is ever invented.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    ConfocalMicroscopyImageStorage,
    ConfocalMicroscopyTiledPyramidalImageStorage,
    DermoscopicPhotographyImageStorage,
    VLPhotographicImageStorage,
)

from app.corpus.isic import uids
from app.corpus.isic.codes import code_item
from app.corpus.isic.fields import SEXES
from app.corpus.isic.picture import Layout
from app.corpus.isic.vocabulary import Code, Site

ISSUER = "ISIC"
_UNPAIRED = {"HEADNECK", "HEAD", "NECK", "FACE", "SCALP"}
_BASIC_PROFILE = Code("DCM", "113100", "Basic Application Confidentiality Profile")
_RETAIN_CHARACTERISTICS = Code("DCM", "113108", "Retain Patient Characteristics Option")
_RETAIN_MODIFIED_DATES = Code(
    "DCM", "113107", "Retain Longitudinal Temporal Information Modified Dates Option"
)


class SopClassChoice(StrEnum):
    """What a dermoscopic image becomes; other photographs are VL Photographic Images either way."""

    VL_PHOTOGRAPHIC = "vl-photographic"
    DERMOSCOPIC = "dermoscopic"


@dataclass(frozen=True, slots=True)
class Identity:
    """What an image is, and where in the hierarchy it stands."""

    sop_class_uid: UID
    modality: str
    series_type: str  # the image type, or what stands for those of one series
    patient_id: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str


_CONFOCAL = {
    "RCM: tile": (Layout.TILE, ConfocalMicroscopyImageStorage),
    "RCM: mosaic": (Layout.MOSAIC, ConfocalMicroscopyTiledPyramidalImageStorage),
}
# Tiles and mosaics of a case are one series: this stands for both.
_CONFOCAL_SERIES = "RCM"


def layout_of(values: Mapping[str, str]) -> Layout:
    """Return what the picture of an image is made into, by its image type."""
    return _CONFOCAL.get(values.get("image_type", ""), (Layout.PHOTOGRAPH, None))[0]


def identify(values: Mapping[str, str], site: Site, choice: SopClassChoice) -> Identity:
    """Derive the identity of an image from its fields alone."""
    image_type = values.get("image_type", "")
    series_type = image_type
    if image_type in _CONFOCAL:
        sop_class, modality = _CONFOCAL[image_type][1], "CFM"
        series_type = _CONFOCAL_SERIES
    elif choice is SopClassChoice.DERMOSCOPIC and image_type in {"dermoscopic", ""}:
        sop_class, modality = DermoscopicPhotographyImageStorage, "DMS"
    else:
        sop_class, modality = VLPhotographicImageStorage, "XC"
    # Strangers must never share an empty patient.
    patient_id = values.get("patient_id") or values.get("lesion_id") or values["isic_id"]
    study = uids.study_instance_uid(
        patient_id, values.get("acquisition_day", ""), values.get("age_approx", "")
    )
    lesion_or_case = values.get("rcm_case_id") or values.get("lesion_id") or ""
    series = uids.series_instance_uid(study, lesion_or_case, series_type, modality, site.body_part_examined)
    instance = uids.sop_instance_uid(values["isic_id"], sop_class)
    return Identity(sop_class, modality, series_type, patient_id, study, series, instance)


def add_patient(dataset: Dataset, values: Mapping[str, str], identity: Identity, *, keeps_days: bool) -> None:
    """Add the Patient module (PS3.3 C.7.1.1); `keeps_days` when the metadata tell acquisition days."""
    dataset.PatientName = identity.patient_id
    dataset.PatientID = identity.patient_id
    dataset.IssuerOfPatientID = ISSUER
    dataset.PatientBirthDate = ""
    dataset.PatientSex = SEXES.get(values.get("sex", ""), "")
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = "Published de-identified by the ISIC Archive"
    codes = [_BASIC_PROFILE, _RETAIN_CHARACTERISTICS, *([_RETAIN_MODIFIED_DATES] if keeps_days else [])]
    dataset.DeidentificationMethodCodeSequence = [code_item(code) for code in codes]
    dataset.LongitudinalTemporalInformationModified = "MODIFIED"


def add_trial(
    dataset: Dataset, values: Mapping[str, str], identity: Identity, collection: str | None
) -> None:
    """Add Clinical Trial Subject (C.7.1.3) for a collection and Clinical Trial Study (C.7.2.3) for a day."""
    if collection:
        dataset.ClinicalTrialSponsorName = ISSUER
        dataset.ClinicalTrialProtocolID = collection
        dataset.ClinicalTrialProtocolName = ""
        dataset.ClinicalTrialSiteID = ""
        dataset.ClinicalTrialSiteName = ""
        dataset.ClinicalTrialSubjectID = identity.patient_id
    if "acquisition_day" in values:
        dataset.ClinicalTrialTimePointID = ""
        dataset.LongitudinalTemporalOffsetFromEvent = float(values["acquisition_day"])
        dataset.LongitudinalTemporalEventType = "BASELINE"


def add_study(dataset: Dataset, values: Mapping[str, str], identity: Identity) -> None:
    """Add General Study (C.7.2.1) and Patient Study (C.7.2.2)."""
    dataset.StudyInstanceUID = identity.study_instance_uid
    for keyword in ("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID"):
        setattr(dataset, keyword, "")
    dataset.StudyDescription = "ISIC Archive"
    if "age_approx" in values:
        dataset.PatientAge = f"{int(values['age_approx']):03d}Y"


def add_series(dataset: Dataset, values: Mapping[str, str], identity: Identity, site: Site) -> None:
    """Add General Series (C.7.3.1) and both equipment modules (C.7.5.1, C.7.5.2): ISIC names no device."""
    dataset.Modality = identity.modality
    dataset.SeriesInstanceUID = identity.series_instance_uid
    dataset.SeriesNumber = ""
    names = (identity.series_type, values.get("lesion_id"), values.get("rcm_case_id"))
    description = ", ".join(name for name in names if name)
    if description:
        dataset.SeriesDescription = description[:64]
    # An image of functional groups has Frame Laterality instead (C.7.3.1).
    if site.body_part_examined not in _UNPAIRED and identity.modality != "CFM":
        # Type 2C: present for a paired structure, empty because ISIC does not tell the side.
        dataset.Laterality = ""
    dataset.BodyPartExamined = site.body_part_examined
    for keyword in ("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions"):
        setattr(dataset, keyword, "UNKNOWN")
