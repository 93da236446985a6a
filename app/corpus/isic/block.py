"""What the private block says of an image: the same in a file that is made and beside one that is held."""

import json
from collections.abc import Mapping, Sequence

from app.corpus.isic.fields import FIELDS
from app.corpus.isic.vocabulary import Diagnosis, Site
from app.corpus.licences import Licence
from app.dicom import private_block as private

Contents = dict[int, Sequence[str]]  # the values of each element that has any


def block_contents(
    values: Mapping[str, str],
    published: Mapping[str, str],
    site: Site,
    diagnosis: Diagnosis | None,
    *,
    licence: Licence | None,
    attribution: str | None,
    collection: str | None = None,
) -> Contents:
    """Return the elements of an image from its fields in canonical form and its row as published."""
    allows = "" if licence is None else "YES" if licence.allows_commercial_use else "NO"
    contents: dict[int, str | None] = {
        field.element: values.get(field.name) for field in FIELDS if field.element is not None
    }
    contents |= {
        private.LICENCE_ID: licence.id if licence else None,
        private.LICENCE_URL: licence.url if licence else None,
        private.COMMERCIAL_USE: allows,
        private.ATTRIBUTION: attribution,
        private.COLLECTION: collection,
        private.DIAGNOSIS: diagnosis.path if diagnosis else None,
        private.DIAGNOSIS_CODE: diagnosis.code if diagnosis else None,
        private.ANATOMIC_SITE: site.path,
        # In UT a backslash is a character like any other (PS3.5 6.2).
        private.METADATA_AS_PUBLISHED: json.dumps(published, ensure_ascii=False, separators=(",", ":")),
    }
    several: dict[int, Sequence[str]] = {
        private.DIAGNOSIS_LEVELS: diagnosis.path.split(":") if diagnosis else (),
        private.ANATOMIC_SITE_LEVELS: site.path.split(":") if site.path else (),
    }
    single = {number: (value,) for number, value in contents.items() if value}
    return dict(sorted({**single, **{number: held for number, held in several.items() if held}}.items()))


def citation(isic_id: str, licence: Licence, attribution: str | None) -> str:
    """Return how an image is to be named, for Image Comments."""
    parts = [isic_id]
    if attribution:
        parts.append(attribution.rstrip("."))
    return f"{'. '.join(parts)}. {licence.title} {licence.url}"
