"""From an array of decoded samples to the bytes of one encapsulated frame, colour given as RGB.

`ENCODERS` names the encoder of each transfer syntax that can be made. All but JPEG Baseline keep every sample
as it is. All of them run inside the cage.
"""

import struct
from collections.abc import Callable

import imagecodecs
import numpy as np

from app.dicom.decoding import Samples
from app.dicom.image_pixel import ImagePixel
from app.dicom.media_types import JPEG_BASELINE, unsuited_pixels
from app.errors import NotConvertible

BASELINE_QUALITY = 90

_SPIFF = b"\xff\xe8"  # the APP8 marker (T.87 H.5)


def encode_frame(samples: Samples, image: ImagePixel, transfer_syntax_uid: str) -> bytes:
    """Encode what decode_frame() returned; NotConvertible when the transfer syntax cannot hold it."""
    require_encodable(image, transfer_syntax_uid)
    # A copy: numpy calls one row or column contiguous whatever its strides, and the encoders do not.
    return ENCODERS[transfer_syntax_uid](samples.copy(), image)


def require_encodable(image: ImagePixel, transfer_syntax_uid: str) -> None:
    """Raise NotConvertible unless the pixels suit the encoder (PS3.5 8.2.1 to 8.2.16)."""
    if transfer_syntax_uid not in ENCODERS:
        raise NotConvertible(f"Frames of transfer syntax {transfer_syntax_uid} cannot be made here.")
    reason = unsuited_pixels(
        transfer_syntax_uid,
        image.bits_allocated,
        image.photometric_interpretation,
        is_signed=image.is_signed,
    )
    if image.is_float:
        reason = "the samples are floating point numbers"
    elif not reason and transfer_syntax_uid == JPEG_BASELINE and image.bits_stored != 8:
        reason = f"it holds samples of 8 bits, these have {image.bits_stored}"
    if reason:
        raise NotConvertible(f"Frames of transfer syntax {transfer_syntax_uid} cannot be made: {reason}.")


def encoded_photometric_interpretation(image: ImagePixel, transfer_syntax_uid: str) -> str:
    """Return what describes the encoded pixels (PS3.3 C.7.6.3.1.2)."""
    if image.samples_per_pixel != 3:
        return image.photometric_interpretation
    if transfer_syntax_uid == JPEG_BASELINE:
        return "YBR_FULL_422"
    return "YBR_RCT" if ENCODERS.get(transfer_syntax_uid) in {_jpeg_2000, _high_throughput} else "RGB"


def _run_length(samples: Samples, image: ImagePixel) -> bytes:
    """RLE Lossless (PS3.5 Annex G): planes of bytes, the most significant first, each row by itself."""
    size = image.sample_bytes
    octets = samples.reshape(image.rows, image.columns, image.samples_per_pixel).view(np.uint8)
    segments = []
    for sample in range(image.samples_per_pixel):
        for significance in range(size):
            plane = octets[:, :, (sample + 1) * size - 1 - significance]
            segment = imagecodecs.packbits_encode(plane.copy())  # row by row (G.3.1)
            segments.append(segment + b"\0" * (len(segment) % 2))
    offsets = [64]
    for segment in segments[:-1]:
        offsets.append(offsets[-1] + len(segment))
    header = struct.pack(f"<{1 + len(offsets)}I", len(segments), *offsets)
    return header.ljust(64, b"\0") + b"".join(segments)


def _jpeg_baseline(samples: Samples, image: ImagePixel) -> bytes:
    if image.samples_per_pixel == 1:
        return bytes(imagecodecs.jpeg8_encode(samples, level=BASELINE_QUALITY))
    return bytes(
        imagecodecs.jpeg8_encode(
            samples, level=BASELINE_QUALITY, colorspace="RGB", outcolorspace="YCBCR", subsampling="422"
        )
    )


def _jpeg_lossless(samples: Samples, image: ImagePixel) -> bytes:
    """JPEG process 14, selection value 1: no colour transform, so that nothing is lost."""
    # A reader that does not extend the sign reads the right numbers if all bits are there. The encoder takes
    # 9 bits and more from words.
    bits = image.bits_allocated if image.is_signed else _bits_needed(samples, image)
    bits = max(bits, image.bits_allocated - 7)
    colour_space = "RGB" if image.samples_per_pixel == 3 else None
    return bytes(
        imagecodecs.jpeg8_encode(
            _unsigned(samples),
            lossless=True,
            predictor=1,
            bitspersample=bits,
            colorspace=colour_space,
            outcolorspace=colour_space,
        )
    )


def _jpeg_ls(samples: Samples, _image: ImagePixel) -> bytes:
    try:
        stream = bytes(imagecodecs.jpegls_encode(_unsigned(samples)))
    except (
        imagecodecs.JpeglsError
    ):  # noise takes more room than its samples, which the encoder did not expect
        stream = bytes(imagecodecs.jpegls_encode(_unsigned(samples), out=4 * samples.nbytes + 1024))
    # The encoder writes a SPIFF header, for files that stand alone; what it says stands in the data set.
    position = 2
    while stream[position : position + 2] == _SPIFF:
        position += 2 + int.from_bytes(stream[position + 2 : position + 4], "big")
    return stream[:2] + stream[position:]


def _jpeg_2000(samples: Samples, image: ImagePixel) -> bytes:
    return bytes(
        imagecodecs.jpeg2k_encode(
            samples,
            level=0,
            codecformat="j2k",
            reversible=True,
            bitspersample=_bits_needed(samples, image),
            numthreads=1,
        )
    )


def _high_throughput(samples: Samples, _image: ImagePixel) -> bytes:
    """HTJ2K in the order RPCL with tile-part lengths: what the stricter of its syntaxes asks for as well."""
    return bytes(imagecodecs.htj2k_encode(samples, reversible=True, tlm=True))


def _jpeg_xl(samples: Samples, _image: ImagePixel) -> bytes:
    return bytes(imagecodecs.jpegxl_encode(samples, lossless=True, effort=3, numthreads=1))


def _unsigned(samples: Samples) -> Samples:
    return samples.view(f"<u{samples.dtype.itemsize}")


def _bits_needed(samples: Samples, image: ImagePixel) -> int:
    """Bits Stored, or Bits Allocated where something else stands in the other bits (old overlays, say)."""
    bits = image.bits_stored
    lowest, highest = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if image.is_signed else (0, (1 << bits) - 1)
    fits = bits > 1 and samples.min() >= lowest and samples.max() <= highest
    return bits if fits else image.bits_allocated


ENCODERS: dict[str, Callable[[Samples, ImagePixel], bytes]] = {
    f"1.2.840.10008.1.2.{suffix}": encoder
    for suffixes, encoder in (
        (("5",), _run_length),
        (("4.50",), _jpeg_baseline),
        (("4.57", "4.70"), _jpeg_lossless),
        (("4.80", "4.81"), _jpeg_ls),
        (("4.90", "4.91"), _jpeg_2000),
        (("4.201", "4.202", "4.203"), _high_throughput),
        (("4.110", "4.112"), _jpeg_xl),
    )
    for suffix in suffixes
}
