"""Writing a data set and its pixels, frame by frame, to a file (PS3.5 7.1, 8.2, A.4)."""

import struct
from collections.abc import Iterable
from typing import BinaryIO

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filebase import DicomIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID

from app.dicom.dicom_file import DicomFile, PixelPlace
from app.dicom.part10 import PREAMBLE
from app.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, IMPLICIT_VR_LITTLE_ENDIAN
from app.errors import NotConvertible

PIXEL_DATA = 0x7FE00010
_VR_OF_FLOATS = {0x7FE00008: b"OF", 0x7FE00009: b"OD"}
_PIECE_BYTES = 2**20
_LONGEST = 2**32 - 2  # of a value of defined length
_ITEM, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD


def begin_file(target: BinaryIO, dataset: FileDataset, transfer_syntax_uid: str) -> DicomIO:
    """Write the preamble and File Meta Information of our own; return what writes a data set after them."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID") or dataset.file_meta.MediaStorageSOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    target.write(PREAMBLE)
    out = DicomIO(target)
    out.is_little_endian, out.is_implicit_VR = True, False
    write_file_meta_info(out, meta, enforce_standard=True)
    out.is_implicit_VR = transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN
    return out


def write_native(out: DicomIO, frames: Iterable[bytes], bits_allocated: int) -> None:
    """Write Pixel Data as it is; `frames` follow one another without a gap."""
    _write_header(out, PIXEL_DATA, b"OB" if bits_allocated <= 8 else b"OW", 0)
    place = out.tell() - 4
    for frame in frames:
        out.write(frame)
    length = out.tell() - place - 4
    if length > _LONGEST:
        raise NotConvertible(f"Pixel Data of {length} bytes are too long to be written uncompressed.")
    if length % 2:
        out.write(b"\0")
    end = out.tell()
    out.seek(place)
    out.write_UL(length + length % 2)
    out.seek(end)


def copy_pixels(out: DicomIO, file: DicomFile, place: PixelPlace, dataset: Dataset) -> None:
    """Write the pixels as they are in the file, native or encapsulated, a piece at a time."""
    if place.length is not None:
        copy_native(out, file, place, dataset)
        return
    _write_header(out, place.tag, b"OB", 0xFFFFFFFF)
    _copy(out, file, place.offset, place.end - place.offset)


def copy_native(out: DicomIO, file: DicomFile, place: PixelPlace, dataset: Dataset) -> None:
    """Write the pixels that are native already, a piece at a time, whatever their length."""
    assert place.length is not None
    vr = _VR_OF_FLOATS.get(place.tag, b"OB" if int(dataset.get("BitsAllocated") or 8) <= 8 else b"OW")
    _write_header(out, place.tag, vr, place.length + place.length % 2)
    _copy(out, file, place.offset, place.length)
    if place.length % 2:
        out.write(b"\0")


def _copy(out: DicomIO, file: DicomFile, offset: int, left: int) -> None:
    with file.open() as source:
        source.seek(offset)
        while left and (piece := source.read(min(left, _PIECE_BYTES))):
            out.write(piece)
            left -= len(piece)
    if left:
        raise NotConvertible("The stored file ends within its pixels.")


def write_encapsulated(out: DicomIO, frames: Iterable[bytes], count: int) -> None:
    """Write Pixel Data with a Basic Offset Table, each frame one fragment of even length."""
    _write_header(out, PIXEL_DATA, b"OB", 0xFFFFFFFF)
    _write_item(out, 4 * count)
    table = out.tell()
    out.write(bytes(4 * count))
    first, offsets = out.tell(), []
    for frame in frames:
        offsets.append(out.tell() - first)
        _write_item(out, len(frame) + len(frame) % 2)
        out.write(frame + b"\0" * (len(frame) % 2))
    out.write_tag(_SEQUENCE_END)
    out.write_UL(0)
    end = out.tell()
    out.seek(table)
    out.write(struct.pack(f"<{count}I", *offsets))
    out.seek(end)


def _write_item(out: DicomIO, length: int) -> None:
    out.write_tag(_ITEM)
    out.write_UL(length)


def _write_header(out: DicomIO, tag: int, vr: bytes, length: int) -> None:
    out.write_tag(tag)
    if not out.is_implicit_VR:
        out.write(vr + b"\0\0")
    out.write_UL(length)
