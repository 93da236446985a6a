"""A frame as a picture for people: 8 bits, window or palette applied, scaled (PS3.18 8.3.5.1, 8.7.4).

All of this runs inside the cage.
"""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms
from pydicom.dataset import Dataset

from app.dicom.codestream import read_jpeg_claims
from app.dicom.decoding import Samples
from app.dicom.dicom_file import DicomFile
from app.dicom.grayscale import Window, gray, palette_colours
from app.dicom.image_pixel import ImagePixel, read_image_pixel
from app.dicom.pixels import decoded_frame
from app.errors import InvalidQuery, NotConvertible

JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
_QUALITY = 90
_THUMBNAIL_QUALITY = 80
_FULL_COLOUR_FROM = 85  # from this quality on chrominance is not halved: colour is what dermoscopy is about


@dataclass(frozen=True, slots=True)
class Viewport:
    """The size to fit the picture in and the part of the image to show (PS3.18 8.3.5.1.3).

    A negative source width or height shows that part mirrored; None is the rest of the image.
    """

    width: int
    height: int
    source_x: int = 0
    source_y: int = 0
    source_width: int | None = None
    source_height: int | None = None

    @property
    def shows_all(self) -> bool:
        """Whether the whole image is shown as it is."""
        return (self.source_x, self.source_y, self.source_width, self.source_height) == (0, 0, None, None)


@dataclass(frozen=True, slots=True)
class RenderedParameters:
    """What a client may ask of a rendered frame; the default changes nothing."""

    quality: int | None = None  # 1 to 100
    viewport: Viewport | None = None
    window: Window | None = None
    icc_profile: bool = True

    @property
    def change_nothing(self) -> bool:
        """Whether the picture may be the stored one."""
        return self == RenderedParameters()


def render(file: DicomFile, number: int, parameters: RenderedParameters) -> bytes:
    """Return frame `number` (from 1) as a JPEG; NotConvertible if there is nothing to see."""
    header = file.read_header()
    picture = _picture(file, header, number, parameters.window)
    profile = _icc_profile(header, picture) if parameters.icc_profile else None
    if parameters.viewport:
        picture = _scaled(picture, parameters.viewport)
    quality = parameters.quality or _QUALITY
    return _jpeg(picture, quality, 0 if quality >= _FULL_COLOUR_FROM else 2, profile)


def thumbnail(file: DicomFile, number: int, width: int, height: int) -> bytes:
    """Return frame `number` (from 1) as a small JPEG within width x height, its colours sRGB.

    A photograph is decoded at a fraction of its size, and never enlarged.
    """
    header = file.read_header()
    picture = _draft(file, header, number)
    if picture is None:
        picture = _picture(file, header, number, None)
    profile = _icc_profile(header, picture)
    picture.thumbnail((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)
    return _jpeg(_as_srgb(picture, profile), _THUMBNAIL_QUALITY, 2, None)


def _picture(file: DicomFile, header: Dataset, number: int, window: Window | None) -> Image.Image:
    image = read_image_pixel(header, file.transfer_syntax_uid)
    samples = decoded_frame(file, image, number)
    if samples.ndim == 3:
        return Image.fromarray(_as_bytes(samples, image))
    if image.photometric_interpretation == "PALETTE COLOR":
        return Image.fromarray(palette_colours(samples, header, image))
    if image.photometric_interpretation not in {"MONOCHROME1", "MONOCHROME2"}:
        raise NotConvertible(
            f"Photometric interpretation {image.photometric_interpretation[:16]!r} cannot be shown."
        )
    return Image.fromarray(gray(samples, header, image, number, window))


def _as_bytes(samples: Samples, image: ImagePixel) -> Samples:
    if samples.dtype == np.uint8 and image.bits_stored == 8:
        return samples
    if image.bits_stored < 8:
        return (samples.astype(np.uint16) * 255 // ((1 << image.bits_stored) - 1)).astype(np.uint8)
    return (samples >> (image.bits_stored - 8)).astype(np.uint8)


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


def _scaled(picture: Image.Image, viewport: Viewport) -> Image.Image:
    width = picture.width - viewport.source_x if viewport.source_width is None else viewport.source_width
    height = picture.height - viewport.source_y if viewport.source_height is None else viewport.source_height
    box = (
        viewport.source_x,
        viewport.source_y,
        min(viewport.source_x + abs(width), picture.width),
        min(viewport.source_y + abs(height), picture.height),
    )
    if not (0 <= box[0] < box[2] and 0 <= box[1] < box[3]):
        raise InvalidQuery("The part of the image that the viewport asks for lies outside the image.")
    if width < 0:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        box = (picture.width - box[2], box[1], picture.width - box[0], box[3])
    if height < 0:
        picture = picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        box = (box[0], picture.height - box[3], box[2], picture.height - box[1])
    columns, rows = box[2] - box[0], box[3] - box[1]
    scale = min(viewport.width / columns, viewport.height / rows)
    size = (max(round(columns * scale), 1), max(round(rows * scale), 1))
    return picture.resize(size, Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)


def _icc_profile(header: Dataset, picture: Image.Image) -> bytes | None:
    """Find the profile of the colours: the data set's own goes before one inside the picture (C.11.15)."""
    paths = header.get("OpticalPathSequence") or []
    for source in (header, *paths[:1]):
        if profile := source.get("ICCProfile"):
            return bytes(profile)
    embedded = picture.info.get("icc_profile")
    return bytes(embedded) if embedded else None


def _as_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    if not profile or picture.mode != "RGB":
        return picture
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"))
    except (ImageCms.PyCMSError, OSError):
        return picture  # a profile nobody can read changes no colour
    return converted or picture


def _jpeg(picture: Image.Image, quality: int, subsampling: int, profile: bytes | None) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality, subsampling=subsampling, icc_profile=profile)
    return out.getvalue()
