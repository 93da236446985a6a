"""From a PNG or TIFF file to encoded frames, in caged tasks of bounded size: as many as the picture needs.

What a task may take of time and memory is the same for every picture; a large one takes more tasks.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from app.corpus.isic.caged import RunCaged
from app.corpus.isic.levels import Cut, FramesFile, Level, encode_frames
from app.corpus.isic.raster import Raster, unpack
from app.errors import CagedFailure

_TASK_PIXELS = 16_000_000


def make_levels(
    path: Path, raster: Raster, cuts: Sequence[Cut], folder: Path, run_caged: RunCaged
) -> tuple[Level, ...]:
    """Unpack a picture into `folder` and encode its levels; the frames stay there.

    Raises NotImportable or CagedFailure. Needs room for the samples, a quarter more, and the frames.
    """
    samples = folder / "samples-0"
    for first, last in _shares(raster.bands, raster.rows_per_band * raster.columns):
        run_caged(unpack, str(path), raster, first, last, str(samples))
    levels = []
    for number, cut in enumerate(cuts):
        if samples.stat().st_size != cut.rows * cut.row_bytes:
            raise CagedFailure("the picture was not unpacked to the size that it says it has")
        half = folder / f"samples-{number + 1}" if number + 1 < len(cuts) else None
        levels.append(_level(samples, cut, folder / f"frames-{number}", half, run_caged))
        samples.unlink()
        samples = half or samples
    return tuple(levels)


def _level(samples: Path, cut: Cut, frames: Path, half: Path | None, run_caged: RunCaged) -> Level:
    lengths: list[int] = []
    for first, last in _shares(cut.frames_down, cut.frame_rows * cut.columns):
        target = str(half) if half else None
        lengths += run_caged(encode_frames, str(samples), cut, first, last, str(frames), target)
    encoded = FramesFile(frames, tuple(lengths))
    return Level(cut.rows, cut.columns, cut.frame_rows, cut.frame_columns, encoded)


def _shares(pieces: int, pixels_of_a_piece: int) -> Iterator[tuple[int, int]]:
    """Divide pieces among tasks: yield the first of each task, and the first of the next."""
    together = max(1, _TASK_PIXELS // pixels_of_a_piece)
    for first in range(0, pieces, together):
        yield first, min(first + together, pieces)
