"""Reading the Native DICOM Model (PS3.19 A.1) into DICOM JSON, from a stranger's hand and within limits.

No document type, so no entities but XML's own five, and nothing is fetched. Unreadable says what is wrong and
in which line.
"""

import binascii
import re
from dataclasses import dataclass, field
from typing import NoReturn
from xml.parsers import expat

from app.dicom.elements import DEPTH, ELEMENTS, ITEMS
from app.dicom.encoding import is_private, is_private_creator
from app.dicom.json_model import BINARY_VRS, BULK_VRS, NUMBER_VRS, VRS, Attribute
from app.dicom.tags import value_representation
from app.dicom.xml_model import NAME_COMPONENTS, NAME_GROUPS, NAMESPACE, UUID_URI
from app.errors import Unreadable

XML_BYTES = 64 << 20

_CHILDREN = {
    "": {"NativeDicomModel"},
    "NativeDicomModel": {"DicomAttribute"},
    "Item": {"DicomAttribute"},
    "DicomAttribute": {"Value", "PersonName", "Item", "BulkData", "InlineBinary"},
    "PersonName": set(NAME_GROUPS),
    **{group: set(NAME_COMPONENTS) for group in NAME_GROUPS},
}
_NUMBERED = frozenset({"Value", "PersonName", "Item"})
_HOLD_TEXT = frozenset({"Value", "InlineBinary", *NAME_COMPONENTS})
_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_INTEGER = re.compile(r"[+-]?[0-9]{1,30}")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_MARKUP = "is not taken: a document type and its entities are not part of the model"


def read_xml(content: bytes, encoding: str | None = None) -> dict[str, Attribute]:
    """Return the data set that a Native DICOM Model document holds, as DICOM JSON has it.

    `encoding` is the charset that its Content-Type names; without it the document says so itself. A BulkData
    with a uuid gets the URI `urn:uuid:`. Raises Unreadable.
    """
    if len(content) > XML_BYTES:
        raise Unreadable(f"XML: the document is larger than {XML_BYTES >> 20} MiB")
    reader = _Reader(encoding)
    try:
        reader.parser.Parse(content, True)  # noqa: FBT003 expat takes no keyword
    except expat.ExpatError as error:
        raise Unreadable(f"XML, line {error.lineno}: {expat.ErrorString(error.code)}") from None
    except LookupError:
        raise Unreadable("XML: the document is in an encoding that is not known") from None
    return reader.attributes


@dataclass(slots=True)
class _Element:
    """An attribute while it is read: its tag, creator and VR, and its values by their numbers."""

    tag: str
    creator: str
    vr: str
    values: dict[int, object] = field(default_factory=dict)
    other: Attribute = field(default_factory=dict)

    def finished(self) -> Attribute:
        """Return it as JSON has it."""
        values = {"Value": [self.values[number] for number in sorted(self.values)]} if self.values else {}
        return {"vr": self.vr, **values, **self.other}


class _Reader:
    """Takes expat's events; `attributes` is the data set once all is read."""

    def __init__(self, encoding: str | None) -> None:
        self.attributes: dict[str, Attribute] = {}
        self.parser = expat.ParserCreate(encoding, namespace_separator=" ")
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.StartDoctypeDeclHandler = lambda *_: self._refuse(f"DOCTYPE {_MARKUP}")
        self.parser.EntityDeclHandler = lambda *_: self._refuse(f"ENTITY {_MARKUP}")
        self.parser.ExternalEntityRefHandler = lambda *_: self._refuse(f"an external entity {_MARKUP}")
        self._names = [""]
        self._data_sets: list[list[_Element]] = []
        self._open: list[_Element] = []
        self._numbers: list[int] = []
        self._person: dict[str, str] = {}
        self._parts: dict[str, str] = {}
        self._text: list[str] = []
        self._elements = self._items = 0

    def _refuse(self, reason: str) -> NoReturn:
        raise Unreadable(f"XML, line {self.parser.CurrentLineNumber}: {reason}")

    def _start(self, qualified: str, given: dict[str, str]) -> None:
        namespace, _, name = qualified.rpartition(" ")
        parent = self._names[-1]
        if name not in _CHILDREN.get(parent, ()) or namespace not in {"", NAMESPACE}:
            self._refuse(f"<{name[:40]}> has no place {'in <' + parent + '>' if parent else 'there'}")
        self._names.append(name)
        self._text.clear()
        if name in {"NativeDicomModel", "Item"}:
            self._begin_data_set()
        if name == "DicomAttribute":
            self._open.append(self._element(given))
        elif parent == "DicomAttribute":
            self._begin_value(name, given)
        elif parent == "PersonName":
            self._parts = {}

    def _begin_data_set(self) -> None:
        self._data_sets.append([])
        self._items += 1
        if len(self._data_sets) > DEPTH + 1:
            self._refuse(f"sequences are nested deeper than {DEPTH}")
        if self._items > ITEMS + 1:
            self._refuse(f"there are more than {ITEMS} items")

    def _element(self, given: dict[str, str]) -> _Element:
        self._elements += 1
        if self._elements > ELEMENTS:
            self._refuse(f"there are more than {ELEMENTS} attributes")
        tag = given.get("tag", "")
        if not _TAG.fullmatch(tag):
            self._refuse(f"tag={tag[:40]!r}: a tag is eight hexadecimal digits")
        tag = tag.upper()
        vr = given.get("vr") or value_representation(tag)
        if vr not in VRS:
            self._refuse(f"({tag[:4]},{tag[4:]}) vr={vr[:40]!r}: there is no such Value Representation")
        creator = given.get("privateCreator", "") if is_private(tag) else ""
        return _Element(tag, creator, vr)

    def _begin_value(self, name: str, given: dict[str, str]) -> None:
        element = self._open[-1]
        allowed = {"SQ": {"Item"}, "PN": {"PersonName"}}.get(element.vr, {"Value"})
        if element.vr in BINARY_VRS:
            allowed = {"InlineBinary"}
        if name not in allowed and not (name == "BulkData" and element.vr in BULK_VRS):
            self._refuse(f"<{name}> is no content of an attribute with VR {element.vr}")
        if element.other or (name not in _NUMBERED and element.values):
            self._refuse("an attribute has values, or inline binary, or bulk data")
        if name in _NUMBERED:
            number = given.get("number", "")
            if not _NUMBER.fullmatch(number) or int(number) in element.values:
                self._refuse(f"number={number[:20]!r}: values are numbered from 1, each once")
            self._numbers.append(int(number))
        if name == "PersonName":
            self._person = {}
        if name == "BulkData":
            self._bulk_data(element, given)

    def _bulk_data(self, element: _Element, given: dict[str, str]) -> None:
        uri = given.get("uri") or (UUID_URI + given["uuid"] if given.get("uuid") else "")
        if not uri:
            self._refuse("<BulkData> has neither a uri nor a uuid")
        element.other = {"BulkDataURI": uri}

    def _characters(self, text: str) -> None:
        if self._names[-1] in _HOLD_TEXT:
            self._text.append(text)
        elif text.strip():
            self._refuse(f"text has no place in <{self._names[-1]}>")

    def _end(self, _name: str) -> None:
        name, text = self._names.pop(), "".join(self._text)
        self._text.clear()
        match name:
            case "NativeDicomModel":
                self.attributes = self._resolved(self._data_sets.pop())
            case "DicomAttribute":
                self._end_attribute(self._open.pop())
            case "Item":
                self._add(self._resolved(self._data_sets.pop()))
            case "Value":
                self._add(_value(self._open[-1].vr, text))
            case "PersonName":
                self._add(self._person or None)
            case "InlineBinary":
                self._inline_binary(text)
            case _ if name in NAME_GROUPS:
                components = [self._parts.get(component, "") for component in NAME_COMPONENTS]
                if group := "^".join(components).rstrip("^"):
                    self._person[name] = group
            case _ if name in NAME_COMPONENTS:
                self._parts[name] = text

    def _add(self, value: object) -> None:
        self._open[-1].values[self._numbers.pop()] = value

    def _end_attribute(self, element: _Element) -> None:
        if element.values and max(element.values) != len(element.values):
            self._refuse(f"({element.tag[:4]},{element.tag[4:]}) leaves out numbers of its values")
        if element.values == {1: None} and element.vr not in {"SQ", "PN"}:
            element.values = {}  # one empty value is none
        if element.creator or not element.tag.endswith("0000"):  # A.1.1: a group length is left out
            self._data_sets[-1].append(element)

    def _inline_binary(self, text: str) -> None:
        try:
            raw = binascii.a2b_base64("".join(text.split()), strict_mode=True)
        except binascii.Error:
            self._refuse("<InlineBinary> is not base64")
        if raw:
            self._open[-1].other = {"InlineBinary": binascii.b2a_base64(raw, newline=False).decode()}

    def _resolved(self, elements: list[_Element]) -> dict[str, Attribute]:
        """Put a data set in order, each private element into a block of its creator (PS3.5 7.8.1)."""
        attributes: dict[str, Attribute] = {}
        for element in elements:
            if not element.creator:
                if element.tag in attributes:
                    self._refuse(f"({element.tag[:4]},{element.tag[4:]}) is there twice")
                attributes[element.tag] = element.finished()
        blocks = _Blocks(attributes)
        for element in elements:
            if element.creator:
                tag = blocks.place(element.tag, element.creator)
                if tag is None:
                    self._refuse(f"the private group {element.tag[:4]} has no block left")
                attributes[tag] = element.finished()
        return dict(sorted(attributes.items()))


class _Blocks:
    """The blocks that private creators have reserved in a data set."""

    def __init__(self, attributes: dict[str, Attribute]) -> None:
        self._attributes = attributes
        self._of: dict[tuple[str, str], list[str]] = {}
        self._taken = {(tag[:4], tag[4:6]) for tag in attributes if is_private(tag) and tag[4:6] >= "10"}
        for tag, attribute in attributes.items():
            if is_private_creator(tag):
                self._taken.add((tag[:4], tag[6:]))
                values = attribute.get("Value", ())
                if len(values) == 1 and isinstance(values[0], str):
                    self._of.setdefault((tag[:4], values[0]), []).append(tag[6:])

    def place(self, tag: str, creator: str) -> str | None:
        """Return the tag for an element of a creator, reserving a block where none has room."""
        group, element = tag[:4], tag[6:]
        blocks = self._of.setdefault((group, creator), [])
        for block in blocks:
            if (placed := f"{group}{block}{element}") not in self._attributes:
                return placed
        free = (f"{number:02X}" for number in range(0x10, 0x100))
        block = next((one for one in free if (group, one) not in self._taken), "")
        if not block:
            return None
        self._taken.add((group, block))
        blocks.append(block)
        self._attributes[f"{group}00{block}"] = {"vr": "LO", "Value": [creator]}
        return f"{group}{block}{element}"


def _value(vr: str, text: str) -> object:
    """Return a value as JSON has it: what is no number stays text, as in json_model.py."""
    bare = text.strip()
    if vr in {"DS", "FL", "FD"}:
        number = float(bare) if _DECIMAL.fullmatch(bare) else None
        return number if number is not None and abs(number) != float("inf") else bare or None
    if vr == "IS" or vr in NUMBER_VRS:
        if not _INTEGER.fullmatch(bare):
            return bare or None
        whole = int(bare)
        return bare if vr == "IS" and not -(2**31) <= whole < 2**31 else whole
    return (bare.upper() if vr == "AT" else text) or None
