"""Pictures as files of every media type, with the colours that were asked for (PS3.18 8.3.5.1.5, 8.7.4)."""

from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from app.dicom.icc import source_profile, with_profile
from app.dicom.icc_spaces import space_profile
from app.dicom.rendering import render
from app.dicom.rendering_options import (
    CARRY_A_PROFILE,
    GIF,
    JPEG,
    JPEG_2000,
    PICTURE_TYPES,
    PNG,
    WEBP,
    Rendering,
    Viewport,
)
from app.dicom.scaling import fitted
from app.errors import NotConvertible
from tests.dicom.pixel_tasks import near, stored, write_gray, write_jpeg
from tests.factories import make_instance, make_jpeg, make_pixels, write_instance

SPECIMENS = Path(__file__).parents[1] / "data" / "dicom"
FORMATS = {JPEG: "JPEG", PNG: "PNG", GIF: "GIF", JPEG_2000: "JPEG2000", WEBP: "WEBP"}
TOLERANCE = {JPEG: 4, PNG: 0, GIF: 3, JPEG_2000: 0, WEBP: 8}


def opened(content):
    picture = Image.open(BytesIO(content))
    picture.load()
    return picture


def areas(picture):
    """Return the colours in the middle of the areas of make_pixels(48, 64): compression blurs their edges."""
    return np.asarray(picture.convert("RGB"))[[5, 5, 42, 42, 24], [5, 58, 5, 58, 32]]


def shown(path, numbers=(1,), **options):
    return opened(render(stored(path), numbers, Rendering(**options)))


@pytest.mark.parametrize("media_type", PICTURE_TYPES)
def test_every_media_type_holds_the_picture(media_type, tmp_path):
    """PS3.18 8.7.4 (checklist 44): 8 bits a channel, JPEG, PNG, GIF, and JPEG 2000 and WebP besides."""
    path = write_instance(tmp_path / "in.dcm", rows=48, columns=64)
    picture = shown(path, media_type=media_type)
    assert picture.format == FORMATS[media_type]
    near(areas(picture), areas(Image.fromarray(make_pixels(48, 64))), TOLERANCE[media_type])
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    gray = shown(write_gray(tmp_path / "g.dcm", ramp), media_type=media_type)
    near(gray.convert("L"), ramp, TOLERANCE[media_type])


@pytest.mark.parametrize("media_type", [JPEG, WEBP, JPEG_2000])
def test_quality_is_between_the_picture_and_its_length(media_type):
    """PS3.18 8.3.5.1.2 (checklist 46)."""
    path = SPECIMENS / "valid/us_jpeg_10frames.dcm"
    lengths = [
        len(render(stored(path), (1,), Rendering(media_type=media_type, quality=quality)))
        for quality in (5, 50, 100)
    ]
    assert lengths == sorted(set(lengths))


def test_quality_says_nothing_where_nothing_is_lost():
    """PS3.18 8.3.5.1.2 (checklist 46): a media type without quality ignores it."""
    file = stored(SPECIMENS / "valid/us_jpeg_10frames.dcm")
    plain, asked = (render(file, (1,), Rendering(media_type=PNG, quality=quality)) for quality in (None, 1))
    assert plain == asked


def test_an_animation_has_all_frames_at_their_pace(tmp_path):
    """PS3.18 8.7.4 (checklist 44): a multi-frame image may be a GIF."""
    path = SPECIMENS / "valid/us_jpeg_10frames.dcm"
    picture = Image.open(BytesIO(render(stored(path), tuple(range(1, 11)), Rendering(media_type=GIF))))
    assert (picture.n_frames, picture.size) == (10, (240, 216))
    for number in (1, 4, 10):
        picture.seek(number - 1)
        still = np.asarray(shown(path, (number,), media_type=PNG)).astype(int)
        assert np.abs(np.asarray(picture.convert("RGB")) - still).mean() < 3
    timed = write_instance(tmp_path / "in.dcm", frames=3, FrameTime="40", NumberOfFrames=3)
    picture = Image.open(BytesIO(render(stored(timed), (1, 2, 3), Rendering(media_type=GIF))))
    assert picture.info["loop"] == 0
    assert picture.info["duration"] in {40, 120}  # frames that are the same become one


def test_an_animation_is_bounded():
    with pytest.raises(NotConvertible, match="too much"):
        render(stored(SPECIMENS / "derived/derm_vl_photo_12mp.dcm"), (1,) * 12, Rendering(media_type=GIF))


# --- colour --------------------------------------------------------------------------------------------


def as_lcms(pixels, source, target):
    profiles = (ImageCms.ImageCmsProfile(BytesIO(space_profile(name))) for name in (source, target))
    return np.asarray(ImageCms.profileToProfile(Image.fromarray(pixels), *profiles))


@pytest.mark.parametrize("space", ["srgb", "adobergb", "rommrgb"])
@pytest.mark.parametrize("media_type", sorted(CARRY_A_PROFILE - {JPEG_2000}))
def test_colours_are_converted_and_say_so(space, media_type, tmp_path):
    """PS3.18 8.3.5.1.5 (checklist 50): the numbers change, the profile goes with them."""
    path = write_instance(tmp_path / "in.dcm", ICCProfile=space_profile("adobergb"), rows=48, columns=64)
    picture = shown(path, media_type=media_type, icc_profile=space, quality=100)
    assert picture.info["icc_profile"] == space_profile(space)
    expected = as_lcms(make_pixels(48, 64), "adobergb", space)
    near(areas(picture), areas(Image.fromarray(expected)), 2)


def test_yes_is_the_profile_of_the_source_or_srgb(tmp_path):
    """PS3.18 8.3.5.1.5 (checklist 50): (0028,2000) goes before what the JPEG says of itself."""
    romm, adobe = space_profile("rommrgb"), space_profile("adobergb")
    out = BytesIO()
    Image.fromarray(make_pixels()).save(out, "JPEG", icc_profile=adobe, subsampling="4:2:2")
    for attributes, expected in (({}, adobe), ({"ICCProfile": romm}, romm), ({"ICCProfile": b"none"}, adobe)):
        write_jpeg(tmp_path / "in.dcm", make_instance(jpeg=True, **attributes), out.getvalue())
        assert shown(tmp_path / "in.dcm", icc_profile="yes").info["icc_profile"] == expected
    write_jpeg(tmp_path / "in.dcm", make_instance(jpeg=True), make_jpeg())
    assert shown(tmp_path / "in.dcm", icc_profile="yes").info["icc_profile"] == space_profile("srgb")
    assert "icc_profile" not in shown(tmp_path / "in.dcm", icc_profile="no").info
    gray = write_gray(tmp_path / "g.dcm", np.full((16, 16), 77, np.uint8))
    picture = shown(gray, media_type=PNG, icc_profile="srgb")
    assert (picture.mode, picture.getpixel((3, 3))) == ("RGB", (77, 77, 77))


def test_the_profile_of_an_optical_path_counts():
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    path, header = Dataset(), Dataset()
    path.ICCProfile = space_profile("rommrgb")
    header.OpticalPathSequence = Sequence([path])
    assert source_profile(header, None) == space_profile("rommrgb")
    path.ICCProfile = b"\0" * 300
    assert source_profile(header, None) is None


def test_what_cannot_carry_a_profile_is_srgb(tmp_path):
    """PS3.18 8.3.5.1.5 (checklist 50): absent, it is the server's choice."""
    path = write_instance(tmp_path / "in.dcm", ICCProfile=space_profile("adobergb"))
    near(shown(path, media_type=GIF).convert("RGB"), as_lcms(make_pixels(), "adobergb", "srgb"), 3)


def test_a_jpeg_2000_carries_its_profile(tmp_path):
    path = write_instance(tmp_path / "in.dcm", ICCProfile=space_profile("adobergb"))
    content = render(stored(path), (1,), Rendering(media_type=JPEG_2000))
    start = content.index(b"colr")
    assert content[start + 4 : start + 7] == b"\x02\0\0"
    assert content[start + 7 : start + 7 + len(space_profile("adobergb"))] == space_profile("adobergb")
    # This decoder applies the profile it finds.
    near(imagecodecs.jpeg2k_decode(content), as_lcms(make_pixels(), "adobergb", "srgb"), 1)
    assert np.array_equal(np.asarray(opened(content)), make_pixels())


@pytest.mark.parametrize(
    ("space", "red", "green", "blue"),
    [
        ("srgb", (0.4360, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)),
        ("adobergb", (0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446)),
        ("rommrgb", (0.7977, 0.2880, 0.0), (0.1352, 0.7119, 0.0), (0.0313, 0.0001, 0.8249)),
    ],
)
def test_the_spaces_have_the_colorants_that_are_published(space, red, green, blue):
    profile = ImageCms.ImageCmsProfile(BytesIO(space_profile(space))).profile
    found = (profile.red_colorant[0], profile.green_colorant[0], profile.blue_colorant[0])
    assert np.abs(np.array(found) - np.array((red, green, blue))).max() < 5e-4
    assert np.abs(np.array(profile.media_white_point[0]) - (0.9642, 1, 0.8249)).max() < 1e-4


def test_our_srgb_is_that_of_the_colour_management(tmp_path):
    every = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    theirs = ImageCms.createProfile("sRGB")
    ours = ImageCms.ImageCmsProfile(BytesIO(space_profile("srgb")))
    near(ImageCms.profileToProfile(Image.fromarray(every), ours, theirs), every, 1)


def test_a_profile_that_is_of_no_use_changes_no_colour():
    picture = Image.fromarray(make_pixels())
    same, profile = with_profile(picture, None, None, can_carry=True)
    assert (same, profile) == (picture, None)


# --- size ----------------------------------------------------------------------------------------------


@given(
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.tuples(st.floats(0, 59), st.floats(0, 59)),
    st.tuples(st.none() | st.floats(-80, 80).filter(lambda n: abs(n) > 0.5), st.none() | st.floats(1, 80)),
)
def test_a_scaled_picture_fits_and_touches_its_viewport(size, viewport, corner, source):
    """PS3.18 8.3.5.1.3 (checklist 47): the aspect ratio of the part is kept, whatever the viewport."""
    corner = (min(corner[0], size[0] - 0.5), min(corner[1], size[1] - 0.5))
    scaled = fitted(Image.new("L", size), Viewport(*viewport, *corner, *source))
    assert scaled.width <= viewport[0]
    assert scaled.height <= viewport[1]
    assert scaled.width == viewport[0] or scaled.height == viewport[1]


def test_a_photograph_decoded_small_is_the_one_decoded_whole():
    """PS3.18 8.3.5.1.3 (checklist 47): how it is scaled shows neither in its size nor in its colours."""
    path = SPECIMENS / "derived/derm_vl_photo_12mp.dcm"
    decoded = shown(path, media_type=PNG, quality=None)
    for viewport in (Viewport(333, 333), Viewport(3000, 100)):
        small = shown(path, media_type=PNG, viewport=viewport)
        whole = fitted(decoded, viewport)
        assert small.size == whole.size
        assert np.abs(np.asarray(small).astype(int) - np.asarray(whole)).mean() < 2
