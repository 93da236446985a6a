"""The class of each image by one field, for splits that give every part its share."""

from collections.abc import Callable

from sqlalchemy import Connection

from app.catalog.kin import values_by_instance
from app.dicom import private_block as private


def _same(value: str) -> str:
    return value


def _level(level: int) -> Callable[[str], str]:
    return lambda path: ":".join(path.split(":")[:level])


# ISIC's names of fields, the private element that holds each, and what is taken of its value.
CLASSES: dict[str, tuple[int, Callable[[str], str]]] = {
    **{f"diagnosis_{level}": (private.DIAGNOSIS, _level(level)) for level in range(1, 6)},
    "diagnosis": (private.DIAGNOSIS_AS_PUBLISHED, _same),
    "benign_malignant": (private.BENIGN_MALIGNANT, _same),
    "anatom_site_1": (private.ANATOMIC_SITE, _level(1)),
    "anatom_site_general": (private.ANATOMIC_SITE_GENERAL, _same),
    "sex": (private.SEX, _same),
    "age_approx": (private.AGE_APPROX, _same),
    "fitzpatrick_skin_type": (private.FITZPATRICK_SKIN_TYPE, _same),
    "image_type": (private.IMAGE_TYPE, _same),
    "copyright_license": (private.LICENCE_ID, _same),
    "attribution": (private.ATTRIBUTION, _same),
}


def classes_of(connection: Connection, field: str) -> dict[int, str]:
    """Return the class of each instance that has one, by the number of its row."""
    number, taken = CLASSES[field]
    found = values_by_instance(connection, number)
    return {instance_id: taken(value) for instance_id, value in found.items()}
