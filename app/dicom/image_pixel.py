"""What the Image Pixel Module says of the pixels (PS3.3 C.7.6.3), checked before anything is allocated."""

from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset

from app.errors import NotConvertible

# What one conversion may decode: 256 MiB hold 89 million colour pixels of 8 bits.
PIXEL_BUDGET_BYTES = 256 * 2**20

_BITS_ALLOCATED = {1, 8, 16, 32, 64}
_CHROMA_HALVED = {"YBR_FULL_422", "YBR_PARTIAL_422"}


@dataclass(frozen=True, slots=True)
class ImagePixel:
    """The shape of the frames of one image, and how their samples are to be read."""

    transfer_syntax_uid: str
    rows: int
    columns: int
    samples_per_pixel: int
    photometric_interpretation: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    is_signed: bool
    is_planar: bool
    is_float: bool
    number_of_frames: int

    @property
    def sample_bytes(self) -> int:
        """Bytes of one decoded sample; a 1-bit sample decodes to one byte."""
        return max(self.bits_allocated // 8, 1)

    @property
    def decoded_frame_bytes(self) -> int:
        """Bytes of one decoded frame with every sample of every pixel in place."""
        return self.rows * self.columns * self.samples_per_pixel * self.sample_bytes

    @property
    def native_frame_bits(self) -> int:
        """Bits of one frame in a native transfer syntax (PS3.5 8.1; PS3.3 C.7.6.3.1.2 for 4:2:2)."""
        samples = self.rows * self.columns * self.samples_per_pixel
        if self.photometric_interpretation in _CHROMA_HALVED and self.samples_per_pixel == 3:
            samples = self.rows * self.columns * 2
        return samples * self.bits_allocated


def read_image_pixel(header: Dataset, transfer_syntax_uid: str) -> ImagePixel:
    """Read the description of the pixels from a data set; NotConvertible if it cannot be true."""
    is_float = "BitsStored" not in header and str(header.get("BitsAllocated")) in {"32", "64"}
    bits_allocated = _number(header, "BitsAllocated")
    bits_stored = _number(header, "BitsStored", bits_allocated)
    image = ImagePixel(
        transfer_syntax_uid=transfer_syntax_uid,
        rows=_number(header, "Rows"),
        columns=_number(header, "Columns"),
        samples_per_pixel=_number(header, "SamplesPerPixel", 1),
        photometric_interpretation=str(header.get("PhotometricInterpretation") or "").strip(),
        bits_allocated=bits_allocated,
        bits_stored=bits_stored,
        high_bit=_number(header, "HighBit", bits_stored - 1),
        is_signed=_number(header, "PixelRepresentation", 0) == 1,
        is_planar=_number(header, "PlanarConfiguration", 0) == 1,
        is_float=is_float,
        number_of_frames=_number(header, "NumberOfFrames", 1) or 1,
    )
    _check(image)
    return image


def _number(header: Dataset, keyword: str, default: int | None = None) -> int:
    value: Any = header.get(keyword)
    if value is None or value == "":
        if default is None:
            raise NotConvertible(f"The instance holds no image that could be shown: it has no {keyword}.")
        return default
    try:
        return int(value)
    except (TypeError, ValueError):
        raise NotConvertible(f"{keyword} is {str(value)[:40]!r}, which is no number.") from None


def _check(image: ImagePixel) -> None:
    if not (0 < image.rows <= 0xFFFF and 0 < image.columns <= 0xFFFF):
        raise NotConvertible(f"An image of {image.columns} columns and {image.rows} rows cannot be shown.")
    if image.samples_per_pixel not in {1, 3}:
        raise NotConvertible(f"{image.samples_per_pixel} samples per pixel cannot be shown; 1 or 3 can.")
    if image.bits_allocated not in _BITS_ALLOCATED:
        raise NotConvertible(f"{image.bits_allocated} bits allocated cannot be read.")
    if not 0 < image.bits_stored <= image.high_bit + 1 <= image.bits_allocated:
        raise NotConvertible(
            f"{image.bits_stored} bits stored with high bit {image.high_bit} do not fit in "
            f"{image.bits_allocated} bits allocated."
        )
    if image.number_of_frames < 1:
        raise NotConvertible(f"{image.number_of_frames} frames cannot be shown.")
    if image.decoded_frame_bytes > PIXEL_BUDGET_BYTES:
        raise NotConvertible(
            f"One frame would decode to {image.decoded_frame_bytes >> 20} MiB; "
            f"{PIXEL_BUDGET_BYTES >> 20} MiB are allowed."
        )
