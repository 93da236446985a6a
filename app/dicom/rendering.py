"""Frames as pictures for people: 8 bits, window or palette applied, scaled (PS3.18 8.3.5.1, 8.7.4).

All of this runs inside the cage.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset

from app.dicom.annotation import annotated, icon
from app.dicom.codestream import read_jpeg_claims
from app.dicom.decoding import Samples
from app.dicom.dicom_file import DicomFile
from app.dicom.frame_times import frame_durations_ms
from app.dicom.grayscale import Display, gray
from app.dicom.icc import as_srgb, source_profile, with_profile
from app.dicom.image_formats import animated, encoded
from app.dicom.image_pixel import ImagePixel, read_image_pixel
from app.dicom.overlays import Overlay, embedded_overlays, overlays
from app.dicom.palette import has_supplemental_palette, palette_colours, supplemental_colours
from app.dicom.pixels import decoded_frame
from app.dicom.rendering_options import (
    CARRY_A_PROFILE,
    GIF,
    JPEG,
    MOST_ANIMATED_FRAMES,
    MOST_ANIMATED_PIXELS,
    Rendering,
    Viewport,
    Window,
)
from app.dicom.scaling import fitted
from app.errors import NotConvertible

JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
_THUMBNAIL_QUALITY = 80
_MOST_DECODED_PIXELS = 2**27  # of all frames of an animation, before they are scaled


@dataclass(frozen=True, slots=True)
class Decoded:
    """A frame as the display sees it, and what it was made from."""

    shown: Display  # (rows, columns) or (rows, columns, 3)
    samples: Samples
    image: ImagePixel


def render(file: DicomFile, numbers: Sequence[int], rendering: Rendering) -> bytes:
    """Return a frame (numbers from 1) as a picture, or several as an animated GIF.

    NotConvertible if there is nothing to see, NotFound for a frame that is not there.
    """
    header = file.read_header()
    if rendering.media_type == GIF and len(numbers) > 1:
        return _animation(file, header, numbers, rendering)
    (number,) = numbers
    picture, profile = _finished(file, header, number, rendering)
    return encoded(picture, rendering.media_type, rendering.quality, profile)


def thumbnail(file: DicomFile, number: int, width: int, height: int, media_type: str = JPEG) -> bytes:
    """Return frame `number` (from 1) as a small picture within width x height, its colours sRGB.

    A photograph is decoded at a fraction of its size, and never enlarged. What says that a person can be told
    from its pixels is not shown (PS3.18 10.4.1.1.4); neither are overlays, which may hold text.
    """
    header = file.read_header()
    if header.get("BurnedInAnnotation") == "YES":
        return placeholder("Hidden", width, height, media_type)
    picture = _draft(file, header, number)
    if picture is None:
        picture = Image.fromarray(displayed(file, header, number, None).shown)
    profile = source_profile(header, _stored_jpeg(file, number))
    picture.thumbnail((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)
    return encoded(as_srgb(picture, profile), media_type, _THUMBNAIL_QUALITY)


def placeholder(label: str, width: int, height: int, media_type: str = JPEG) -> bytes:
    """Return a picture that stands for what has none."""
    return encoded(icon(label, width, height), media_type, _THUMBNAIL_QUALITY)


def displayed(file: DicomFile, header: Dataset, number: int, window: Window | None) -> Decoded:
    """Decode a frame and take it through the display pipeline of its photometric interpretation."""
    image = read_image_pixel(header, file.transfer_syntax_uid)
    samples = decoded_frame(file, image, number)
    if samples.ndim == 3:
        return Decoded(_as_bytes(samples, image), samples, image)
    if image.photometric_interpretation == "PALETTE COLOR":
        return Decoded(palette_colours(samples, header, image), samples, image)
    if image.photometric_interpretation not in {"MONOCHROME1", "MONOCHROME2"}:
        raise NotConvertible(
            f"Photometric interpretation {image.photometric_interpretation[:16]!r} cannot be shown."
        )
    shown = gray(samples, header, image, number, window)
    if has_supplemental_palette(header):
        shown = supplemental_colours(samples, shown, header, image)
    return Decoded(shown, samples, image)


def covered(shown: Display, planes: Sequence[Overlay]) -> Display:
    """Draw overlays in white."""
    for plane in planes:
        shown = shown if shown.flags.writeable else shown.copy()
        shown[plane.on(*shown.shape[:2])] = 255
    return shown


def finished(
    picture: Image.Image, header: Dataset, profile: bytes | None, rendering: Rendering
) -> tuple[Image.Image, bytes | None]:
    """Scale, convert the colours, burn the annotation in; return the profile to go with the picture."""
    if rendering.viewport:
        picture = fitted(picture, rendering.viewport)
    can_carry = rendering.media_type in CARRY_A_PROFILE
    picture, profile = with_profile(picture, profile, rendering.icc_profile, can_carry=can_carry)
    if rendering.annotations:
        picture = annotated(picture, header, rendering.annotations)
    return picture, profile


def _finished(
    file: DicomFile, header: Dataset, number: int, rendering: Rendering
) -> tuple[Image.Image, bytes | None]:
    planes = overlays(header, number)
    is_whole = rendering.viewport is not None and rendering.viewport.shows_all
    picture: Image.Image | None = _draft(file, header, number) if is_whole and not planes else None
    if picture is None:
        decoded = displayed(file, header, number, rendering.window)
        planes += embedded_overlays(header, decoded.image, decoded.samples)
        picture = Image.fromarray(covered(decoded.shown, planes))
    profile = None
    if rendering.icc_profile != "no" and picture.mode == "RGB":
        profile = source_profile(header, _stored_jpeg(file, number))
    return finished(picture, header, profile, rendering)


def _animation(file: DicomFile, header: Dataset, numbers: Sequence[int], rendering: Rendering) -> bytes:
    image = read_image_pixel(header, file.transfer_syntax_uid)
    pixels = image.rows * image.columns
    viewport = rendering.viewport or Viewport(image.columns, image.rows)
    if (
        len(numbers) > MOST_ANIMATED_FRAMES
        or len(numbers) * pixels > _MOST_DECODED_PIXELS
        or len(numbers) * min(pixels, viewport.width * viewport.height) > MOST_ANIMATED_PIXELS
    ):
        raise NotConvertible(
            f"{len(numbers)} frames are too much for one {GIF}: {MOST_ANIMATED_FRAMES} frames and "
            f"{MOST_ANIMATED_PIXELS} pixels in all are the most. Ask for some of them, or for a viewport."
        )
    pictures = [
        _finished(file, header, number, rendering)[0].convert("P", palette=Image.Palette.ADAPTIVE)
        for number in numbers
    ]
    return animated(pictures, frame_durations_ms(header, numbers))


def _as_bytes(samples: Samples, image: ImagePixel) -> Display:
    if samples.dtype == np.uint8 and image.bits_stored == 8:
        return samples
    if image.bits_stored < 8:
        return (samples.astype(np.uint16) * 255 // ((1 << image.bits_stored) - 1)).astype(np.uint8)
    return (samples >> (image.bits_stored - 8)).astype(np.uint8)


def _stored_jpeg(file: DicomFile, number: int) -> bytes | None:
    return file.read_frame(number) if file.transfer_syntax_uid == JPEG_BASELINE else None


def _draft(file: DicomFile, header: Dataset, number: int) -> Image.Image | None:
    """Open a JPEG photograph without decoding it, so that it can be decoded small; None for anything else."""
    if file.transfer_syntax_uid != JPEG_BASELINE or header.get("SamplesPerPixel") != 3:
        return None
    image = read_image_pixel(header, file.transfer_syntax_uid)
    stored = file.read_frame(number)
    if stored is None or image.photometric_interpretation not in {"YBR_FULL", "YBR_FULL_422"}:
        return None
    claims = read_jpeg_claims(stored)
    if (claims.rows, claims.columns, claims.samples) != (image.rows, image.columns, 3):
        return None  # the ordinary way says what is wrong
    return Image.open(io.BytesIO(stored), formats=("JPEG",))
