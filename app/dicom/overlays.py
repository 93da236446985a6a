"""Overlay planes (PS3.3 C.9.2): bitmaps of their own, or kept in unused high bits of the pixels."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from app.dicom.decoding import Samples
from app.dicom.image_pixel import ImagePixel

Mask = NDArray[np.bool_]

_GROUPS = range(0x6000, 0x6020, 2)
_ROWS, _COLUMNS, _FRAMES, _TYPE, _ORIGIN = 0x0010, 0x0011, 0x0015, 0x0040, 0x0050
_FRAME_ORIGIN, _BITS_ALLOCATED, _BIT_POSITION, _LAYER, _DATA = 0x0051, 0x0100, 0x0102, 0x1001, 0x3000


@dataclass(frozen=True, slots=True)
class Overlay:
    """One bitmap; `row` and `column` of the image, from 0 and perhaps negative, lie under its first bit."""

    group: int
    row: int
    column: int
    bits: Mask

    def on(self, rows: int, columns: int) -> Mask:
        """Return which pixels of an image of that size it covers."""
        covered = np.zeros((rows, columns), bool)
        top, left = max(self.row, 0), max(self.column, 0)
        part = self.bits[top - self.row :, left - self.column :][
            : max(rows - top, 0), : max(columns - left, 0)
        ]
        covered[top : top + part.shape[0], left : left + part.shape[1]] = part
        return covered


def overlays(header: Dataset, number: int) -> list[Overlay]:
    """Read the bitmaps of a data set that belong to frame `number` (from 1); broken ones are left out."""
    found = (_bitmap(header, group, number) for group in _GROUPS if (group, _DATA) in header)
    return [overlay for overlay in found if overlay is not None]


def embedded_overlays(header: Dataset, image: ImagePixel, samples: Samples) -> list[Overlay]:
    """Read the planes kept in the pixels above or below the stored bits (retired, and still met)."""
    if samples.ndim != 2 or samples.dtype.kind not in "iu":
        return []
    found = []
    stored_bits = range(image.high_bit + 1 - image.bits_stored, image.high_bit + 1)
    for group in _GROUPS:
        position = _whole(header, group, _BIT_POSITION, -1)
        is_within = _whole(header, group, _BITS_ALLOCATED, 1) == image.bits_allocated > 1
        if (group, _DATA) in header or not is_within or not 0 <= position < image.bits_allocated:
            continue
        if position not in stored_bits:
            plane = (samples.view(f"u{samples.dtype.itemsize}") >> position) & 1
            found.append(Overlay(group, 0, 0, plane.astype(bool)))
    return found


def activated_groups(state: Dataset) -> set[int]:
    """Return the groups of overlays that a presentation state shows (PS3.3 C.11.7)."""
    return {group for group in _GROUPS if _value(state, group, _LAYER)}


def _bitmap(header: Dataset, group: int, number: int) -> Overlay | None:
    rows, columns = (_whole(header, group, element, 0) for element in (_ROWS, _COLUMNS))
    data: Any = _value(header, group, _DATA)
    frame = number - _whole(header, group, _FRAME_ORIGIN, 1)
    if _whole(header, group, _FRAMES, 1) <= 1 and not _value(header, group, _FRAMES):
        frame = 0  # one for all frames
    size = rows * columns
    if not isinstance(data, bytes) or size <= 0 or frame < 0 or len(data) * 8 < size * (frame + 1):
        return None
    first, shift = divmod(size * frame, 8)
    part = np.frombuffer(data, np.uint8, (shift + size + 7) // 8, first)
    bits = np.unpackbits(part, bitorder="little")[shift : shift + size].reshape(rows, columns)
    origin = _value(header, group, _ORIGIN) or (1, 1)
    try:
        row, column = (int(value) - 1 for value in origin)
    except (TypeError, ValueError):
        return None
    return Overlay(group, row, column, bits.astype(bool))


def _value(header: Dataset, group: int, element: int) -> Any:  # noqa: ANN401 - whatever the element holds
    return header[group, element].value if (group, element) in header else None


def _whole(header: Dataset, group: int, element: int, default: int) -> int:
    value = _value(header, group, element)
    return value if isinstance(value, int) else default
