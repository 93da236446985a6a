"""Pictures as files: JPEG, PNG, GIF, JPEG 2000 and WebP (PS3.18 8.7.4), with their colour profile."""

import io
import struct
from collections.abc import Sequence

from PIL import Image

from app.dicom.rendering_options import GIF, JPEG, JPEG_2000, PNG, WEBP

_QUALITY = 90
_FULL_COLOUR_FROM = 85  # from this quality on chrominance is not halved: colour is what dermoscopy is about
_COLOUR_BOX, _HEADER_BOX = b"colr", b"jp2h"


def encoded(
    picture: Image.Image, media_type: str, quality: int | None = None, profile: bytes | None = None
) -> bytes:
    """Return one picture as a file of a media type; `quality` is from 1 to 100."""
    out = io.BytesIO()
    match media_type:
        case "image/jpeg":
            level = quality or _QUALITY
            halved = 0 if level >= _FULL_COLOUR_FROM else 2
            picture.save(out, "JPEG", quality=level, subsampling=halved, icc_profile=profile)
        case "image/png":
            picture.save(out, "PNG", compress_level=4, icc_profile=profile)
        case "image/gif":
            picture.save(out, "GIF")
        case "image/webp":
            picture.save(out, "WEBP", quality=quality or _QUALITY, method=3, icc_profile=profile)
        case "image/jp2":
            return _jpeg_2000(picture, quality, profile)
        case _:
            raise ValueError(media_type)
    return out.getvalue()


def animated(pictures: Sequence[Image.Image], durations_ms: Sequence[int]) -> bytes:
    """Return pictures as one GIF that starts again when it ends."""
    out = io.BytesIO()
    pictures[0].save(
        out,
        "GIF",
        save_all=True,
        append_images=pictures[1:],
        duration=list(durations_ms),
        loop=0,
        optimize=False,
    )
    return out.getvalue()


def _jpeg_2000(picture: Image.Image, quality: int | None, profile: bytes | None) -> bytes:
    """Without loss where no quality is asked for; quality 100 is 65 dB, 1 some 20."""
    out = io.BytesIO()
    if quality is None:
        picture.save(out, "JPEG2000")
    else:
        layers = [20 + quality * 0.45]
        picture.save(out, "JPEG2000", irreversible=True, quality_mode="dB", quality_layers=layers)
    return _with_colour_box(out.getvalue(), profile) if profile else out.getvalue()


def _with_colour_box(jp2: bytes, profile: bytes) -> bytes:
    """Replace the enumerated colour space of a JP2 file by a profile (ISO/IEC 15444-1 I.5.3.3, method 2)."""
    start, length, header = next(box for box in _boxes(jp2, 0, len(jp2)) if box[2] == _HEADER_BOX)
    inner = b""
    for place, size, kind in _boxes(jp2, start + 8, start + length):
        inner += (
            struct.pack(">I4s3B", 11 + len(profile), _COLOUR_BOX, 2, 0, 0) + profile
            if kind == _COLOUR_BOX
            else jp2[place : place + size]
        )
    return jp2[:start] + struct.pack(">I4s", 8 + len(inner), header) + inner + jp2[start + length :]


def _boxes(data: bytes, position: int, end: int) -> list[tuple[int, int, bytes]]:
    boxes = []
    while position + 8 <= end:
        length, kind = struct.unpack_from(">I4s", data, position)
        if length < 8:  # to the end of the file, or a long box: neither stands within what we look at
            break
        boxes.append((position, length, kind))
        position += length
    return boxes


SUFFIXES = {JPEG: "jpg", PNG: "png", GIF: "gif", JPEG_2000: "jp2", WEBP: "webp"}
