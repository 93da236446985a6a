"""Data element headers by transfer syntax (PS3.5 7.1, 7.3): which tag, which VR, how long a header."""

import struct
from collections.abc import Callable

from app.dicom.dictionary import definition
from app.dicom.json_model import (
    BIG_ENDIAN,
    BINARY_VRS,
    BULK_VRS,
    LITTLE_ENDIAN,
    LONG_VRS,
    TEXT_VRS,
    VRS,
    Attribute,
    Convert,
)
from app.dicom.private_block import CREATOR, ELEMENT_BY_TAG

_INLINE_BINARY = 256
_INLINE_TEXT = 16 * 1024

# What the reader takes without a second look. Small, as many times over it must not fill the memory.
_FAST = 128
_NEVER_FAST = -1

SPECIFIC_CHARACTER_SET = "00080005"
FLOAT_PIXEL_DATA = "7FE00008"
DOUBLE_FLOAT_PIXEL_DATA = "7FE00009"
PIXEL_DATA = "7FE00010"
PIXELS = frozenset({FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA, PIXEL_DATA})
EXTENDED_OFFSET_TABLE = "7FE00001"
EXTENDED_OFFSET_TABLE_LENGTHS = "7FE00002"
OFFSET_TABLES = frozenset({EXTENDED_OFFSET_TABLE, EXTENDED_OFFSET_TABLE_LENGTHS})
ITEM_END = "FFFEE00D"

_REMEMBERED_HEADERS = 8192


# What the first eight bytes of an element say of it: tag, VR, conversion of its value, the longest value that
# needs no second look, the length of this one (IN_FOUR_BYTES: it follows), whether one value in ASCII is just
# that text. A VR of "" is none, of "??" one that PS3.5 does not know. A plain tuple: it takes a third of the
# time of a named one.
Header = tuple[str, str, Convert, int, int, bool]
IN_FOUR_BYTES = -1


def dictionary_vr(tag: str) -> str:
    """VR of a standard attribute, perhaps a choice such as "US or SS"; UN if PS3.6 has no such attribute."""
    found = definition(tag)
    return found.vr if found else "UN"


def private_vr(tag: str, creator: str) -> str:
    """VR of a private attribute as far as it is known."""
    if creator == CREATOR:
        own = ELEMENT_BY_TAG.get(f"{tag[:4]}10{tag[6:]}")
        return own.vr if own else "UN"
    from pydicom.datadict import private_dictionary_VR  # noqa: PLC0415 few files need it: tools/dictionary.py

    try:
        return private_dictionary_VR(int(tag, 16), creator)
    except KeyError:
        return "UN"


def is_private(tag: str) -> bool:
    """Whether the group number is odd (PS3.5 7.8)."""
    return tag[3] in "13579BDF"


def is_private_creator(tag: str) -> bool:
    """Whether the element names who reserved a block of its private group (PS3.5 7.8.1)."""
    return is_private(tag) and tag[4:6] == "00" and tag[6:] >= "10"


# Longest value in bytes that stands in the document itself; a value of a VR that is not here always does.
VALUE_LIMITS = {vr: _INLINE_BINARY if vr in BINARY_VRS else _INLINE_TEXT for vr in BINARY_VRS | BULK_VRS}


def _never(raw: bytes, repertoire: object) -> Attribute:
    raise AssertionError(raw, repertoire)


class _Headers(dict[bytes, Header]):
    """Headers by their bytes, worked out once; begun afresh when full, as tags and lengths are endless."""

    def __init__(self, explain: Callable[[bytes], Header]) -> None:
        super().__init__()
        self._explain = explain

    def __missing__(self, key: bytes) -> Header:
        if len(self) >= _REMEMBERED_HEADERS:
            self.clear()
        header = self[key] = self._explain(key)
        return header


class Encoding:
    """One of the three ways to write a data set (PS3.5 7.1.2, 7.1.3, 7.3)."""

    def __init__(self, order: str, *, explicit: bool) -> None:
        """Take the byte order as struct writes it."""
        self.explicit = explicit
        self.big_endian = order == ">"
        self.converters = BIG_ENDIAN if self.big_endian else LITTLE_ENDIAN
        self.unpack_item = struct.Struct(order + "4sI").unpack_from
        self.unpack_length = struct.Struct(order + "I").unpack_from
        # Tag, VR and 16 bits of length, or tag and 32 bits.
        self._unpack_header = struct.Struct(order + ("HH2sH" if explicit else "HH0sI")).unpack
        pack = struct.Struct(order + "HH").pack
        self.item, self.sequence_end = pack(0xFFFE, 0xE000), pack(0xFFFE, 0xE0DD)
        self.headers = _Headers(self._explain)

    def _explain(self, key: bytes) -> Header:
        group, element, vr_bytes, length = self._unpack_header(key)
        tag = f"{group:04X}{element:04X}"
        if group == 0xFFFE:
            return (tag, "", _never, _NEVER_FAST, length, False)
        if not self.explicit:
            # A private creator says later which VRs its elements have.
            vr = "LO" if is_private_creator(tag) else "UN" if is_private(tag) else dictionary_vr(tag)
            return self._known(tag, vr, length)
        vr = vr_bytes.decode("latin-1")
        if vr not in VRS:
            unknown = "??" if vr.isalpha() and vr.isupper() else ""
            return (tag, unknown, _never, _NEVER_FAST, length, False)
        return self._known(tag, vr, IN_FOUR_BYTES if vr in LONG_VRS else length)

    def _known(self, tag: str, vr: str, length: int) -> Header:
        special = (
            vr not in self.converters  # a sequence, or a choice of VRs
            or vr == "UN"
            or tag in PIXELS
            or tag in OFFSET_TABLES  # their place in the file matters
            or tag == SPECIFIC_CHARACTER_SET
            or tag[4:] == "0000"
            or tag < "0004"
            or tag[:4] in {"0005", "0007", "FFFF"}
        )
        if special:
            return (tag, vr, self.converters.get(vr, _never), _NEVER_FAST, length, False)
        return (tag, vr, self.converters[vr], _FAST, length, vr in TEXT_VRS)


IMPLICIT_LITTLE = Encoding("<", explicit=False)
EXPLICIT_LITTLE = Encoding("<", explicit=True)
EXPLICIT_BIG = Encoding(">", explicit=True)
