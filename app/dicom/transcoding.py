"""Conversion to Explicit VR Little Endian with native pixels, what every client can read (PS3.18 8.7.3.4).

Frames are decoded and written one at a time. Colour is always RGB, pixel by pixel, and the attributes that
describe the pixels always agree with the bytes that follow them. All of this runs inside the cage.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filebase import DicomIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import UID

from app.dicom.decoding import Samples
from app.dicom.dicom_file import DicomFile
from app.dicom.image_pixel import PIXEL_BUDGET_BYTES, ImagePixel, read_image_pixel
from app.dicom.media_types import LOSSY
from app.dicom.part10 import PREAMBLE
from app.dicom.pixels import WORD_BYTES, decoded_frame, is_native, number_of_frames, swapped_words
from app.dicom.uids import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
)
from app.errors import NotConvertible

_PIXEL_DATA = 0x7FE00010
_GROUP_OF_PIXELS = 0x7FE00000
_SIGNATURES = (0x4FFE0001, 0xFFFAFFFA)  # MAC Parameters and Digital Signatures: of the pixels as they were


def explicit_vr_little_endian(file: DicomFile, target_path: str) -> int:
    """Write the whole instance, its pixels native, to a file at `target_path`; return its length in bytes.

    Raises NotConvertible when its pixels cannot be decoded or would be larger than the budget.
    """
    image = _image_to_convert(file)
    dataset = file.read_whole()
    if file.transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN and image is None:
        _swap_words(dataset)
    with Path(target_path).open("wb") as target:
        target.write(PREAMBLE)
        out = _little_endian_writer(target)
        write_file_meta_info(out, _file_meta(dataset), enforce_standard=True)
        if image is None:
            write_dataset(out, dataset)
        else:
            _write_converted(out, file, dataset, image)
        return target.tell()


def decode_frames(file: DicomFile, numbers: Sequence[int], target_path: str) -> list[int]:
    """Write the named frames (from 1), decoded, one after the other, to a file; return the length of each.

    The samples are little endian, colour is RGB: what `application/octet-stream` means (PS3.18 8.7.3.3.2).
    """
    image = read_image_pixel(file.read_header(), file.transfer_syntax_uid)
    whole = None if file.frames_are_ranges else file.read_whole()
    with Path(target_path).open("wb") as target:
        return [
            target.write(_native_bytes([decoded_frame(file, image, number, whole)], image))
            for number in numbers
        ]


def _image_to_convert(file: DicomFile) -> ImagePixel | None:
    """Describe the pixels when they must be decoded or recoloured; None when they may stay as they are."""
    header = file.read_header()
    if "Rows" not in header:
        return None
    if is_native(file.transfer_syntax_uid):
        chunky_rgb = header.get("PhotometricInterpretation") == "RGB" and not header.get(
            "PlanarConfiguration"
        )
        if header.get("SamplesPerPixel") != 3 or chunky_rgb:
            return None
    image = read_image_pixel(header, file.transfer_syntax_uid)
    size = image.decoded_frame_bytes * number_of_frames(file, image)
    if size > PIXEL_BUDGET_BYTES:
        raise NotConvertible(
            f"Decoded, the instance would be {size >> 20} MiB; {PIXEL_BUDGET_BYTES >> 20} MiB are allowed. "
            "Ask for it as stored, or for single frames."
        )
    return image


def _write_converted(out: DicomIO, file: DicomFile, dataset: Dataset, image: ImagePixel) -> None:
    count = number_of_frames(file, image)
    if image.samples_per_pixel == 3:
        dataset.PhotometricInterpretation = "RGB"
        dataset.PlanarConfiguration = 0
    if count > 1 or "NumberOfFrames" in dataset:
        dataset.NumberOfFrames = count
    if file.transfer_syntax_uid in LOSSY:
        dataset.LossyImageCompression = "01"  # and stays so whatever the pixels are turned into (C.7.6.1.1.5)
    for tag in _SIGNATURES:
        dataset.pop(tag, None)
    whole = None if file.frames_are_ranges else dataset
    frames = (decoded_frame(file, image, number, whole) for number in range(1, count + 1))
    write_dataset(out, dataset[:_GROUP_OF_PIXELS])
    _write_pixel_data(out, frames, image)
    write_dataset(out, dataset[_PIXEL_DATA + 1 :])


def _write_pixel_data(out: DicomIO, frames: Iterator[Samples], image: ImagePixel) -> None:
    out.write_tag(_PIXEL_DATA)
    out.write(b"OB\0\0" if image.bits_allocated <= 8 else b"OW\0\0")
    place = out.tell()
    out.write_UL(0)
    if image.bits_allocated == 1:
        out.write(_native_bytes(list(frames), image))  # bits of one frame may end within a byte of the next
    else:
        for frame in frames:
            out.write(_native_bytes([frame], image))
    length = out.tell() - place - 4
    if length % 2:
        out.write(b"\0")
    end = out.tell()
    out.seek(place)
    out.write_UL(length + length % 2)
    out.seek(end)


def _native_bytes(frames: Sequence[Samples], image: ImagePixel) -> bytes:
    if image.bits_allocated == 1:
        return np.packbits(
            np.concatenate([frame.reshape(-1) for frame in frames]), bitorder="little"
        ).tobytes()
    return b"".join(frame.tobytes() for frame in frames)


def _swap_words(dataset: Dataset) -> None:
    """Bring values made of words from big to little endian; the writer converts all others."""
    for element in dataset.iterall():
        if element.VR in WORD_BYTES and isinstance(element.value, bytes):
            element.value = swapped_words(element.value, WORD_BYTES[element.VR])


def _little_endian_writer(target: BinaryIO) -> DicomIO:
    out = DicomIO(target)
    out.is_little_endian = True
    out.is_implicit_VR = False
    return out


def _file_meta(dataset: FileDataset) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID") or dataset.file_meta.MediaStorageSOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = UID(EXPLICIT_VR_LITTLE_ENDIAN)
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return meta
