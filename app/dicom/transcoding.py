"""Conversion of instances and frames from any transfer syntax with a decoder to any with an encoder.

Frames are decoded, encoded and written one at a time. Decoded colour is RGB, pixel by pixel, and the
attributes that describe the pixels always agree with the bytes that follow them. All of this runs inside the
cage.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.filewriter import write_dataset

from app.dicom.decoding import Samples
from app.dicom.derivation import describe_lossy_compression
from app.dicom.dicom_file import DicomFile
from app.dicom.image_pixel import PIXEL_BUDGET_BYTES, ImagePixel, read_image_pixel
from app.dicom.media_types import JPEG_BASELINE, LOSSY
from app.dicom.pixel_encoding import encode_frame, encoded_photometric_interpretation, require_encodable
from app.dicom.pixel_writing import PIXEL_DATA, begin_file, copy_native, write_encapsulated, write_native
from app.dicom.pixels import WORD_BYTES, decoded_frame, is_native, number_of_frames, swapped_words
from app.dicom.uids import EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from app.errors import NotConvertible

_GROUP_OF_PIXELS = 0x7FE00000
_SIGNATURES = (0x4FFE0001, 0xFFFAFFFA)  # MAC Parameters and Digital Signatures: of the pixels as they were
_NATIVE = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)
_LEAST_FRAME_BYTES = 64  # what even a frame of one pixel costs

# Nobody needs to say of these whether they lost anything; of the rest, that of the data set counts.
_LOSSY_ALWAYS = LOSSY - {f"1.2.840.10008.1.2.4.{last}" for last in (81, 91, 93, 112, 203)}


def transcode(file: DicomFile, transfer_syntax_uid: str, target_path: str) -> int:
    """Write the whole instance in another transfer syntax to a file at `target_path`; return its length.

    Into Explicit and Implicit VR Little Endian pixels go as they are. Raises NotConvertible when the pixels
    cannot be decoded, do not suit the encoder, or would be larger than the budget.
    """
    image = _image_to_convert(file, transfer_syntax_uid)
    with Path(target_path).open("wb") as target:
        if image is not None:
            _write_converted(target, file, image, transfer_syntax_uid)
        elif file.transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN:
            dataset = file.read_whole()
            _swap_words(dataset)
            write_dataset(begin_file(target, dataset, transfer_syntax_uid), dataset)
        else:
            _write_copied(target, file, transfer_syntax_uid)
        return target.tell()


def transcode_frames(
    file: DicomFile, numbers: Sequence[int], transfer_syntax_uid: str, target_path: str
) -> list[int]:
    """Write the named frames (from 1), one after the other, to a file; return the length of each.

    Native samples are little endian: what `application/octet-stream` means (PS3.18 8.7.3.3.2).
    """
    image = read_image_pixel(file.read_header(), file.transfer_syntax_uid)
    _require_within_budget(image, len(numbers), "frames")
    whole = None if file.frames_are_ranges else file.read_whole()
    with Path(target_path).open("wb") as target:
        frames = (decoded_frame(file, image, number, whole) for number in numbers)
        return [target.write(_one(samples, image, transfer_syntax_uid)) for samples in frames]


def _image_to_convert(file: DicomFile, transfer_syntax_uid: str) -> ImagePixel | None:
    """Describe the pixels when they must be decoded or recoloured; None when they may stay as they are."""
    header = file.read_header()
    to_native = transfer_syntax_uid in _NATIVE
    if "Rows" not in header and to_native:
        return None
    if is_native(file.transfer_syntax_uid) and to_native:
        chunky_rgb = header.get("PhotometricInterpretation") == "RGB" and not header.get(
            "PlanarConfiguration"
        )
        if header.get("SamplesPerPixel") != 3 or chunky_rgb:
            return None
    image = read_image_pixel(header, file.transfer_syntax_uid)
    if not to_native:
        require_encodable(image, transfer_syntax_uid)
    _require_within_budget(image, number_of_frames(file, image), "instance")
    return image


def _require_within_budget(image: ImagePixel, frames: int, what: str) -> None:
    size = max(image.decoded_frame_bytes, _LEAST_FRAME_BYTES) * frames
    if size > PIXEL_BUDGET_BYTES:
        raise NotConvertible(
            f"Decoded, the {what} would be {size >> 20} MiB; {PIXEL_BUDGET_BYTES >> 20} MiB are allowed. "
            "Ask for it as stored, or for single frames."
        )


def _write_copied(target: BinaryIO, file: DicomFile, transfer_syntax_uid: str) -> None:
    dataset, place = file.read_all_but_pixels()
    out = begin_file(target, dataset, transfer_syntax_uid)
    if place is None:
        write_dataset(out, dataset)
        return
    write_dataset(out, dataset[:_GROUP_OF_PIXELS])
    copy_native(out, file, place, dataset)
    write_dataset(out, dataset[PIXEL_DATA + 1 :])


def _write_converted(target: BinaryIO, file: DicomFile, image: ImagePixel, transfer_syntax_uid: str) -> None:
    dataset, whole = _read(file)
    count = number_of_frames(file, image)
    samples = (decoded_frame(file, image, number, whole) for number in range(1, count + 1))
    frames = _encoded(samples, image, transfer_syntax_uid)
    _describe(dataset, image, count, transfer_syntax_uid)
    if transfer_syntax_uid == JPEG_BASELINE:
        # The ratio stands before the pixels. Compressed with loss, the frames are small.
        frames = list(frames)
        ratio = image.decoded_frame_bytes * count / sum(map(len, frames))
        describe_lossy_compression(dataset, transfer_syntax_uid, ratio)
    out = begin_file(target, dataset, transfer_syntax_uid)
    write_dataset(out, dataset[:_GROUP_OF_PIXELS])
    if transfer_syntax_uid in _NATIVE:
        write_native(out, frames, image.bits_allocated)
    else:
        write_encapsulated(out, frames, count)
    write_dataset(out, dataset[PIXEL_DATA + 1 :])


def _read(file: DicomFile) -> tuple[FileDataset, FileDataset | None]:
    """Read what is not pixels; also everything, where frames are no ranges of the file."""
    if file.frames_are_ranges:
        return file.read_all_but_pixels()[0], None
    whole = file.read_whole()
    return whole, whole


def _describe(dataset: Dataset, image: ImagePixel, count: int, transfer_syntax_uid: str) -> None:
    """Make the attributes agree with the encoded pixels (PS3.3 C.7.6.3)."""
    dataset.PhotometricInterpretation = encoded_photometric_interpretation(image, transfer_syntax_uid)
    if image.samples_per_pixel == 3:
        dataset.PlanarConfiguration = 0
    if count > 1 or "NumberOfFrames" in dataset:
        dataset.NumberOfFrames = count
    is_lossy = image.transfer_syntax_uid in LOSSY
    if is_lossy and (image.transfer_syntax_uid in _LOSSY_ALWAYS or not dataset.get("LossyImageCompression")):
        dataset.LossyImageCompression = "01"  # and stays so whatever the pixels become (C.7.6.1.1.5)
    for tag in _SIGNATURES:
        dataset.pop(tag, None)


def _encoded(frames: Iterable[Samples], image: ImagePixel, transfer_syntax_uid: str) -> Iterable[bytes]:
    if image.bits_allocated == 1 and transfer_syntax_uid in _NATIVE:
        return [_packed_bits(frames)]  # bits of one frame may end within a byte of the next
    return (_one(samples, image, transfer_syntax_uid) for samples in frames)


def _one(samples: Samples, image: ImagePixel, transfer_syntax_uid: str) -> bytes:
    if transfer_syntax_uid not in _NATIVE:
        return encode_frame(samples, image, transfer_syntax_uid)
    return _packed_bits([samples]) if image.bits_allocated == 1 else samples.tobytes()


def _packed_bits(frames: Iterable[Samples]) -> bytes:
    return np.packbits(np.concatenate([frame.reshape(-1) for frame in frames]), bitorder="little").tobytes()


def _swap_words(dataset: Dataset) -> None:
    """Bring values made of words from big to little endian; the writer converts all others."""
    for element in dataset.iterall():
        if element.VR in WORD_BYTES and isinstance(element.value, bytes):
            element.value = swapped_words(element.value, WORD_BYTES[element.VR])
