"""DICOM files byte by byte, also wrong ones that a library would not write."""

import struct

LONG_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
UNDEFINED = 0xFFFFFFFF

EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
JPEG = "1.2.840.10008.1.2.4.50"

ITEM_END = struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
SEQUENCE_END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def header(tag: int, vr: str, length: int, order: str = "<") -> bytes:
    """The header of an explicit element; with an empty VR, of an implicit one."""
    start = struct.pack(order + "HH", tag >> 16, tag & 0xFFFF)
    if not vr:
        return start + struct.pack(order + "I", length)
    if vr in LONG_VRS:
        return start + vr.encode() + struct.pack(order + "HI", 0, length)
    return start + vr.encode() + struct.pack(order + "H", length)


def element(tag: int, vr: str, value: bytes | str = b"", order: str = "<") -> bytes:
    """An element of an even length, blanks or zeros added."""
    raw = value.encode() if isinstance(value, str) else value
    if len(raw) % 2:
        raw += b" " if isinstance(value, str) and vr != "UI" else b"\0"
    return header(tag, vr, len(raw), order) + raw


def item(content: bytes, *, delimited: bool = False) -> bytes:
    """A sequence item or a fragment."""
    if delimited:
        return struct.pack("<HHI", 0xFFFE, 0xE000, UNDEFINED) + content + ITEM_END
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content


def sequence(tag: int, *items: bytes, delimited: bool = False, vr: str = "SQ") -> bytes:
    """A sequence of ready items."""
    content = b"".join(items)
    if delimited:
        return header(tag, vr, UNDEFINED) + content + SEQUENCE_END
    return header(tag, vr, len(content)) + content


def meta(transfer_syntax_uid: str = EXPLICIT) -> bytes:
    """File Meta Information."""
    group = element(0x00020010, "UI", transfer_syntax_uid)
    return element(0x00020000, "UL", struct.pack("<I", len(group))) + group


IDENTIFIERS = {
    0x00080016: "1.2.840.10008.5.1.4.1.1.7",
    0x00080018: "1.2.3",
    0x0020000D: "1.2.4",
    0x0020000E: "1.2.5",
}


def data_set(*elements: bytes, vr: str = "UI", order: str = "<") -> bytes:
    """The four UIDs that every instance needs, and other elements, in order of their tags."""
    identifiers = [
        element(tag, vr, value + "\0" * (len(value) % 2), order) for tag, value in IDENTIFIERS.items()
    ]
    return b"".join(sorted([*identifiers, *elements], key=lambda one: struct.unpack(order + "HH", one[:4])))


def part10(content: bytes, transfer_syntax_uid: str = EXPLICIT) -> bytes:
    """A file of this data set."""
    return bytes(128) + b"DICM" + meta(transfer_syntax_uid) + content


def instance(*elements: bytes, transfer_syntax_uid: str = EXPLICIT) -> bytes:
    """A file with the four UIDs and these elements."""
    return part10(data_set(*elements), transfer_syntax_uid)


def fragments(*values: bytes, offset_table: bytes = b"", ended: bool = True) -> bytes:
    """Encapsulated pixel data."""
    content = b"".join(item(value) for value in (offset_table, *values))
    return header(0x7FE00010, "OB", UNDEFINED) + content + (SEQUENCE_END if ended else b"")


def image(
    rows: int = 2,
    columns: int = 2,
    bits: int = 8,
    samples: int = 1,
    frames: str = "",
    photometric: str = "MONOCHROME2",
) -> list[bytes]:
    """The elements that describe pixels."""
    numbers = {0x00280002: samples, 0x00280010: rows, 0x00280011: columns, 0x00280100: bits, 0x00280103: 0}
    elements = [element(tag, "US", struct.pack("<H", number)) for tag, number in numbers.items()]
    elements.append(element(0x00280004, "CS", photometric))
    return [*elements, element(0x00280008, "IS", frames)] if frames else elements
