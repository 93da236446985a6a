"""From samples to frames: nothing is lost, every level is half the one before, tasks are bounded."""

from itertools import pairwise
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.corpus.isic import pyramid
from app.corpus.isic.levels import Level, halved, plan_frame, plan_pyramid
from app.corpus.isic.raster import Raster, describe
from app.errors import CagedFailure
from tests.corpus.pictures import call
from tests.corpus.rasters import noise, tiff_bytes

SIDES = st.integers(1, 100_000)


def raster(rows: int, columns: int) -> Raster:
    return Raster("TIFF", rows, columns, 1, 8, 1, None, ())


@given(SIDES, SIDES)
def test_a_pyramid_goes_down_to_one_tile(rows: int, columns: int) -> None:
    cuts = plan_pyramid(raster(rows, columns))
    assert (cuts[0].rows, cuts[0].columns) == (rows, columns)
    for below, above in pairwise(cuts):
        assert above.rows in {below.rows / 2, (below.rows + 1) / 2}
        assert above.columns in {below.columns / 2, (below.columns + 1) / 2}
        assert max(below.rows, below.columns) > 512
    assert max(cuts[-1].rows, cuts[-1].columns) <= 512
    assert {(cut.frame_rows, cut.frame_columns) for cut in cuts} == {(512, 512)}


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]), st.booleans(), st.integers(0, 99))
def test_halving_is_the_mean_of_four(rows: int, columns: int, channels: int, words: bool, seed: int) -> None:
    samples = noise(rows, columns, words=words, seed=seed).reshape(rows, columns, 1).repeat(channels, axis=2)
    half = halved(samples)
    assert half.dtype == samples.dtype
    for y in range(half.shape[0]):
        for x in range(half.shape[1]):
            four = [
                int(samples[min(2 * y + dy, rows - 1), min(2 * x + dx, columns - 1), 0])
                for dy in (0, 1)
                for dx in (0, 1)
            ]
            assert half[y, x].tolist() == [(sum(four) + 2) // 4] * channels


def assembled(level: Level) -> np.ndarray:
    """The frames put together again, by an independent decoder call, what lies beyond cut off."""
    frames = [imagecodecs.jpegls_decode(frame) for frame in level.frames]
    across = -(-level.columns // level.frame_columns)
    rows = [np.hstack(frames[first : first + across]) for first in range(0, len(frames), across)]
    whole = np.vstack(rows)
    assert not whole[level.rows :].any()
    assert not whole[:, level.columns :].any()
    return whole[: level.rows, : level.columns]


@pytest.mark.parametrize("task_pixels", [1, 20_000, 10**9], ids=["many tasks", "some", "one"])
@pytest.mark.parametrize(
    "samples",
    [noise(300, 421), noise(129, 64, words=True), noise(70, 200, channels=3)],
    ids=["grey", "words", "colour"],
)
def test_nothing_is_lost_and_every_level_is_half_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, samples: np.ndarray, task_pixels: int
) -> None:
    monkeypatch.setattr(pyramid, "_TASK_PIXELS", task_pixels)
    path = tmp_path / "a.tif"
    photometric = "rgb" if samples.ndim == 3 else "minisblack"
    path.write_bytes(tiff_bytes(samples, tile=(32, 32), compression="deflate", photometric=photometric))
    described = describe(str(path))
    levels = pyramid.make_levels(path, described, plan_pyramid(described, 64), tmp_path, call)
    assert len(levels) > 2
    expected = samples[:, :, np.newaxis] if samples.ndim == 2 else samples
    for level in levels:
        np.testing.assert_array_equal(
            assembled(level), expected.squeeze(axis=2) if samples.ndim == 2 else expected
        )
        expected = halved(expected)
    left = {file.name for file in tmp_path.iterdir()}
    assert left == {"a.tif", *(f"frames-{number}" for number in range(len(levels)))}


def test_one_frame_is_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tiff_bytes(noise(33, 57)))
    described = describe(str(path))
    (level,) = pyramid.make_levels(path, described, plan_frame(described), tmp_path, call)
    assert (level.frame_rows, level.frame_columns, len(level.frames)) == (33, 57, 1)
    np.testing.assert_array_equal(assembled(level), noise(33, 57))


def test_a_child_that_unpacks_too_little_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tiff_bytes(noise(33, 57)))
    described = describe(str(path))

    def short(function, *arguments):
        result = function(*arguments)
        samples = tmp_path / "samples-0"
        samples.write_bytes(samples.read_bytes()[:-1])
        return result

    with pytest.raises(CagedFailure):
        pyramid.make_levels(path, described, plan_frame(described), tmp_path, short)
