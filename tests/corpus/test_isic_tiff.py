"""TIFF files: every layout is unpacked to the same samples, or refused with what to do."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.corpus.isic.raster import describe
from app.errors import NotImportable
from tests.corpus.rasters import noise, tiff_bytes, unpacked

GREY, WORDS, COLOUR = noise(75, 61), noise(75, 61, words=True), noise(75, 61, channels=3)
ALPHA = noise(75, 61, seed=2)
PACKINGS = [None, "lzw", "deflate", "adobe_deflate", "packbits", "zstd"]
LAYOUTS = [{}, {"rowsperstrip": 7}, {"tile": (16, 32)}, {"tile": (128, 128)}]


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("samples", [GREY, WORDS, COLOUR], ids=["grey", "words", "colour"])
def test_every_layout_is_unpacked(
    tmp_path: Path, packing: str | None, layout: dict[str, object], samples: np.ndarray
) -> None:
    path = tmp_path / "a.tif"
    photometric = "rgb" if samples.ndim == 3 else "minisblack"
    path.write_bytes(tiff_bytes(samples, compression=packing, photometric=photometric, **layout))
    raster, got = unpacked(path)
    assert (raster.format, raster.rows, raster.columns, raster.changes) == ("TIFF", 75, 61, ())
    np.testing.assert_array_equal(got, samples)


@pytest.mark.parametrize(
    ("samples", "options", "expected"),
    [
        pytest.param(
            WORDS, {"byteorder": ">", "compression": "deflate", "predictor": 2}, WORDS, id="Motorola"
        ),
        pytest.param(GREY, {"bigtiff": True, "tile": (16, 16)}, GREY, id="BigTIFF"),
        pytest.param(
            COLOUR.transpose(2, 0, 1), {"planarconfig": "separate", "rowsperstrip": 10}, COLOUR, id="planes"
        ),
        pytest.param(
            COLOUR.transpose(2, 0, 1),
            {"planarconfig": "separate", "tile": (32, 16)},
            COLOUR,
            id="tiled planes",
        ),
        pytest.param(GREY, {"photometric": "miniswhite"}, 255 - GREY, id="white is zero"),
        pytest.param(WORDS, {"photometric": "miniswhite"}, 65535 - WORDS, id="white is zero, words"),
        pytest.param(
            np.dstack((COLOUR, ALPHA)),
            {"photometric": "rgb", "extrasamples": ["unassalpha"]},
            COLOUR,
            id="alpha",
        ),
    ],
)
def test_unusual_ones_too(
    tmp_path: Path, samples: np.ndarray, options: dict[str, object], expected: np.ndarray
) -> None:
    path = tmp_path / "a.tif"
    if "photometric" not in options:
        options = {**options, "photometric": "rgb" if samples.ndim == 3 else "minisblack"}
    path.write_bytes(tiff_bytes(samples, **options))
    np.testing.assert_array_equal(unpacked(path)[1], expected)


def test_smaller_copies_are_passed_over_and_other_pages_are_not(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(GREY, tile=(16, 16), compression="deflate")
        file.write(GREY[::2, ::2], tile=(16, 16), compression="deflate", subfiletype=1)
    np.testing.assert_array_equal(unpacked(path)[1], GREY)
    with tifffile.TiffWriter(path) as file:
        file.write(GREY)
        file.write(GREY)
    with pytest.raises(NotImportable, match="with 2 pages; give one picture"):
        describe(str(path))


def palette() -> bytes:
    return tiff_bytes(GREY, photometric="palette", colormap=np.zeros((3, 256), np.uint16))


def huge_strip() -> bytes:
    """One strip of 300 MiB that holds nothing: only its description is there."""
    data = bytearray(tiff_bytes(noise(8, 8), compression="deflate"))
    for tag, value in ((256, 20_000), (257, 16_000), (278, 16_000)):
        data = patched(data, tag, value)
    return bytes(data)


def patched(data: bytearray, tag: int, value: int) -> bytearray:
    """The file, little endian, with another value in an entry of its first directory."""
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    for number in range(count):
        entry = directory + 2 + 12 * number
        found, kind = struct.unpack_from("<HH", data, entry)
        if found == tag:
            struct.pack_into("<H" if kind == 3 else "<I", data, entry + 8, value)
            return data
    raise AssertionError(tag)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (tiff_bytes(GREY > 3), "has 1 bits a sample"),
        (tiff_bytes(GREY.astype(np.float32)), "has 32 bits a sample of sample format 3"),
        (tiff_bytes(WORDS.astype(np.int16)), "has 16 bits a sample of sample format 2"),
        (
            tiff_bytes(noise(9, 9, words=True, channels=3), photometric="rgb"),
            "16 bits a sample; convert it to 8",
        ),
        (
            tiff_bytes(np.dstack((COLOUR, ALPHA)), photometric="separated"),
            "separated inks (CMYK); convert it",
        ),
        (tiff_bytes(COLOUR, photometric="rgb", compression="jpeg"), "with JPEG inside; give a JPEG file"),
        (tiff_bytes(COLOUR, photometric="cielab"), "of CIELab; convert it"),
        (
            tiff_bytes(GREY, compression="lzma"),
            "has TIFF compression 34925; these are taken: none, LZW, deflate",
        ),
        (palette(), "of a palette; convert it"),
        (
            tiff_bytes(GREY, extratags=[(274, 3, 1, 6, False)]),
            "has TIFF orientation 6; turn its pixels upright",
        ),
        (huge_strip(), "is cut into pieces of 305 MiB; 256 MiB are allowed: write it with tiles"),
        (bytes(patched(bytearray(tiff_bytes(GREY)), 257, 0)), "0 pixels"),
        (bytes(patched(bytearray(tiff_bytes(GREY)), 256, 2**31)), "the most is 1000 megapixels"),
        (bytes(patched(bytearray(tiff_bytes(GREY)), 273, 2**31)), "piece 1 is not in it"),
        (b"II*\0" + bytes(12), "is a"),
    ],
)
def test_what_cannot_be_taken_is_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(data)
    with pytest.raises(NotImportable) as refused:
        unpacked(path)
    assert refused.value.field == "image"
    assert reason in refused.value.reason


WHOLE = tiff_bytes(GREY, tile=(16, 16), compression="deflate")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)
@given(st.data())
def test_a_cut_or_damaged_file_is_refused_or_whole(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(WHOLE[: data.draw(st.integers(4, len(WHOLE) - 1))])
    with pytest.raises(NotImportable):
        unpacked(path)
    at = data.draw(st.integers(4, len(WHOLE) - 1))
    path.write_bytes(WHOLE[:at] + bytes((data.draw(st.integers(0, 255)),)) + WHOLE[at + 1 :])
    try:
        raster, samples = unpacked(path)
    except NotImportable:
        return
    assert samples.shape[:2] == (raster.rows, raster.columns)


def test_directories_in_a_circle_end(tmp_path: Path) -> None:
    buffer = io.BytesIO(tiff_bytes(GREY))
    data = bytearray(buffer.getvalue())
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    struct.pack_into("<I", data, directory + 2 + 12 * count, directory)
    path = tmp_path / "a.tif"
    path.write_bytes(data)
    with pytest.raises(NotImportable, match="with 64 pages"):
        describe(str(path))
