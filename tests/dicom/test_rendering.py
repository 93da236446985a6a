"""What people see: the right colours and shades, the part and size they asked for."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from pydicom import dcmread
from pydicom.pixels.processing import apply_color_lut

from app.cage import Cage
from app.dicom.rendering import render, thumbnail
from app.dicom.rendering_options import Rendering, Viewport
from app.errors import ArchiveError, InvalidQuery, NotConvertible
from tests.dicom.pixel_tasks import near, picture, stored, write_gray, write_jpeg
from tests.factories import make_instance, make_jpeg, make_pixels

pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning", "ignore:.*:DeprecationWarning")

SPECIMENS = Path(__file__).parents[1] / "data" / "dicom"
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture(scope="module")
def cage():
    cage = Cage(processes=2, memory_bytes=2**30, cpu_s=20)
    yield cage
    cage.close()


# --- colour --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_a_photograph_looks_as_pillow_shows_it(subsampling, cage, tmp_path):
    out = BytesIO()
    Image.fromarray(make_pixels(64, 96)).save(out, "JPEG", quality=95, subsampling=subsampling)
    write_jpeg(tmp_path / "in.dcm", make_instance(rows=64, columns=96, jpeg=True), out.getvalue())
    shown, expected = picture(cage, tmp_path / "in.dcm"), Image.open(out).convert("RGB")
    near(shown, expected, 5)  # where a colour ends, JPEG at its best still rings
    assert np.abs(np.asarray(shown).astype(int) - np.asarray(expected)).mean() < 0.5


@pytest.mark.parametrize(
    "name",
    [
        "derived/derm_multiframe_jpeg.dcm",
        "derived/derm_dermoscopic_j2k.dcm",
        "valid/SC_rgb_dcmtk__eb_cr.dcm",
        "valid/SC_rgb_dcmtk__eb_cy_np.dcm",
        "valid/SC_rgb_jpeg_app14_dcmd.dcm",
        "valid/SC_rgb_rle_2frame.dcm",
        "valid/US1_J2KI.dcm",
        "valid/color-pl.dcm",
        "valid/us_jpeg_10frames.dcm",
    ],
)
def test_specimens_in_colour(name, cage):
    source = dcmread(SPECIMENS / name)
    samples = source.pixel_array
    frames = int(source.get("NumberOfFrames", 1) or 1)
    last = samples[-1] if frames > 1 else samples
    # JPEG at its best still rounds; saturated edges ring a little.
    shown = np.asarray(picture(cage, SPECIMENS / name, number=frames)).astype(int)
    assert np.abs(shown - last).max() <= 8
    assert np.abs(shown - last).mean() < 1


def test_sixteen_bit_colour_is_shown_by_its_high_bits(cage):
    samples = dcmread(SPECIMENS / "valid/SC_rgb_rle_16bit_2frame.dcm").pixel_array[0]
    near(picture(cage, SPECIMENS / "valid/SC_rgb_rle_16bit_2frame.dcm"), samples >> 8, 8)


def test_a_palette_is_applied(cage, tmp_path):
    samples = np.repeat(np.arange(4, dtype=np.uint8), 64).reshape(4, 64).repeat(8, 0)
    tables = {f"{name}PaletteColorLookupTableDescriptor": [4, 0, 16] for name in ("Red", "Green", "Blue")} | {
        "RedPaletteColorLookupTableData": np.array([0, 0xFFFF, 0, 0x8080], "<u2").tobytes(),
        "GreenPaletteColorLookupTableData": np.array([0, 0, 0xFFFF, 0x8080], "<u2").tobytes(),
        "BluePaletteColorLookupTableData": np.array([0, 0, 0, 0x8080], "<u2").tobytes(),
    }
    path = write_gray(tmp_path / "in.dcm", samples, PhotometricInterpretation="PALETTE COLOR", **tables)
    shown = np.asarray(picture(cage, path))
    near(shown[[4, 12, 20, 28], 32], [(0, 0, 0), (255, 0, 0), (0, 255, 0), (128, 128, 128)], 3)


@pytest.mark.parametrize("name", ["valid/examples_palette.dcm", "valid/gdcm-US-ALOKA-16.dcm"])
def test_specimens_with_palettes(name, cage):
    source = dcmread(SPECIMENS / name)
    colours = apply_color_lut(source.pixel_array, source)
    shown = np.asarray(picture(cage, SPECIMENS / name)).astype(int)
    assert np.abs(shown - (colours if colours.dtype == np.uint8 else colours >> 8)).mean() < 2


def test_the_icc_profile_stays_unless_unwanted(cage, tmp_path):
    instance = make_instance(jpeg=True, ICCProfile=SRGB)
    write_jpeg(tmp_path / "in.dcm", instance, make_jpeg())
    assert picture(cage, tmp_path / "in.dcm").info["icc_profile"].rstrip(b"\0") == SRGB.rstrip(b"\0")
    plain = picture(cage, tmp_path / "in.dcm", Rendering(icc_profile="no"))
    assert "icc_profile" not in plain.info


# --- size, part, quality -------------------------------------------------------------------------------


def photograph(path):
    write_jpeg(path, make_instance(rows=120, columns=200, jpeg=True), make_jpeg(120, 200))
    return path


@pytest.mark.parametrize(
    ("viewport", "size"),
    [
        (Viewport(100, 100), (100, 60)),
        (Viewport(400, 400), (400, 240)),
        (Viewport(50, 12), (20, 12)),
        (Viewport(50, 50, 0, 0, 100, 100), (50, 50)),
        (Viewport(60, 60, 150, 20, None, None), (30, 60)),
        (Viewport(1, 1), (1, 1)),
    ],
)
def test_the_picture_fits_the_viewport_and_keeps_its_aspect(viewport, size, cage, tmp_path):
    path = photograph(tmp_path / "in.dcm")
    assert picture(cage, path, Rendering(viewport=viewport)).size == size


@pytest.mark.parametrize("across", [1, -1])
@pytest.mark.parametrize("down", [1, -1])
def test_negative_source_sizes_mirror(across, down, cage, tmp_path):
    path = photograph(tmp_path / "in.dcm")
    viewport = Viewport(120, 90, 0, 0, across * 120, down * 90)
    shown = picture(cage, path, Rendering(quality=100, viewport=viewport))
    part = np.asarray(picture(cage, path))[:90, :120]
    near(shown, part[::down, ::across], 4)


def test_a_part_outside_the_image_is_an_invalid_question(cage, tmp_path):
    path = photograph(tmp_path / "in.dcm")
    for viewport in (Viewport(10, 10, 200, 0), Viewport(10, 10, 0, 500, 5, 5)):
        with pytest.raises(InvalidQuery, match="outside"):
            picture(cage, path, Rendering(viewport=viewport))


def test_quality_costs_bytes(cage, tmp_path):
    path = SPECIMENS / "derived/derm_multiframe_jpeg.dcm"
    lengths = [
        len(cage.run(render, stored(path), (1,), Rendering(quality=quality))) for quality in (1, 50, 100)
    ]
    assert lengths == sorted(lengths)
    assert lengths[0] * 4 < lengths[2]


@pytest.mark.parametrize("size", [(128, 128), (64, 200), (1, 1), (1000, 1000)])
def test_thumbnails_are_small_and_show_the_whole(size, cage, tmp_path):
    path = SPECIMENS / "derived/derm_vl_photo_12mp.dcm"
    content = cage.run(thumbnail, stored(path), 1, *size)
    small = Image.open(BytesIO(content))
    assert small.width <= size[0]
    assert small.height <= size[1]
    assert small.size[0] == size[0] or small.size[1] == size[1]
    assert len(content) < 200_000
    if size == (128, 128):
        assert len(content) < 5_000
        whole = Image.fromarray(dcmread(path).pixel_array).resize(small.size, Image.Resampling.BOX)
        assert np.abs(np.asarray(small).astype(int) - np.asarray(whole)).mean() < 4


def test_a_thumbnail_is_never_enlarged_and_needs_no_photograph(cage):
    content = cage.run(thumbnail, stored(SPECIMENS / "valid/MR_small_RLE.dcm"), 1, 128, 128)
    small = Image.open(BytesIO(content))
    assert (small.size, small.mode) == ((64, 64), "L")


def test_a_thumbnail_has_its_colours_converted_to_srgb(cage, tmp_path):
    exchanged = SRGB.replace(b"rXYZ", b"tmpX", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"tmpX", b"gXYZ", 1)
    for profile, middle in (
        (SRGB, (180, 120, 100)),
        (exchanged, (120, 180, 100)),
        (b"none", (180, 120, 100)),
    ):
        instance = make_instance(rows=64, columns=96, jpeg=True, ICCProfile=profile)
        write_jpeg(tmp_path / "in.dcm", instance, make_jpeg(64, 96))
        small = Image.open(BytesIO(cage.run(thumbnail, stored(tmp_path / "in.dcm"), 1, 128, 128)))
        assert "icc_profile" not in small.info
        near(small.getpixel((48, 32)), middle, 6)


def test_thumbnails_of_frames_that_lie_are_refused(cage, tmp_path):
    write_jpeg(tmp_path / "in.dcm", make_instance(rows=17, jpeg=True), make_jpeg())
    with pytest.raises(NotConvertible, match="claims 24 x 16"):
        cage.run(thumbnail, stored(tmp_path / "in.dcm"), 1, 128, 128)


def test_what_holds_no_image_says_so(cage):
    for name in ("sr_document.dcm", "waveform_ecg.dcm", "rtplan.dcm"):
        with pytest.raises(NotConvertible, match="holds no image"):
            picture(cage, SPECIMENS / "valid" / name)


@pytest.mark.parametrize("path", sorted((SPECIMENS / "invalid").glob("*.dcm")), ids=lambda path: path.name)
def test_broken_specimens_end_in_a_picture_or_a_sentence(path, cage):
    try:
        file = stored(path)
        content = [cage.run(render, file, (1,), Rendering()), cage.run(thumbnail, file, 1, 99, 99)]
    except ArchiveError:
        return
    for each in content:
        Image.open(BytesIO(each)).load()
