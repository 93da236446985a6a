"""Rows of `name_term`: what fuzzy matching finds a study's person names by."""

from typing import Any

from app.catalog.attributes import ATTRIBUTES
from app.catalog.documents import Attributes
from app.dicom.matching import Level
from app.dicom.person_names import name_terms

_NAMES = tuple(a.tag for a in ATTRIBUTES if a.level == Level.STUDY and a.vr == "PN")

LONGEST_TERM = 64  # a component group of a person name has no more characters (PS3.5 6.2)


def name_rows(study_id: int, attributes: Attributes) -> list[dict[str, Any]]:
    """Return the rows for one study; `attributes` is what its instances say of it."""
    return [
        {"attribute": int(tag, 16), "term": term, "study_id": study_id}
        for tag in _NAMES
        for term in sorted(name_terms(attributes.get(tag, {}).get("Value", ())))
        if len(term) <= LONGEST_TERM and "\0" not in term
    ]
