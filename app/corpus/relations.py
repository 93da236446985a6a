"""What belongs together: the images of a lesion, the lesions of a patient, a confocal case, points in time.

ISIC's identifiers are scoped to one cohort, and an image without one is nobody's kin. Where licences are
named, images under others are left out, as if they were not there.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from app.archive.archive import Archive
from app.catalog.kin import Relative, relatives
from app.dicom import private_block as private
from app.errors import NotFound

Licences = Collection[str] | None  # those that are asked for

MOST_IMAGES = 1000  # of a patient; the real ones have at most a few hundred

_OF_IMAGE = {
    "image_type": private.IMAGE_TYPE,
    "acquisition_day": private.ACQUISITION_DAY,
    "age_approx": private.AGE_APPROX,
    "diagnosis": private.DIAGNOSIS,
    "lesion_id": private.LESION_ID,
    "rcm_case_id": private.RCM_CASE_ID,
    "copyright_license": private.LICENCE_ID,
    "attribution": private.ATTRIBUTION,
}
_NUMBERS = {"acquisition_day", "age_approx"}
_PARTS = {"RCM: macroscopic": "macroscopic", "RCM: mosaic": "mosaics", "RCM: tile": "tiles"}


def lesion(archive: Archive, lesion_id: str, root: str, licences: Licences = None) -> dict[str, Any]:
    """Return a lesion and its images. `root` is the DICOMweb root of their URLs."""
    total, images = _kin(archive, private.LESION_ID, lesion_id, "lesion", licences)
    days = {day for one in images if (day := _whole(one, private.ACQUISITION_DAY)) is not None}
    return {
        "id": lesion_id,
        "patient_id": _shared(images, private.PATIENT_ID),
        "images_count": total,
        "longitudinally_monitored": len(days) > 1,
        "diagnosis": _outcome(images),
        "images": [_image(one, root) for one in images],
        "time_points": _time_points(images),
        "rcm_cases": _cases(images),
    }


def patient(archive: Archive, patient_id: str, root: str, licences: Licences = None) -> dict[str, Any]:
    """Return a patient, lesions and images. `root` is the DICOMweb root of their URLs."""
    total, images = _kin(archive, private.PATIENT_ID, patient_id, "patient", licences)
    lesions: dict[str, list[Relative]] = {}
    for one in images:
        if lesion_id := one.first(private.LESION_ID):
            lesions.setdefault(lesion_id, []).append(one)
    return {
        "id": patient_id,
        "sex": _shared(images, private.SEX),
        "images_count": total,
        "lesions": [
            {"id": name, "images_count": len(its), "diagnosis": _outcome(its)}
            for name, its in lesions.items()
        ],
        "images": [_image(one, root) for one in images],
        "time_points": _time_points(images),
    }


def rcm_case(archive: Archive, rcm_case_id: str, root: str, licences: Licences = None) -> dict[str, Any]:
    """Return a confocal case: its macroscopic image, mosaics and tiles."""
    total, images = _kin(archive, private.RCM_CASE_ID, rcm_case_id, "confocal case", licences)
    return {
        **_case(rcm_case_id, images),
        "patient_id": _shared(images, private.PATIENT_ID),
        "lesion_id": _shared(images, private.LESION_ID),
        "images_count": total,
        "images": [_image(one, root) for one in images],
    }


def _kin(
    archive: Archive, number: int, value: str, kind: str, licences: Licences
) -> tuple[int, list[Relative]]:
    with archive.catalog.read() as connection:
        total, images = relatives(connection, number, value, MOST_IMAGES, licences)
    if not images:
        under = "" if licences is None else f" with images under {' or '.join(sorted(licences))}"
        raise NotFound(f"There is no {kind} {value} here{under}.")
    return total, images


def _image(one: Relative, root: str) -> dict[str, Any]:
    uids = (one.study_instance_uid, one.series_instance_uid, one.sop_instance_uid)
    known = {
        name: _whole(one, number) if name in _NUMBERS else one.first(number)
        for name, number in _OF_IMAGE.items()
    }
    return {
        "isic_id": one.first(private.ISIC_ID),
        **{name: value for name, value in known.items() if value is not None},
        "StudyInstanceUID": uids[0],
        "SeriesInstanceUID": uids[1],
        "SOPInstanceUID": uids[2],
        "url": f"{root}/studies/{uids[0]}/series/{uids[1]}/instances/{uids[2]}",
    }


def _whole(one: Relative, number: int) -> int | None:
    """Return a whole number; None where there is none, or a file says something else."""
    text = one.first(number) or ""
    return int(text) if text.removeprefix("-").isdecimal() else None


def _name(one: Relative) -> str:
    return one.first(private.ISIC_ID) or one.sop_instance_uid


def _shared(images: Iterable[Relative], number: int) -> str | None:
    """Return the value that all who have one agree in."""
    values = {value for one in images if (value := one.first(number)) is not None}
    return values.pop() if len(values) == 1 else None


def _outcome(images: Iterable[Relative]) -> str | None:
    """Return the diagnosis that all images agree in, as far down the tree as they do."""
    paths = {path for one in images if (path := one.first(private.DIAGNOSIS))}
    if not paths:
        return None
    agreed: list[str] = []
    for labels in zip(*(path.split(":") for path in sorted(paths)), strict=False):
        if len(set(labels)) > 1:
            break
        agreed.append(labels[0])
    return ":".join(agreed) or None


def _time_points(images: Sequence[Relative]) -> list[dict[str, Any]]:
    """Return the days on which images were taken, in order; those without a day are in none."""
    days: dict[int, list[str]] = {}
    for one in images:
        day = _whole(one, private.ACQUISITION_DAY)
        if day is not None:
            days.setdefault(day, []).append(_name(one))
    return [{"acquisition_day": day, "images": names} for day, names in sorted(days.items())]


def _cases(images: Sequence[Relative]) -> list[dict[str, Any]]:
    cases: dict[str, list[Relative]] = {}
    for one in images:
        if case := one.first(private.RCM_CASE_ID):
            cases.setdefault(case, []).append(one)
    return [_case(case, its) for case, its in cases.items()]


def _case(rcm_case_id: str, images: Sequence[Relative]) -> dict[str, Any]:
    parts: dict[str, list[str]] = {name: [] for name in _PARTS.values()}
    for one in images:
        part = _PARTS.get(one.first(private.IMAGE_TYPE) or "")
        if part and _name(one) not in parts[part]:  # a mosaic may be several instances, one for each level
            parts[part].append(_name(one))
    return {"id": rcm_case_id, **parts}
