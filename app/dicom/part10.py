"""Where the data set of a file begins and how it is written (PS3.10 chapter 7), even where nothing says so.

Files without preamble or File Meta Information are read too; they get a prefix with which they are Part 10.
"""

import struct
import zlib
from collections.abc import Mapping
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import NamedTuple

from app.dicom.encoding import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, Encoding, dictionary_vr
from app.dicom.json_model import LONG_VRS, VRS
from app.dicom.uids import (
    DEFLATED,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    IMPLICIT_VR_LITTLE_ENDIAN,
    is_standard,
    is_valid_uid,
)
from app.errors import Unreadable

PREAMBLE = bytes(128) + b"DICM"
MEDIA_STORAGE_SOP_CLASS_UID = 0x0002
TRANSFER_SYNTAX_UID = 0x0010

INFLATED = 512 << 20
INFLATION = 100  # times the deflated size
_INFLATED_ANYWAY = 1 << 20  # small pictures of one colour deflate very well

_META_HEADER = struct.Struct("<HH2sH").unpack_from
_LENGTH = struct.Struct("<I").unpack_from
_VRS = frozenset(vr.encode() for vr in VRS)
_LONG_VRS = frozenset(vr.encode() for vr in LONG_VRS)
_ENCODINGS = {IMPLICIT_VR_LITTLE_ENDIAN: IMPLICIT_LITTLE, EXPLICIT_VR_BIG_ENDIAN: EXPLICIT_BIG}


class Part10(NamedTuple):
    """How a file is laid out."""

    transfer_syntax_uid: str
    encoding: Encoding
    meta_start: int
    data_set: int  # its first byte
    meta: Mapping[int, bytes]  # File Meta Information as found, by element number
    lacks_preamble: bool
    lacks_meta: bool  # or what would say how the data set is written
    warnings: tuple[str, ...]


def read_part10(buffer: bytes | mmap) -> Part10:
    """Find the data set of a file; Unreadable if this is not DICOM."""
    meta_start = _meta_start(buffer)
    meta, data_set, warnings = _read_meta(buffer, meta_start)
    uid = meta.get(TRANSFER_SYNTAX_UID, b"").rstrip(b"\0 ").decode("latin-1")
    lacks_meta = not uid
    if lacks_meta:
        uid = _guess(buffer, data_set)
        warnings.append(f"the file does not name its transfer syntax; it looks like {uid}")
    elif not is_valid_uid(uid):
        raise Unreadable(f"the Transfer Syntax UID {uid[:64]!r} is not a UID")
    elif not is_standard(uid):
        warnings.append(f"the transfer syntax {uid} is not known, read as Explicit VR Little Endian")
    lacks_preamble = meta_start < len(PREAMBLE)
    if lacks_preamble:
        warnings.append("the file has no preamble (PS3.10 7.1)")
    encoding = _ENCODINGS.get(uid, EXPLICIT_LITTLE)
    if uid not in DEFLATED:
        _check(buffer, data_set, encoding, uid)
    return Part10(uid, encoding, meta_start, data_set, meta, lacks_preamble, lacks_meta, tuple(warnings))


def data_set_offset(path: str) -> int:
    """Return where the data set of a file begins, for the cage; Unreadable if this is not DICOM."""
    with Path(path).open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as buffer:
        return read_part10(buffer).data_set


def _meta_start(buffer: bytes | mmap) -> int:
    """Where File Meta Information, or a data set without one, begins."""
    if buffer[128:132] == b"DICM":
        return 132
    if buffer[:4] == b"DICM":
        return 4
    if buffer[128:130] == b"\2\0" and not buffer[:128].strip(b"\0"):
        return 128
    return 0


def _read_meta(buffer: bytes | mmap, start: int) -> tuple[dict[int, bytes], int, list[str]]:
    """Read group 0002, Explicit VR Little Endian (PS3.10 7.1), to its end: its group length may be wrong."""
    meta: dict[int, bytes] = {}
    position, stop = start, len(buffer)
    while stop - position >= 8:
        group, element, vr, length = _META_HEADER(buffer, position)
        if group != 2:
            break
        if vr not in _VRS:
            raise Unreadable(
                f"({group:04X},{element:04X}) at byte {position} has no known Value Representation"
            )
        position += 8
        if vr in _LONG_VRS:
            if stop - position < 4:
                break
            (length,) = _LENGTH(buffer, position)
            position += 4
        if length > stop - position:
            raise Unreadable(
                f"({group:04X},{element:04X}) in the File Meta Information is longer than the file"
            )
        meta[element] = buffer[position : position + length]
        position += length
    return meta, position, _group_length_warnings(meta, start, position)


def _group_length_warnings(meta: Mapping[int, bytes], start: int, stop: int) -> list[str]:
    declared = meta.get(0)
    if declared is None or (len(declared) == 4 and _LENGTH(declared)[0] == stop - start - 12):
        return []
    return ["the group length of the File Meta Information is wrong"]


def _guess(buffer: bytes | mmap, start: int) -> str:
    """How a data set is written of which the file does not say (its first element decides)."""
    head = buffer[start : start + 8]
    if len(head) == 8:
        group, element, length = struct.unpack("<HHI", head)
        if _begins_data_set(group, element):
            if head[4:6] in _VRS:
                return EXPLICIT_VR_LITTLE_ENDIAN
            if length <= len(buffer) - start - 8:
                return IMPLICIT_VR_LITTLE_ENDIAN
        group, element = struct.unpack(">HH", head[:4])
        if _begins_data_set(group, element) and head[4:6] in _VRS:
            return EXPLICIT_VR_BIG_ENDIAN
    raise Unreadable("this is not a DICOM file: no DICM at byte 128, and no data set either")


def _begins_data_set(group: int, element: int) -> bool:
    tag = f"{group:04X}{element:04X}"
    return group == 8 and (element == 0 or dictionary_vr(tag) != "UN")


def _check(buffer: bytes | mmap, start: int, encoding: Encoding, uid: str) -> None:
    """Refuse a data set that is not written as its file says: it would be served mislabelled."""
    head = buffer[start : start + 8]
    if len(head) < 8 or encoding is EXPLICIT_BIG:
        return
    group, element, length = struct.unpack("<HHI", head)
    has_vr = head[4:6] in _VRS
    fits = length <= len(buffer) - start - 8
    if encoding is EXPLICIT_LITTLE and not has_vr and fits and _begins_data_set(group, element):
        raise Unreadable(f"the file says {uid}, but its data set is Implicit VR")
    if encoding is IMPLICIT_LITTLE and has_vr and not fits:
        raise Unreadable(f"the file says {uid}, Implicit VR, but its data set is Explicit VR")


def make_prefix(part10: Part10, sop_class_uid: str, sop_instance_uid: str) -> tuple[bytes, int]:
    """Make what goes before the file, from which byte of it on, so that all is Part 10 (PS3.10 7.1)."""
    if not part10.lacks_meta:
        return (PREAMBLE, part10.meta_start) if part10.lacks_preamble else (b"", 0)
    meta = file_meta(sop_class_uid, sop_instance_uid, part10.transfer_syntax_uid)
    return PREAMBLE + meta, part10.data_set


def file_meta(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Return File Meta Information of our making, what goes between preamble and data set (PS3.10 7.1)."""
    elements = (
        _meta_element(0x0001, b"OB\0\0", b"\0\1"),
        _meta_element(MEDIA_STORAGE_SOP_CLASS_UID, b"UI", sop_class_uid.encode()),
        _meta_element(0x0003, b"UI", sop_instance_uid.encode()),
        _meta_element(TRANSFER_SYNTAX_UID, b"UI", transfer_syntax_uid.encode()),
        _meta_element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID.encode()),
        _meta_element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME.encode()),
    )
    group = b"".join(elements)
    return _meta_element(0x0000, b"UL", struct.pack("<I", len(group))) + group


def _meta_element(element: int, vr: bytes, value: bytes) -> bytes:
    if len(value) % 2:
        value += b" " if vr == b"SH" else b"\0"
    return (
        struct.pack("<HH", 2, element) + vr + struct.pack("<I" if len(vr) == 4 else "<H", len(value)) + value
    )


def inflate(buffer: bytes | mmap, start: int) -> bytes:
    """Inflate the data set of a deflated file; Unreadable if it is damaged or grows beyond measure.

    It is inflated twice, first without keeping anything: memory is taken only for what is within the limits.
    """
    deflated = buffer[start:]
    most = min(INFLATED, max(len(deflated) * INFLATION, _INFLATED_ANYWAY))
    reader = zlib.decompressobj(-15)
    total, rest = 0, deflated
    try:
        while not reader.eof:
            piece = reader.decompress(rest, 1 << 20)
            rest = reader.unconsumed_tail
            total += len(piece)
            if total > most:
                raise Unreadable(f"the deflated data set grows to more than {most} bytes")
            if not piece and not rest and not reader.eof:
                raise Unreadable("the deflated data set ends too early")
        return zlib.decompressobj(-15).decompress(deflated, total + 1)
    except zlib.error as error:
        raise Unreadable(f"the deflated data set is damaged: {error}") from error
