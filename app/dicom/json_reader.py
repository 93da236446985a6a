"""Reading the DICOM JSON Model (PS3.18 Annex F) from a stranger's hand and within limits.

What is read is plain and in order: every attribute has a VR that exists, and values of the kind that the VR
holds. Unreadable says which attribute is wrong, and why.
"""

import re
from typing import Any, NoReturn

import orjson

from app.dicom.elements import DEPTH, ELEMENTS, ITEMS
from app.dicom.json_model import BINARY_VRS, BULK_VRS, NUMBER_VRS, VRS, Attribute
from app.dicom.tags import HEX_TAG, value_representation
from app.dicom.xml_model import NAME_GROUPS
from app.errors import Unreadable

JSON_BYTES = 32 << 20

_CONTENTS = ("Value", "BulkDataURI", "InlineBinary")
_WHOLE_VRS = frozenset(NUMBER_VRS) - {"FL", "FD"} | {"IS"}
_DECIMAL_VRS = frozenset({"DS", "FL", "FD"})
_OF_ONE_VALUE = frozenset({"LT", "ST", "UR", "UT"})  # a backslash is a backslash there (PS3.5 6.2)
_WHOLE = re.compile(r" *[+-]?[0-9]{1,20} *")
_NOT_ATTRIBUTES = ("0000", "FFFE")  # commands (PS3.7), delimiters (PS3.5 7.5)


def read_json(content: bytes) -> list[dict[str, Attribute] | Unreadable]:
    """Return the data sets of a DICOM JSON array, or of one object, each read or with what is wrong with it.

    Raises Unreadable where the document as a whole is none.
    """
    if len(content) > JSON_BYTES:
        raise Unreadable(f"the document is larger than {JSON_BYTES >> 20} MiB")
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Unreadable(f"it is not JSON: {error}") from None
    data_sets = document if isinstance(document, list) else [document]
    return [_read(data_set) for data_set in data_sets]


def read_data_set(given: object) -> dict[str, Attribute]:
    """Return one data set of the model, from whatever document; raises Unreadable."""
    return _Reader().data_set(given, 0)


def _read(data_set: object) -> dict[str, Attribute] | Unreadable:
    try:
        return read_data_set(data_set)
    except Unreadable as error:
        return error.with_traceback(None)


class _Reader:
    """Reads one data set, and counts what it is made of."""

    def __init__(self) -> None:
        self._elements = self._items = 0

    def data_set(self, given: object, depth: int) -> dict[str, Attribute]:
        if not isinstance(given, dict):
            raise Unreadable("a data set is a JSON object")
        if depth > DEPTH:
            raise Unreadable(f"sequences are nested deeper than {DEPTH}")
        self._elements += len(given)
        if self._elements > ELEMENTS:
            raise Unreadable(f"there are more than {ELEMENTS} attributes")
        read: dict[str, Attribute] = {}
        for name, attribute in given.items():
            if not HEX_TAG.fullmatch(name):
                raise Unreadable(f"{name[:40]!r} is not a tag of eight hexadecimal digits")
            tag = name.upper()
            if tag in read:
                _refuse(tag, "is there twice")
            if tag.startswith(_NOT_ATTRIBUTES):
                _refuse(tag, "is no attribute of a data set")
            if not tag.endswith("0000"):  # F.2.2: group lengths have no place
                read[tag] = self._attribute(tag, attribute, depth)
        return dict(sorted(read.items()))

    def _attribute(self, tag: str, given: object, depth: int) -> Attribute:
        if not isinstance(given, dict):
            _refuse(tag, "is not a JSON object")
        vr = _settled(given.get("vr") or value_representation(tag))
        if not isinstance(vr, str) or vr not in VRS:
            _refuse(tag, f"has vr {str(vr)[:40]!r}: there is no such Value Representation")
        held = [name for name in _CONTENTS if given.get(name) is not None]
        if len(held) > 1:
            _refuse(tag, f"has {' and '.join(held)}, at most one of which is allowed")
        if not held or given[held[0]] in ([], ""):
            return {"vr": vr}
        (name,) = held
        content = given[name]
        if name == "Value":
            if vr in BINARY_VRS or not isinstance(content, list):
                _refuse(tag, f"has a Value that is none of VR {vr}")
            return {"vr": vr, "Value": [self._value(tag, vr, value, depth) for value in content]}
        allowed = BINARY_VRS if name == "InlineBinary" else BULK_VRS
        if not isinstance(content, str) or vr not in allowed:
            _refuse(tag, f"has a {name} that is none of VR {vr}")
        return {"vr": vr, name: content}

    def _value(self, tag: str, vr: str, value: Any, depth: int) -> Any:  # noqa: ANN401 whatever JSON holds
        if vr == "SQ":
            self._items += 1
            if self._items > ITEMS:
                raise Unreadable(f"there are more than {ITEMS} items")
            return self.data_set({} if value is None else value, depth + 1)
        if value is None:
            return None if vr not in NUMBER_VRS else _refuse(tag, f"has an empty value of VR {vr}")
        if vr == "PN":
            return _name(tag, value)
        if vr in _WHOLE_VRS:
            return _whole(tag, vr, value)
        if vr in _DECIMAL_VRS and isinstance(value, int | float) and not isinstance(value, bool):
            return value
        if not isinstance(value, str) or "\0" in value:
            _refuse(tag, f"has a value that is none of VR {vr}")
        if "\\" in value and vr not in _OF_ONE_VALUE:
            _refuse(tag, "has a backslash within a value")
        return value


def _settled(vr: object) -> object:
    """Choose where a writer has left the VR open, as pydicom does of data sets that never were in a file."""
    if not isinstance(vr, str) or " or " not in vr:
        return vr
    choice = vr.split(" or ")
    return "OW" if "OW" in choice else choice[0]


def _whole(tag: str, vr: str, value: object) -> int | str:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return value.strip() if vr == "IS" else int(value)
    return _refuse(tag, f"has a value that is no whole number, as VR {vr} holds")


def _name(tag: str, value: object) -> dict[str, str]:
    if not isinstance(value, dict) or any(
        group not in NAME_GROUPS or not isinstance(text, str) or set(text) & {"\\", "=", "\0"}
        for group, text in value.items()
    ):
        _refuse(tag, f"has a name that is none: an object of {', '.join(NAME_GROUPS)}")
    return value


def _refuse(tag: str, reason: str) -> NoReturn:
    raise Unreadable(f"({tag[:4]},{tag[4:]}) {reason}")
