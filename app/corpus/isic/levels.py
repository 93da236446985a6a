"""Pictures cut into frames without loss: one frame, or the tiles of a pyramid (PS3.3 C.8.12.14), as JPEG-LS.

`encode_frames` runs in the cage, some rows of tiles at a time; the level above is halved on the way. Samples
and frames are in files of a working folder: nothing of a large picture is in memory but the rows at hand.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from app.corpus.isic.raster import Raster
from app.dicom.image_pixel import ImagePixel
from app.dicom.pixel_encoding import encode_frame

JPEG_LS_LOSSLESS: Final = "1.2.840.10008.1.2.4.80"
TILE_PIXELS = 512  # of a side; even, so that a row of tiles halves by itself

Samples = NDArray[Any]


class Frames(Protocol):
    """Encoded frames in order, wherever they are."""

    def __len__(self) -> int:
        """How many there are."""

    def __iter__(self) -> Iterator[bytes]:
        """Yield one after the other."""


@dataclass(frozen=True, slots=True)
class FramesFile:
    """Frames one after the other in a file."""

    path: Path
    lengths: tuple[int, ...]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.lengths)

    def __iter__(self) -> Iterator[bytes]:
        """Read one after the other."""
        with self.path.open("rb") as file:
            for length in self.lengths:
                yield file.read(length)


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of a picture: its size, and the frames it is cut into, row by row from the left."""

    rows: int
    columns: int
    frame_rows: int
    frame_columns: int
    frames: Frames


@dataclass(frozen=True, slots=True)
class Cut:
    """How the samples of one level become frames."""

    rows: int
    columns: int
    samples_per_pixel: int
    bits: int
    frame_rows: int
    frame_columns: int

    @property
    def frames_down(self) -> int:
        """Rows of frames."""
        return -(-self.rows // self.frame_rows)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of samples."""
        return self.columns * self.samples_per_pixel * self.bits // 8


def plan_frame(raster: Raster) -> tuple[Cut, ...]:
    """Return how a picture becomes one frame."""
    return (_cut(raster, raster.rows, raster.columns, raster.rows, raster.columns),)


def plan_pyramid(raster: Raster, tile: int = TILE_PIXELS) -> tuple[Cut, ...]:
    """Return the levels of a pyramid, the full one first, each half the one before, the last of one tile."""
    rows, columns = raster.rows, raster.columns
    cuts = [_cut(raster, rows, columns, tile, tile)]
    while rows > tile or columns > tile:
        rows, columns = -(-rows // 2), -(-columns // 2)
        cuts.append(_cut(raster, rows, columns, tile, tile))
    return tuple(cuts)


def _cut(raster: Raster, rows: int, columns: int, frame_rows: int, frame_columns: int) -> Cut:
    return Cut(rows, columns, raster.samples_per_pixel, raster.bits, frame_rows, frame_columns)


def encode_frames(source: str, cut: Cut, first: int, last: int, frames: str, half: str | None) -> list[int]:
    """Encode the rows of frames from `first` to before `last`; return the lengths of the frames.

    They are appended to the file `frames`; with `half`, their samples at half the size to that file.
    """
    lengths = []
    with Path(frames).open("ab") as out:
        for down in range(first, last):
            rows = _read_rows(source, cut, down)
            for frame in _frames(rows, cut):
                encoded = encode_frame(frame, _image_pixel(cut), JPEG_LS_LOSSLESS)
                lengths.append(out.write(encoded))
            if half:
                with Path(half).open("ab") as above:
                    above.write(halved(rows).data)
    return lengths


def _read_rows(source: str, cut: Cut, down: int) -> Samples:
    first = down * cut.frame_rows
    count = min(cut.frame_rows, cut.rows - first)
    samples = count * cut.columns * cut.samples_per_pixel
    rows = np.fromfile(source, f"<u{cut.bits // 8}", samples, offset=first * cut.row_bytes)
    return rows.reshape(count, cut.columns, cut.samples_per_pixel)


def _frames(rows: Samples, cut: Cut) -> Iterator[Samples]:
    """Yield the frames of a row of them; what lies beyond the picture is black."""
    for first in range(0, cut.columns, cut.frame_columns):
        piece = rows[:, first : first + cut.frame_columns]
        if piece.shape[:2] != (cut.frame_rows, cut.frame_columns):
            frame = np.zeros((cut.frame_rows, cut.frame_columns, cut.samples_per_pixel), rows.dtype)
            frame[: piece.shape[0], : piece.shape[1]] = piece
            piece = frame
        yield piece[:, :, 0] if cut.samples_per_pixel == 1 else piece


def halved(rows: Samples) -> Samples:
    """Return the mean of every two by two pixels; an odd edge counts twice."""
    padded = np.pad(rows, ((0, rows.shape[0] % 2), (0, rows.shape[1] % 2), (0, 0)), mode="edge")
    wide = padded.astype(np.uint32)
    total = wide[0::2, 0::2] + wide[1::2, 0::2] + wide[0::2, 1::2] + wide[1::2, 1::2]
    return np.asarray((total + 2) >> 2, rows.dtype)


def _image_pixel(cut: Cut) -> ImagePixel:
    return ImagePixel(
        transfer_syntax_uid=JPEG_LS_LOSSLESS,
        rows=cut.frame_rows,
        columns=cut.frame_columns,
        samples_per_pixel=cut.samples_per_pixel,
        photometric_interpretation=photometric_interpretation(cut.samples_per_pixel),
        bits_allocated=cut.bits,
        bits_stored=cut.bits,
        high_bit=cut.bits - 1,
        is_signed=False,
        is_planar=False,
        is_float=False,
        number_of_frames=1,
    )


def photometric_interpretation(samples_per_pixel: int) -> str:
    """Return what describes the samples as they are encoded, without a colour transform."""
    return "MONOCHROME2" if samples_per_pixel == 1 else "RGB"


def sizes_of(levels: Sequence[Level]) -> str:
    """Tell the levels' sizes in words, for a report."""
    return ", ".join(f"{level.columns} x {level.rows}" for level in levels)
