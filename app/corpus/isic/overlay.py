"""What is shown of an image that is held, from its row: the attributes that the importer would give a file.

Only those at the level of the instance: patient, study and series stay as the file says (PS3.3 A.1.2).
"""

from collections.abc import Callable
from typing import Any

from app.catalog.documents import Attributes
from app.corpus.isic import uids
from app.corpus.isic.block import Contents
from app.corpus.isic.codes import YES_NO
from app.corpus.isic.fields import CONTACTS, FITZPATRICK
from app.corpus.isic.image import FITZPATRICK_SCALE, HISTORY
from app.corpus.isic.rows import Row
from app.corpus.isic.vocabulary import Code, Site
from app.dicom import private_block as private


def overlay_of(row: Row, site: Site, contents: Contents, citation: str | None) -> Attributes:
    """Return the attributes as DICOM JSON; what the row does not tell is left to the file."""
    values = row.values
    shown = _block(contents)
    if site.path:
        shown["00082218"] = _sequence(_code(site.region))  # Anatomic Region Sequence
        if site.structure:
            shown["00082228"] = _sequence(_code(site.structure))  # Primary Anatomic Structure Sequence
    if "lesion_id" in values:
        shown["00620020"] = _one("UT", values["lesion_id"])  # Tracking ID
        shown["00620021"] = _one("UI", uids.tracking_uid(values["lesion_id"]))
    if context := _context(row):
        shown["00400555"] = _sequence(*context)  # Acquisition Context Sequence
    if "dermoscopic_type" in values:
        contact, polarization = CONTACTS[values["dermoscopic_type"]]
        shown["00161003"] = _one("CS", contact)  # Contact Method
        shown["00161001"] = _one("CS", polarization)  # Light Source Polarization
    if citation:
        shown["00204000"] = _one("LT", citation)  # Image Comments
    return shown


def _block(contents: Contents) -> Attributes:
    shown: Attributes = {private.CREATOR_TAG: _one("LO", private.CREATOR)}
    for number, values in contents.items():
        tag, vr = _ELEMENTS[number]
        read = _READ.get(vr)
        shown[tag] = {"vr": vr, "Value": [read(value) for value in values] if read else list(values)}
    return shown


_ELEMENTS = {
    number: (private.tag_of_element(number), element.vr)
    for number, element in private.PRIVATE_ELEMENTS.items()
}
_READ: dict[str, Callable[[str], int | float]] = {"IS": int, "DS": float}  # numbers in JSON (PS3.18 F.2.3)


def _context(row: Row) -> list[Attributes]:
    values = row.values
    items = []
    if "fitzpatrick_skin_type" in values:
        skin_type = values["fitzpatrick_skin_type"]
        code = Code("NCIt", FITZPATRICK[skin_type], f"Fitzpatrick Skin Type {skin_type}")
        items.append(_coded(FITZPATRICK_SCALE, code))
    items += [_coded(HISTORY[name], YES_NO[values[name]]) for name in HISTORY if name in values]
    return items


def _coded(concept: Code, value: Code) -> Attributes:
    """Return an item of Acquisition Context (PS3.3 C.7.6.14)."""
    return {
        "0040A040": _one("CS", "CODE"),
        "0040A043": _sequence(_code(concept)),
        "0040A168": _sequence(_code(value)),
    }


def _code(code: Code) -> Attributes:
    return {
        "00080100": _one("SH", code.value),
        "00080102": _one("SH", code.scheme),
        "00080104": _one("LO", code.meaning),
    }


def _one(vr: str, value: str) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]}


def _sequence(*items: Attributes) -> dict[str, Any]:
    return {"vr": "SQ", "Value": list(items)}
