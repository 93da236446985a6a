"""From the bytes of one stored frame to an array of samples, colour always as RGB.

`DECODERS` names the decoder of each transfer syntax. All of them run inside the cage; each checks what the
frame claims against what the data set says before it decodes.
"""

import resource
import zlib
from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from app.dicom.codestream import Claims, read_jpeg_2000_claims, read_jpeg_claims, read_jpeg_xl_claims
from app.dicom.colour import rgb_from_ybr
from app.dicom.image_pixel import ImagePixel
from app.errors import NotConvertible

Samples = NDArray[Any]

_YBR_AS_STORED = {"YBR_FULL", "YBR_FULL_422"}
_COLOUR = _YBR_AS_STORED | {"RGB", "YBR_RCT", "YBR_ICT", "XYB"}

_CODECS_BYTES = 96 * 2**20  # what the codecs themselves take
_LARGE_SAMPLES = 2**24
_LARGEST_RATIO = 300_000  # samples for each byte; a large frame of one colour comes to 250,000


def decode_frame(data: bytes, image: ImagePixel) -> Samples:
    """Decode one frame to (rows, columns) or (rows, columns, 3) samples, little endian, of the image's type.

    Colour comes as RGB, pixel by pixel. NotConvertible when there is no decoder, or the frame is not what the
    data set says it is.
    """
    decoder = DECODERS.get(image.transfer_syntax_uid)
    if decoder is None:
        raise NotConvertible(f"Frames of transfer syntax {image.transfer_syntax_uid} cannot be decoded here.")
    if image.samples_per_pixel == 3 and image.photometric_interpretation not in _COLOUR:
        raise NotConvertible(
            f"Photometric interpretation {image.photometric_interpretation[:16]!r} is no colour."
        )
    return decoder(data, image)


def sample_type(image: ImagePixel) -> np.dtype[Any]:
    """Return the type of one decoded sample."""
    kind = "f" if image.is_float else "i" if image.is_signed else "u"
    return np.dtype(f"<{kind}{image.sample_bytes}")


def _native(data: bytes, image: ImagePixel) -> Samples:
    count = image.rows * image.columns * image.samples_per_pixel
    need = (image.native_frame_bits + 7) // 8
    if len(data) < need:
        raise NotConvertible(f"The frame has {len(data)} bytes; its attributes ask for {need}.")
    if image.bits_allocated == 1:
        bits = np.unpackbits(np.frombuffer(data, np.uint8), count=count, bitorder="little")
        return bits.reshape(image.rows, image.columns)
    samples = np.frombuffer(data, sample_type(image), need * 8 // image.bits_allocated)
    if len(samples) < count:  # YBR_FULL_422: two of luminance share one pair of chrominance
        pairs = samples.reshape(-1, 4)
        full = np.empty((len(pairs), 2, 3), samples.dtype)
        full[:, :, 0] = pairs[:, :2]
        full[:, :, 1:] = pairs[:, None, 2:]
        return _as_rgb(full.reshape(image.rows, image.columns, 3), image)
    if image.samples_per_pixel == 1:
        return samples.reshape(image.rows, image.columns)
    if image.is_planar:
        planes = samples.reshape(image.samples_per_pixel, image.rows, image.columns)
        return _as_rgb(np.ascontiguousarray(planes.transpose(1, 2, 0)), image)
    return _as_rgb(samples.reshape(image.rows, image.columns, image.samples_per_pixel), image)


def _deflated(data: bytes, image: ImagePixel) -> Samples:
    return _native(zlib.decompressobj(-15).decompress(data, (image.native_frame_bits + 7) // 8), image)


def _run_length(data: bytes, image: ImagePixel) -> Samples:
    """RLE Lossless (PS3.5 Annex G): planes of bytes, the most significant first."""
    planes = image.samples_per_pixel * image.sample_bytes
    if len(data) < 64 or int.from_bytes(data[:4], "little") != planes:
        raise NotConvertible(
            f"The RLE frame does not have the {planes} segments that its attributes ask for."
        )
    ends = [*(int.from_bytes(data[4 * n : 4 * n + 4], "little") for n in range(1, planes + 1)), len(data)]
    size = image.rows * image.columns
    samples = np.empty((size, image.samples_per_pixel, image.sample_bytes), np.uint8)
    for plane in range(planes):
        sample, significance = divmod(plane, image.sample_bytes)
        out = np.zeros(size, np.uint8)
        segment = _run_length_segment(data[ends[plane] : ends[plane + 1]], size)
        out[: len(segment)] = segment
        samples[:, sample, image.sample_bytes - 1 - significance] = out
    shape = (image.rows, image.columns, image.samples_per_pixel)
    return _as_rgb(_squeezed(samples.reshape(-1).view(sample_type(image)).reshape(shape)), image)


def _run_length_segment(segment: bytes, size: int) -> Samples:
    # 128 bytes is the longest run that 2 bytes can ask for.
    if len(segment) * 64 < size:
        raise NotConvertible("The RLE frame ends too early.")
    decoded = imagecodecs.packbits_decode(segment, out=size + 128)
    return np.frombuffer(decoded, np.uint8, min(size, len(decoded)))


def _jpeg(data: bytes, image: ImagePixel) -> Samples:
    """JPEG processes 1, 2 and 4 (baseline and extended), 8 or 12 bits; 6, 8, 10 and 12 (progressive)."""
    claims = _checked(read_jpeg_claims(data), image)
    if claims.samples == 1:
        return _as_stored(imagecodecs.jpeg8_decode(data), image)
    # What the stream says of itself decides: writers that embed a photograph forget the data set more easily.
    by_data_set = "RGB" if image.photometric_interpretation == "RGB" else "YCBCR"
    colour_space = claims.colour_space or by_data_set
    return _as_stored(imagecodecs.jpeg8_decode(data, colorspace=colour_space, outcolorspace="RGB"), image)


def _jpeg_lossless(data: bytes, image: ImagePixel) -> Samples:
    claims = _checked(read_jpeg_claims(data), image)
    if claims.samples == 1:
        return _as_stored(imagecodecs.jpeg8_decode(data), image)
    decoded = imagecodecs.jpeg8_decode(
        data, colorspace="RGB", outcolorspace="RGB"
    )  # as it is: nothing is lost
    return _as_rgb(_as_stored(decoded, image), image)


def _jpeg_ls(data: bytes, image: ImagePixel) -> Samples:
    _checked(read_jpeg_claims(data), image)
    return _as_rgb(_as_stored(imagecodecs.jpegls_decode(data), image), image)


def _jpeg_2000(data: bytes, image: ImagePixel) -> Samples:
    """JPEG 2000 and HTJ2K; the decoder undoes YBR_RCT and YBR_ICT itself.

    OpenJPEG reads both; OpenJPH lets the brightest samples of lossy HTJ2K frames wrap to 0. Of Part 2
    (Annex J of T.801) it reads what Part 1 has as well: frames that are compressed one by one.
    """
    _require_worth(_checked(read_jpeg_2000_claims(data), image), data, image)
    return _as_rgb(_as_stored(imagecodecs.jpeg2k_decode(data, numthreads=1), image), image)


def _jpeg_xl(data: bytes, image: ImagePixel) -> Samples:
    claims = read_jpeg_xl_claims(data)
    claims = Claims(claims.rows, claims.columns, image.samples_per_pixel, image.bits_stored)
    _require_worth(_checked(claims, image), data, image)
    return _as_stored(imagecodecs.jpegxl_decode(data, keeporientation=True, numthreads=1), image)


def _checked(claims: Claims, image: ImagePixel) -> Claims:
    if (claims.rows, claims.columns, claims.samples) != (image.rows, image.columns, image.samples_per_pixel):
        raise NotConvertible(
            f"The frame claims {claims.columns} x {claims.rows} pixels of {claims.samples} samples; "
            f"the data set says {image.columns} x {image.rows} of {image.samples_per_pixel}."
        )
    if claims.bits > image.bits_allocated:
        raise NotConvertible(
            f"The frame claims {claims.bits} bits a sample; {image.bits_allocated} are allocated."
        )
    return claims


def _require_worth(claims: Claims, data: bytes, image: ImagePixel) -> None:
    """Refuse a frame for whose size the decoder would take more than there is, or that has next to nothing.

    These decoders work on 32 bits for each sample, and take them before they look at what follows the header.
    """
    samples = claims.rows * claims.columns * claims.samples
    need, limit = samples * (4 + image.sample_bytes), resource.getrlimit(resource.RLIMIT_DATA)[0]
    if limit != resource.RLIM_INFINITY and need > limit - _CODECS_BYTES:
        raise NotConvertible(
            f"To decode the frame would take {need >> 20} MiB of memory; "
            f"{max(limit - _CODECS_BYTES, 0) >> 20} MiB are allowed."
        )
    if samples > _LARGE_SAMPLES and samples > len(data) * _LARGEST_RATIO:
        raise NotConvertible(
            f"The frame has {len(data)} bytes for {samples} samples: it cannot hold an image."
        )


def _as_stored(decoded: Samples, image: ImagePixel) -> Samples:
    """Give decoded integers the type that the data set promises."""
    decoded = _squeezed(decoded)
    shape = (image.rows, image.columns) + ((3,) if image.samples_per_pixel == 3 else ())
    if decoded.shape != shape:
        raise NotConvertible(f"The decoder made an array of {decoded.shape}, not of {shape}.")
    wanted = sample_type(image)
    if image.is_signed and decoded.dtype.kind == "u":
        # The codec knows bits, not signs: the highest stored bit is the sign (PS3.5 8.1.1).
        shift = 8 * wanted.itemsize - image.bits_stored
        return (decoded.astype(f"<u{wanted.itemsize}") << shift).view(wanted) >> shift
    return decoded.astype(wanted, copy=False)


def _squeezed(array: Samples) -> Samples:
    return array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array


def _as_rgb(samples: Samples, image: ImagePixel) -> Samples:
    if samples.ndim == 3 and image.photometric_interpretation in _YBR_AS_STORED:
        return rgb_from_ybr(samples, image.bits_stored)
    return samples


_JPEG_2000_SYNTAXES = ("4.90", "4.91", "4.92", "4.93", "4.201", "4.202", "4.203")

DECODERS: dict[str, Callable[[bytes, ImagePixel], Samples]] = {
    f"1.2.840.10008.1.2{suffix}": decoder
    for suffixes, decoder in (
        (("", ".1", ".2", ".1.99", ".1.98"), _native),
        ((".5",), _run_length),
        ((".8.1",), _deflated),
        ((".4.50", ".4.51", ".4.53", ".4.55"), _jpeg),
        ((".4.57", ".4.70"), _jpeg_lossless),
        ((".4.80", ".4.81"), _jpeg_ls),
        (tuple(f".{syntax}" for syntax in _JPEG_2000_SYNTAXES), _jpeg_2000),
        ((".4.110", ".4.111", ".4.112"), _jpeg_xl),
    )
    for suffix in suffixes
}
