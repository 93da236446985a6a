"""Which colours a picture's numbers mean, and the same colours in another space (PS3.18 8.3.5.1.5)."""

import io

from PIL import Image, ImageCms, UnidentifiedImageError
from pydicom.dataset import Dataset

from app.dicom.icc_spaces import space_profile
from app.dicom.rendering_options import IccProfile

Profile = ImageCms.ImageCmsProfile

_JPEG_START = b"\xff\xd8"
_MOST_PROFILE_BYTES = 2**23


def source_profile(header: Dataset, stored_frame: bytes | None) -> bytes | None:
    """Find the RGB profile of an image: that of the data set goes before one inside the JPEG (C.11.15).

    One that no colour management could read counts as none.
    """
    paths = header.get("OpticalPathSequence") or []
    for source in (header, *paths[:1]):
        profile = source.get("ICCProfile")
        if profile and _opened(bytes(profile)):
            return bytes(profile)
    if stored_frame is None or not stored_frame.startswith(_JPEG_START):
        return None
    try:
        with Image.open(io.BytesIO(stored_frame), formats=("JPEG",)) as jpeg:  # reads its markers alone
            embedded = jpeg.info.get("icc_profile")
    except (UnidentifiedImageError, OSError):
        return None
    return bytes(embedded) if embedded and _opened(embedded) else None


def with_profile(
    picture: Image.Image, source: bytes | None, wanted: IccProfile | None, *, can_carry: bool = True
) -> tuple[Image.Image, bytes | None]:
    """Return the picture in the colours asked for, and the profile to go with it.

    Without a profile a source is taken for sRGB (PS3.3 C.11.15.1.2.2 says what cameras do).
    """
    if wanted is None and can_carry:
        return picture, source if picture.mode == "RGB" else None
    if wanted is None:
        return as_srgb(picture, source), None
    if wanted == "no":
        return picture, None
    picture = picture.convert("RGB")
    if wanted == "yes":
        return picture, source or space_profile("srgb")
    target = space_profile(wanted)
    return _converted(picture, source or space_profile("srgb"), target), target


def as_srgb(picture: Image.Image, source: bytes | None) -> Image.Image:
    """Return the picture in sRGB; one without a profile is returned as it is."""
    if source is None or picture.mode != "RGB":
        return picture
    return _converted(picture, source, space_profile("srgb"))


def _converted(picture: Image.Image, source: bytes, target: bytes) -> Image.Image:
    if source == target:
        return picture
    try:
        converted = ImageCms.profileToProfile(
            picture, Profile(io.BytesIO(source)), Profile(io.BytesIO(target)), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError):
        return picture  # a profile that cannot be used changes no colour
    return converted or picture


def _opened(profile: bytes) -> Profile | None:
    """Open a profile of RGB; None for what is none."""
    if len(profile) > _MOST_PROFILE_BYTES:
        return None
    try:
        opened = Profile(io.BytesIO(profile))
    except (ImageCms.PyCMSError, OSError):
        return None
    return opened if opened.profile.xcolor_space.strip() == "RGB" else None
