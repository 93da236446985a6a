"""UIDs that anybody can compute again: `2.25.` and a name-based UUID (PS3.5 B.2, RFC 9562 version 5).

The namespace and the names below are a promise: with them the same image has the same UIDs on every machine.
"""

from uuid import UUID, uuid5

NAMESPACE = UUID("a8d1a4c3-1a14-48af-bc15-564170abba2b")


def derive_uid(kind: str, *parts: str) -> str:
    """Return the UID of the thing that `kind` and `parts` name; no part holds a newline."""
    return f"2.25.{uuid5(NAMESPACE, chr(10).join((kind, *parts))).int}"


def study_instance_uid(patient_id: str, acquisition_day: str, age_approx: str) -> str:
    """One study per patient, day and age: what DICOM wants equal in a study, ISIC gives per image."""
    return derive_uid("study", patient_id, acquisition_day, age_approx)


def series_instance_uid(
    study_uid: str, lesion_or_case: str, image_type: str, modality: str, body_part: str
) -> str:
    """One series per study, lesion or confocal case, and image type.

    Modality and body part are attributes of the series too, so images that differ there never share one.
    """
    return derive_uid("series", study_uid, lesion_or_case, image_type, modality, body_part)


def sop_instance_uid(isic_id: str, sop_class_uid: str) -> str:
    """One instance per image and SOP class: an instance never changes its class."""
    return derive_uid("instance", isic_id, sop_class_uid)


def tracking_uid(lesion_id: str) -> str:
    """Name the lesion, wherever it was photographed."""
    return derive_uid("lesion", lesion_id)


def level_instance_uid(isic_id: str, sop_class_uid: str, number: int) -> str:
    """One instance per level of a pyramid: the full one, 0, is the image's own."""
    if number == 0:
        return sop_instance_uid(isic_id, sop_class_uid)
    return derive_uid("level", isic_id, sop_class_uid, str(number))


def frame_of_reference_uid(series_uid: str) -> str:
    """One frame of reference per series."""
    return derive_uid("frame of reference", series_uid)
