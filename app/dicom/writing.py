"""Attributes of the DICOM JSON Model written as a data set, little endian (PS3.5 chapter 7): the way back.

Bulk values stay where they are: a data set is a list of pieces, bytes or the place of some.
"""

import re
import struct
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydicom.charset import encode_string
from pydicom.valuerep import format_number_as_ds

from app.dicom.character_sets import codec_of
from app.dicom.encoding import SPECIFIC_CHARACTER_SET
from app.dicom.json_model import BINARY_VRS, LONG_VRS, NUMBER_VRS, Attribute
from app.dicom.parts import Elsewhere, Piece
from app.errors import NotConvertible

UTF_8 = ("ISO_IR 192",)
ASCII: tuple[str, ...] = ()

_WITH_CHARACTER_SETS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})  # PS3.5 6.1.2.2
_LONGEST = 0xFFFFFFFE
_LONGEST_SHORT = 0xFFFE  # a longer value of a VR with a 16 bit length is written as UN (PS3.5 6.2.2)
_LONGEST_DS = 16
_ITEM = struct.pack("<HH", 0xFFFE, 0xE000)
_ESCAPES = re.compile(rb"\x1b[$()-]{1,2}[@-~]")
_LEAVES_ASCII = re.compile(rb"\x1b(\$[@B]|\$\(D|\([IJ])")  # code elements that take the place of ASCII in G0
_ASCII_ESCAPE = b"\x1b(B"
# Before each of these the first character set is in force again (PS3.5 6.1.2.5.3).
_PARTS, _NAME_PARTS = re.compile(r"([\\\t\n\f\r])"), re.compile(r"([\\^=\t\n\f\r])")
_NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")


Locate = Callable[[str], Elsewhere]


def write_data_set(
    attributes: Mapping[str, Attribute], *, explicit: bool, character_sets: Sequence[str] = UTF_8
) -> bytes:
    """Return the data set: Explicit or Implicit VR Little Endian, its text in `character_sets`.

    Specific Character Set (0008,0005) is the caller's to give. Raises NotConvertible for a value that its VR
    or the character sets cannot hold, and for bulk data that is elsewhere.
    """

    def locate(_: str) -> Elsewhere:
        raise NotConvertible("it is bulk data, which is not here")

    pieces = data_set_pieces(attributes, explicit=explicit, character_sets=character_sets, locate=locate)
    return b"".join(piece for piece in pieces if isinstance(piece, bytes))


def data_set_pieces(
    attributes: Mapping[str, Attribute],
    *,
    explicit: bool,
    character_sets: Sequence[str] = UTF_8,
    locate: Locate,
) -> list[Piece]:
    """Return the data set as write_data_set() does, with values by reference where `locate` says they are.

    `locate` gets a BulkDataURI and raises NotConvertible for one that it does not know.
    """
    codecs = [codec_of(term, lambda _: None) for term in character_sets] or ["ascii"]
    return _Writer(codecs, locate, explicit=explicit).data_set(attributes)


def length_of(pieces: Sequence[Piece]) -> int:
    """Return how many bytes pieces are together."""
    return sum(len(piece) if isinstance(piece, bytes) else piece.length for piece in pieces)


def character_sets_for(attributes: Mapping[str, Attribute], wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the character sets to write attributes in: the wanted ones if they hold all text, else UTF-8.

    Text that is ASCII needs none, so then none are named (PS3.3 C.12.1.1.2).
    """
    text = "".join(_texts(attributes))
    if text.isascii():
        return ASCII
    codecs = [codec_of(term, lambda _: None) for term in wanted]
    return tuple(wanted) if all(_holds(character, codecs) for character in set(text)) else UTF_8


def _holds(character: str, codecs: list[str]) -> bool:
    for codec in codecs:
        try:
            character.encode(codec)
        except UnicodeError:
            continue
        return True
    return False


def _texts(attributes: Mapping[str, Attribute]) -> list[str]:
    found: list[str] = []
    for attribute in attributes.values():
        for value in attribute.get("Value", ()):
            if attribute["vr"] == "SQ":
                found += _texts(value or {})
            elif attribute["vr"] == "PN" and value:
                found += value.values()
            elif attribute["vr"] in _WITH_CHARACTER_SETS and value:
                found.append(value)
    return found


class _Writer:
    def __init__(self, codecs: list[str], locate: Locate, *, explicit: bool) -> None:
        self._codecs = codecs
        self._locate = locate
        self._explicit = explicit

    def data_set(self, attributes: Mapping[str, Attribute]) -> list[Piece]:
        return [piece for tag in sorted(attributes) for piece in self._element(tag, attributes[tag])]

    def _element(self, tag: str, attribute: Attribute) -> list[Piece]:
        vr = attribute["vr"]
        try:
            value = self._content(tag, vr, attribute)
        except (struct.error, ValueError, TypeError, AttributeError) as error:
            raise NotConvertible(f"({tag[:4]},{tag[4:]}) holds what {vr} cannot: {error}") from None
        length = length_of(value)
        if length > _LONGEST:
            raise NotConvertible(f"({tag[:4]},{tag[4:]}) has {length} bytes, more than a value can")
        return [self._header(tag, vr, length), *value]

    def _header(self, tag: str, vr: str, length: int) -> bytes:
        number = struct.pack("<HH", int(tag[:4], 16), int(tag[4:], 16))
        if not self._explicit:
            return number + struct.pack("<I", length)
        if vr in LONG_VRS or length > _LONGEST_SHORT:
            vr = vr if vr in LONG_VRS else "UN"
            return number + vr.encode() + b"\0\0" + struct.pack("<I", length)
        return number + vr.encode() + struct.pack("<H", length)

    def _content(self, tag: str, vr: str, attribute: Attribute) -> list[Piece]:
        if vr == "SQ":
            return [piece for item in attribute.get("Value") or () for piece in self._item(item or {})]
        if "BulkDataURI" not in attribute:
            return [self._value(tag, vr, attribute)]
        try:
            place = self._locate(attribute["BulkDataURI"])
        except NotConvertible as error:
            raise NotConvertible(f"({tag[:4]},{tag[4:]}): {error}") from None
        padding = b" " if vr in _WITH_CHARACTER_SETS else b"\0"
        return [place, padding] if place.length % 2 else [place]

    def _value(self, tag: str, vr: str, attribute: Attribute) -> bytes:
        if vr in BINARY_VRS:
            return _even(b64decode(str(attribute.get("InlineBinary", "")), validate=True), b"\0")
        values = attribute.get("Value") or ()
        if vr in NUMBER_VRS:
            read = float if vr in {"FL", "FD"} else int
            return struct.pack(f"<{len(values)}{NUMBER_VRS[vr]}", *(read(value) for value in values))
        if vr == "AT":
            return b"".join(struct.pack("<HH", int(v[:4], 16), int(v[4:], 16)) for v in values)
        text = "\\".join("" if value is None else _text(vr, value) for value in values)
        if tag == SPECIFIC_CHARACTER_SET or vr not in _WITH_CHARACTER_SETS:
            return _even(text.encode("ascii"), b"\0" if vr == "UI" else b" ")
        return _even(text.encode() if text.isascii() else self._encoded(vr, text), b" ")

    def _encoded(self, vr: str, text: str) -> bytes:
        parts = (_NAME_PARTS if vr == "PN" else _PARTS).split(text)
        return b"".join(_at_home(encode_string(part, self._codecs)) for part in parts)

    def _item(self, attributes: Mapping[str, Attribute]) -> list[Piece]:
        content = self.data_set(attributes)
        return [_ITEM + struct.pack("<I", length_of(content)), *content]


def _text(vr: str, value: Any) -> str:  # noqa: ANN401 whatever JSON holds
    if vr == "PN":
        return "=".join(value.get(group, "") for group in _NAME_GROUPS).rstrip("=")
    if vr == "DS" and isinstance(value, float | int):
        text = f"{value:d}" if isinstance(value, int) else repr(value)
        return text if len(text) <= _LONGEST_DS else format_number_as_ds(float(value))
    return str(value)


def _at_home(encoded: bytes) -> bytes:
    """Return to the first character set at the end (PS3.5 6.1.2.5.3)."""
    escapes = _ESCAPES.findall(encoded)
    return encoded + _ASCII_ESCAPE if escapes and _LEAVES_ASCII.fullmatch(escapes[-1]) else encoded


def _even(value: bytes, padding: bytes) -> bytes:
    return value + padding if len(value) % 2 else value
