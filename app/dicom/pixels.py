"""One frame of a stored file as samples, wherever its bytes are."""

from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame

from app.dicom.decoding import Samples, decode_frame
from app.dicom.dicom_file import DicomFile, pixel_keyword
from app.dicom.frames import count_frames
from app.dicom.image_pixel import ImagePixel
from app.dicom.uids import (
    DEFLATED,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from app.errors import NotConvertible, NotFound

# How many bytes a big endian writer turned round at once, by Value Representation (PS3.5 7.3).
WORD_BYTES = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}

_NATIVE = {IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN} | DEFLATED


def is_native(transfer_syntax_uid: str) -> bool:
    """Whether pixels are stored as they are, not encapsulated (PS3.5 A.4)."""
    return transfer_syntax_uid in _NATIVE


def number_of_frames(file: DicomFile, image: ImagePixel) -> int:
    """How many frames there are: as found in the file; as its header says where nobody looked."""
    return count_frames(file.frames) or image.number_of_frames


def decoded_frame(file: DicomFile, image: ImagePixel, number: int, whole: Dataset | None = None) -> Samples:
    """Decode frame `number` (from 1); `whole` saves a reading when frames are no ranges of the file."""
    count = number_of_frames(file, image)
    if not 1 <= number <= count:
        raise NotFound(f"There is no frame {number}; the instance has {count}.")
    stored = file.read_frame(number)
    if stored is None:
        stored = _frame_of(file.read_whole() if whole is None else whole, image, number)
    return decode_frame(stored, image)


def swapped_words(value: bytes, word_bytes: int) -> bytes:
    """Turn round the bytes of every word."""
    words = np.frombuffer(value, f"u{word_bytes}", len(value) // word_bytes)
    return words.byteswap().tobytes() + value[words.nbytes :]


def _frame_of(whole: Dataset, image: ImagePixel, number: int) -> bytes:
    keyword = pixel_keyword(whole)
    value: Any = whole[keyword].value if keyword else None
    if not keyword or not value:
        raise NotConvertible("The instance has no pixels.")
    if not is_native(image.transfer_syntax_uid):
        return get_frame(value, number - 1, number_of_frames=image.number_of_frames)
    if image.transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN:
        value = swapped_words(value, WORD_BYTES.get(whole[keyword].VR, 1))
    first_bit = (number - 1) * image.native_frame_bits
    last_bit = first_bit + image.native_frame_bits
    first, extra = divmod(first_bit, 8)
    frame = bytes(value[first : (last_bit + 7) // 8])
    if not extra:
        return frame
    # Frames of single bits follow one another without a gap (PS3.5 8.1.1).
    bits = np.unpackbits(np.frombuffer(frame, np.uint8), bitorder="little")
    return np.packbits(bits[extra : extra + image.native_frame_bits], bitorder="little").tobytes()
