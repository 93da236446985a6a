"""PNG files: every kind is unpacked to the same samples that others read, or refused with what to do."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from app.corpus.isic.raster import describe
from app.errors import NotImportable
from tests.corpus.rasters import made_png, noise, png_bytes, unpacked, with_chunk

GREY, COLOUR = noise(13, 17), noise(13, 17, channels=3)
ALPHA = noise(13, 17, seed=2)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def palette_png(colours: np.ndarray, **options: object) -> bytes:
    picture = Image.fromarray(GREY % len(colours), "L")
    picture = Image.frombytes("P", picture.size, picture.tobytes())
    picture.putpalette(colours.tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", **options)
    return buffer.getvalue()


COLOURS = noise(1, 40, channels=3)[0]
GREYS = np.repeat(noise(1, 40)[0][:, None], 3, axis=1)


@pytest.mark.parametrize(
    ("data", "expected", "changes"),
    [
        pytest.param(png_bytes(GREY), GREY, (), id="grey"),
        pytest.param(png_bytes(COLOUR), COLOUR, (), id="colour"),
        pytest.param(
            png_bytes(noise(13, 17, words=True)), noise(13, 17, words=True), (), id="grey of 16 bits"
        ),
        pytest.param(
            png_bytes(np.dstack((COLOUR, ALPHA))), COLOUR, ("its alpha channel left out",), id="alpha"
        ),
        pytest.param(
            png_bytes(np.dstack((GREY, ALPHA))), GREY, ("its alpha channel left out",), id="grey alpha"
        ),
        pytest.param(palette_png(COLOURS), COLOURS[GREY % 40], ("its palette resolved",), id="palette"),
        pytest.param(
            palette_png(GREYS), GREYS[GREY % 40][..., 0], ("its palette resolved",), id="grey palette"
        ),
        pytest.param(
            palette_png(COLOURS, transparency=3),
            COLOURS[GREY % 40],
            ("its palette resolved", "its alpha channel left out"),
            id="palette with a transparent colour",
        ),
        pytest.param(png_bytes(GREY > 100), (GREY > 100) * np.uint8(255), (), id="1 bit"),
        pytest.param(
            made_png(3, 1, 4, 0, [b"\x0f\x80"]), np.array([[0, 255, 136]], np.uint8), (), id="4 bits"
        ),
        pytest.param(
            made_png(1, 1, 16, 4, [b"\x12\x34\xff\xff"]),
            np.array([[0x1234]], np.uint16),
            ("its alpha channel left out",),
            id="16 bits with alpha",
        ),
    ],
)
def test_every_kind_is_unpacked(
    tmp_path: Path, data: bytes, expected: np.ndarray, changes: tuple[str, ...]
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(data)
    raster, samples = unpacked(path)
    assert raster.changes == changes
    assert raster.bits == expected.dtype.itemsize * 8
    assert raster.samples_per_pixel == (1 if expected.ndim == 2 else 3)
    np.testing.assert_array_equal(samples, expected)


def test_the_profile_is_kept_and_a_damaged_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png_bytes(COLOUR, icc_profile=PROFILE))
    assert describe(str(path)).icc_profile == PROFILE
    for body in (b"name", b"name\0\0no zlib", b"\0\0"):
        path.write_bytes(with_chunk(png_bytes(COLOUR), b"iCCP", body))
        assert describe(str(path)).icc_profile is None


EXIF_TURNED = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
BLACK_ROW = bytes(10_000)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (made_png(1, 1, 16, 2, [bytes(6)]), "in colour with 16 bits a sample; convert it to 8 bits"),
        (made_png(1, 1, 16, 6, [bytes(8)]), "in colour with 16 bits a sample; convert it to 8 bits"),
        (made_png(0, 5, 8, 0, []), "says that it is 0 x 5 pixels"),
        (made_png(5, 0, 8, 0, []), "says that it is 5 x 0 pixels"),
        (made_png(20_000, 20_000, 8, 0, []), "above 100 megapixels give a tiled TIFF file"),
        (made_png(50_000, 50_000, 8, 0, []), "the most is 1000 megapixels"),
        (made_png(9_000, 9_000, 8, 0, [BLACK_ROW]), "bytes of picture for 9000 x 9000 pixels"),
        (made_png(1, 1, 3, 0, [b"\0"]), "3 bits in colour type 0"),
        (made_png(1, 1, 8, 5, [b"\0"]), "8 bits in colour type 5"),
        (with_chunk(png_bytes(GREY), b"acTL", bytes(8)), "is an animated PNG file"),
        (with_chunk(png_bytes(GREY), b"eXIf", EXIF_TURNED), "turned by EXIF"),
        (b"\x89PNG\r\n\x1a\n", "it ends before its end chunk"),
    ],
)
def test_what_cannot_be_taken_is_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(data)
    with pytest.raises(NotImportable, match="image") as refused:
        describe(str(path))
    assert reason in refused.value.reason


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.data())
def test_a_cut_or_damaged_file_is_refused_or_whole(tmp_path: Path, data: st.DataObject) -> None:
    whole = png_bytes(COLOUR)
    path = tmp_path / "a.png"
    cut = data.draw(st.integers(8, len(whole) - 1))
    path.write_bytes(whole[:cut])
    with pytest.raises(NotImportable):
        unpacked(path)
    at, bit = data.draw(st.integers(8, len(whole) - 1)), data.draw(st.integers(0, 7))
    path.write_bytes(whole[:at] + bytes((whole[at] ^ 1 << bit,)) + whole[at + 1 :])
    try:
        _, samples = unpacked(path)
    except NotImportable:
        return
    assert samples.shape == COLOUR.shape
