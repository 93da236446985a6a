"""Identifiers of C-FIND, C-GET and C-MOVE (PS3.4 C.4): data sets of keys in, data sets of answers out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.dicom.elements import Walk
from app.dicom.encoding import EXPLICIT_LITTLE, IMPLICIT_LITTLE, SPECIFIC_CHARACTER_SET
from app.dicom.json_model import Attribute
from app.dicom.uids import IMPLICIT_VR_LITTLE_ENDIAN
from app.dicom.writing import character_sets_for, write_data_set
from app.errors import InvalidQuery

QUERY_RETRIEVE_LEVEL = "00080052"
RETRIEVE_AE_TITLE = "00080054"
INSTANCE_AVAILABILITY = "00080056"
FAILED_SOP_INSTANCE_UIDS = "00080058"
PATIENT_ID = "00100020"
STUDY_INSTANCE_UID = "0020000D"
SERIES_INSTANCE_UID = "0020000E"
SOP_INSTANCE_UID = "00080018"

# The levels, from the top, each with its unique key (PS3.4 Tables C.6-1 to C.6-5).
UNIQUE_KEYS = {
    "PATIENT": PATIENT_ID,
    "STUDY": STUDY_INSTANCE_UID,
    "SERIES": SERIES_INSTANCE_UID,
    "IMAGE": SOP_INSTANCE_UID,
}
# In an identifier, but not asked of what is held: PS3.4 C.4.1.1.3, and what only an answer has.
NOT_KEYS = frozenset(
    {
        QUERY_RETRIEVE_LEVEL,
        SPECIFIC_CHARACTER_SET,
        "00080053",
        RETRIEVE_AE_TITLE,
        INSTANCE_AVAILABILITY,
    }
)
MOST_KEYS = 1024  # each is written in every answer
_TIMEZONE_OFFSET = "00080201"  # says how to read the other keys; is returned, and matches nothing


@dataclass(frozen=True, slots=True)
class Identifier:
    """What a request asks: its level, and its keys as the DICOM JSON Model writes them."""

    level: str
    attributes: Mapping[str, Attribute]

    @property
    def character_sets(self) -> tuple[str, ...]:
        """Specific Character Set (0008,0005): the caller's, for the answers too if they fit."""
        return tuple(
            str(term or "") for term in self.attributes.get(SPECIFIC_CHARACTER_SET, {}).get("Value", ())
        )

    def matching_keys(self) -> Iterator[tuple[str, str]]:
        """Yield each key, or dotted path of keys, with its value as text; universal ones are empty."""
        for tag, attribute in self.attributes.items():
            if tag == _TIMEZONE_OFFSET:
                yield tag, ""
            elif tag not in NOT_KEYS and not tag.endswith("0000"):
                yield from _keys(tag, attribute)

    def has_bytes(self) -> bool:
        """Whether a key has a value of bytes, as of VR UN: nothing is matched with it."""
        return any(map(_has_bytes, self.attributes.values()))

    def unique_values(self, level: str) -> tuple[str, ...]:
        """Return the values of the unique key of a level."""
        values = self.attributes.get(UNIQUE_KEYS[level], {}).get("Value", ())
        return tuple(str(value) for value in values if value)


def read_identifier(data: bytes, transfer_syntax_uid: str) -> Identifier:
    """Read an identifier; raises Unreadable, or InvalidQuery if its level is not one."""
    encoding = IMPLICIT_LITTLE if transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN else EXPLICIT_LITTLE
    attributes = Walk(data, addressable=False, most_elements=MOST_KEYS).root(encoding, 0, len(data))
    level = str((attributes.get(QUERY_RETRIEVE_LEVEL, {}).get("Value") or ("",))[0])
    if level not in UNIQUE_KEYS:
        known = ", ".join(UNIQUE_KEYS)
        raise InvalidQuery(f"Query/Retrieve Level is {level[:16]!r}: use {known}")
    return Identifier(level, attributes)


def answer(identifier: Identifier, found: Mapping[str, Attribute], ae_title: str, *, implicit: bool) -> bytes:
    """Write one answer: every attribute that was asked for, empty where there is no value (C.4.1.1.3.2)."""
    attributes = {
        # A block keeps its creator although nothing is returned of it (PS3.5 7.8.1).
        tag: _asked(asked, found.get(tag)) or (asked if _is_creator(tag) else {"vr": asked["vr"]})
        for tag, asked in identifier.attributes.items()
        if tag not in NOT_KEYS and not tag.endswith("0000")
    }
    attributes[QUERY_RETRIEVE_LEVEL] = {"vr": "CS", "Value": [identifier.level]}
    attributes[RETRIEVE_AE_TITLE] = {"vr": "AE", "Value": [ae_title]}
    if INSTANCE_AVAILABILITY in identifier.attributes:
        attributes[INSTANCE_AVAILABILITY] = {"vr": "CS", "Value": ["ONLINE"]}
    return write(attributes, identifier.character_sets, implicit=implicit)


def write(attributes: dict[str, Attribute], character_sets: tuple[str, ...], *, implicit: bool) -> bytes:
    """Write a data set in the wanted character sets, in UTF-8 if they do not hold it."""
    used = character_sets_for(attributes, character_sets)
    if used:
        attributes = attributes | {SPECIFIC_CHARACTER_SET: {"vr": "CS", "Value": list(used)}}
    return write_data_set(attributes, explicit=not implicit, character_sets=used)


def _is_creator(tag: str) -> bool:
    return int(tag[:4], 16) % 2 == 1 and tag[4:6] == "00" and tag[6:] >= "10"


def _keys(path: str, attribute: Attribute) -> Iterator[tuple[str, str]]:
    values = attribute.get("Value") or ()
    if attribute["vr"] != "SQ":
        yield path, "\\".join(_text(value) for value in values)
    elif not values or not values[0]:
        yield path, ""
    elif len(values) > 1:
        raise InvalidQuery(f"({path[:4]},{path[4:8]}) has more than one item (PS3.4 C.2.2.2.6)")
    else:
        for tag, inner in values[0].items():
            yield from _keys(f"{path}.{tag}", inner)


def _has_bytes(attribute: Attribute) -> bool:
    if attribute["vr"] != "SQ":
        return "InlineBinary" in attribute
    return any(_has_bytes(inner) for item in attribute.get("Value", ()) for inner in (item or {}).values())


def _text(value: Any) -> str:  # noqa: ANN401 whatever the JSON model holds
    if value is None:
        return ""
    if isinstance(value, dict):  # a person name
        groups = (value.get("Alphabetic", ""), value.get("Ideographic", ""), value.get("Phonetic", ""))
        return "=".join(groups).rstrip("=")
    return str(value)


def _asked(asked: Attribute, found: Attribute | None) -> Attribute | None:
    """Return what is held of an attribute; of the items of a sequence, what was asked for."""
    if found is None or "BulkDataURI" in found:  # bulk data have no place in an answer
        return None
    wanted: Mapping[str, Attribute] = (asked.get("Value") or ({},))[0] if asked["vr"] == "SQ" else {}
    if found["vr"] != "SQ":
        return found
    items = [
        {
            tag: _asked(wanted.get(tag, {"vr": each["vr"]}), each) or {"vr": each["vr"]}
            for tag, each in (item or {}).items()
            if not wanted or tag in wanted
        }
        for item in found.get("Value", ())
    ]
    return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
