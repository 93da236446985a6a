"""Values as the DICOM JSON Model writes them (PS3.18 Annex F): one value field in, one attribute object out.

One function a VR, in a table for each byte order. Each takes the raw value field and the character
repertoire of its data set, and never fails: a number that is none stays a string, odd bytes are left out
with a note.
"""

import math
import struct
from binascii import b2a_base64
from collections.abc import Callable
from typing import Any

from app.dicom.character_sets import Repertoire

Attribute = dict[str, Any]
Convert = Callable[[bytes, Repertoire], Attribute]

BINARY_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
# PS3.18 F.2.2: what may stand elsewhere as bulk data.
BULK_VRS = BINARY_VRS | {"DS", "FD", "FL", "IS", "LT", "SL", "SS", "ST", "SV", "UC", "UL", "US", "UT", "UV"}
# PS3.5 7.1.2: 32 bit length, and with it a header of 12 bytes; all others have 8.
LONG_VRS = BINARY_VRS | {"SQ", "SV", "UC", "UR", "UT", "UV"}
# One value in ASCII, without a backslash, is its own text up to trailing padding.
TEXT_VRS = frozenset({"AS", "CS", "DA", "DT", "LO", "LT", "SH", "ST", "TM", "UC", "UI", "UR", "UT"})
NUMBER_VRS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}
WORD_SIZES = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
VRS = BULK_VRS | LONG_VRS | {"AE", "AS", "AT", "CS", "DA", "DT", "LO", "PN", "SH", "TM", "UI"}

_DECIMAL = b"0123456789+-.eE \\\0"
_INTEGER = b"0123456789+- \\\0"
_NAME_PARTS = ("Alphabetic", "Ideographic", "Phonetic")


def _strings(vr: str) -> Convert:
    """Values between backslashes, to which Specific Character Set applies."""
    empty = {"vr": vr}

    def convert(raw: bytes, repertoire: Repertoire) -> Attribute:
        text = raw.decode() if raw.isascii() and not repertoire.has_escapes else repertoire.decode(raw)
        text = text.rstrip(" \0")
        if "\\" in text:
            return {"vr": vr, "Value": [part.rstrip(" \0") or None for part in text.split("\\")]}
        return {"vr": vr, "Value": (text,)} if text else empty

    return convert


def _plain_strings(vr: str) -> Convert:
    """Values between backslashes in the default repertoire."""
    empty = {"vr": vr}

    def convert(raw: bytes, repertoire: Repertoire) -> Attribute:
        text = (raw.decode() if raw.isascii() else repertoire.plain(raw)).rstrip(" \0")
        if "\\" in text:
            return {"vr": vr, "Value": [part.rstrip(" \0") or None for part in text.split("\\")]}
        return {"vr": vr, "Value": (text,)} if text else empty

    return convert


def _stripped_strings(vr: str) -> Convert:
    """Values between backslashes in the default repertoire whose leading blanks mean nothing either."""

    def convert(raw: bytes, repertoire: Repertoire) -> Attribute:
        text = raw.decode() if raw.isascii() else repertoire.plain(raw)
        values = [part.strip(" \0") or None for part in text.split("\\")]
        return {"vr": vr, "Value": values} if values != [None] else {"vr": vr}

    return convert


def _text(vr: str) -> Convert:
    """Text of one value, in which a backslash is a backslash."""
    empty = {"vr": vr}

    def convert(raw: bytes, repertoire: Repertoire) -> Attribute:
        text = raw.decode() if raw.isascii() and not repertoire.has_escapes else repertoire.decode(raw)
        text = text.rstrip(" \0")
        return {"vr": vr, "Value": (text,)} if text else empty

    return convert


def _person_name(text: str) -> dict[str, str] | None:
    groups = text.rstrip(" \0").split("=")
    return {part: group for part, group in zip(_NAME_PARTS, groups, strict=False) if group} or None


def _person_names(raw: bytes, repertoire: Repertoire) -> Attribute:
    """Names between backslashes, each of up to three component groups (PS3.18 F.2.2)."""
    text = raw.decode() if raw.isascii() and not repertoire.has_escapes else repertoire.decode(raw)
    text = text.rstrip(" \0")
    if "\\" in text:
        return {"vr": "PN", "Value": [_person_name(part) for part in text.split("\\")]}
    if "=" not in text:
        return {"vr": "PN", "Value": ({"Alphabetic": text},)} if text else {"vr": "PN"}
    name = _person_name(text)
    return {"vr": "PN", "Value": (name,)} if name else {"vr": "PN"}


def _decimal(text: str) -> float | str | None:
    try:
        number = float(text)
    except ValueError:
        return text or None
    return number if math.isfinite(number) else text


def _integer(text: str) -> int | str | None:
    try:
        number = int(text)
    except ValueError:
        return text or None
    return number if -(2**31) <= number < 2**31 else text  # PS3.5 6.2


def _number_strings(vr: str, alphabet: bytes, number_of: Callable[[str], float | str | None]) -> Convert:
    """DS and IS: JSON numbers where they are valid, else the text as it stands (PS3.18 Table F.2.3-1)."""
    empty = {"vr": vr}
    as_text = _stripped_strings(vr)

    def convert(raw: bytes, repertoire: Repertoire) -> Attribute:
        # float() and int() also take underscores, "nan", "infinity" and line ends, which are not DICOM.
        if raw.strip(alphabet):
            return as_text(raw, repertoire)
        text = raw.decode().strip(" \0")
        if "\\" in text:
            return {"vr": vr, "Value": [number_of(part.strip(" \0")) for part in text.split("\\")]}
        return {"vr": vr, "Value": (number_of(text),)} if text else empty

    return convert


def _numbers(vr: str, order: str) -> Convert:
    code = NUMBER_VRS[vr]
    size = struct.calcsize("=" + code)
    one = struct.Struct(order + code).unpack
    empty = {"vr": vr}

    def convert(raw: bytes, repertoire: Repertoire) -> Attribute:
        if len(raw) == size:
            return {"vr": vr, "Value": one(raw)}
        count, odd = divmod(len(raw), size)
        if odd:
            repertoire.note(f"a value of {vr} is {len(raw)} bytes long, not a multiple of {size}")
        if not count:
            return empty
        return {"vr": vr, "Value": struct.unpack_from(f"{order}{count}{code}", raw)}

    return convert


def _json_float(number: float) -> float | str:
    """Write what JSON has no number for as the strings that float() reads; Table F.2.3-1 is silent."""
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "inf" if number > 0 else "-inf"


def _floats(vr: str, order: str) -> Convert:
    numbers = _numbers(vr, order)

    def convert(raw: bytes, repertoire: Repertoire) -> Attribute:
        attribute = numbers(raw, repertoire)
        if "Value" in attribute:
            attribute["Value"] = [_json_float(number) for number in attribute["Value"]]
        return attribute

    return convert


def _tags(order: str) -> Convert:
    words = _numbers("US", order)

    def convert(raw: bytes, repertoire: Repertoire) -> Attribute:
        halves = words(raw, repertoire).get("Value", ())
        values = [
            f"{group:04X}{element:04X}" for group, element in zip(halves[::2], halves[1::2], strict=False)
        ]
        return {"vr": "AT", "Value": values} if values else {"vr": "AT"}

    return convert


def _binary(vr: str, order: str) -> Convert:
    """Base64 of the value field in little endian (PS3.18 F.2.7)."""
    empty = {"vr": vr}
    size = WORD_SIZES.get(vr, 1) if order == ">" else 1

    def convert(raw: bytes, repertoire: Repertoire) -> Attribute:  # noqa: ARG001 (one signature for all)
        if size > 1 and not len(raw) % size:
            raw = b"".join(raw[start : start + size][::-1] for start in range(0, len(raw), size))
        return {"vr": vr, "InlineBinary": str(b2a_base64(raw, newline=False), "ascii")} if raw else empty

    return convert


def _converters(order: str) -> dict[str, Convert]:
    table = {vr: _plain_strings(vr) for vr in ("AS", "CS", "DA", "DT", "TM", "UI")}
    table |= {vr: _strings(vr) for vr in ("LO", "SH", "UC")}
    table |= {vr: _text(vr) for vr in ("LT", "ST", "UR", "UT")}
    table |= {vr: _numbers(vr, order) for vr in ("SL", "SS", "SV", "UL", "US", "UV")}
    table |= {vr: _floats(vr, order) for vr in ("FD", "FL")}
    table |= {vr: _binary(vr, order) for vr in BINARY_VRS}
    table["AE"] = _stripped_strings("AE")
    table["AT"] = _tags(order)
    table["PN"] = _person_names
    table["DS"] = _number_strings("DS", _DECIMAL, _decimal)
    table["IS"] = _number_strings("IS", _INTEGER, _integer)
    return table


LITTLE_ENDIAN = _converters("<")
BIG_ENDIAN = _converters(">")
