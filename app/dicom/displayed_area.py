"""Where a presentation state puts the points of an image (PS3.3 C.10.4, C.10.6)."""

from dataclasses import dataclass

from pydicom.dataset import Dataset

from app.errors import NotConvertible

_MOST_PIXELS = 2**26
_FARTHEST = 2**20  # pixels from the image


@dataclass(frozen=True, slots=True)
class Geometry:
    """The displayed area as (left, top, right, bottom) of the image from 0, then a turn, a flip, a size."""

    box: tuple[int, int, int, int]
    rotation: int  # degrees, clockwise, before the flip
    is_flipped: bool
    size: tuple[int, int]

    def place(self, column: float, row: float) -> tuple[float, float]:
        """Return where a point of the image (columns and rows from 0) is in the picture."""
        left, top, right, bottom = self.box
        width, height = right - left, bottom - top
        x, y = column - left, row - top
        x, y = {0: (x, y), 90: (height - y, x), 180: (width - x, height - y), 270: (y, width - x)}[
            self.rotation
        ]
        turned_width, turned_height = (height, width) if self.rotation in {90, 270} else (width, height)
        if self.is_flipped:
            x = turned_width - x
        return x * self.size[0] / turned_width, y * self.size[1] / turned_height

    def fraction(self, x: float, y: float) -> tuple[float, float]:
        """Return where a point given as fractions of the displayed area is in the picture."""
        return x * self.size[0], y * self.size[1]


def read_geometry(state: Dataset, area: Dataset, columns: int, rows: int) -> Geometry:
    """Read the geometry of an image of that size; `area` is the item of the displayed area, or empty."""
    first, last = (_pair(area, f"DisplayedArea{corner}HandCorner") for corner in ("TopLeft", "BottomRight"))
    box = (0, 0, columns, rows)
    if first and last:
        # The corners are those seen after the turn, counted from 1, both within the area (C.10.4).
        (x1, y1), (x2, y2) = first, last
        box = (min(x1, x2) - 1, min(y1, y2) - 1, max(x1, x2), max(y1, y2))
    width, height = box[2] - box[0], box[3] - box[1]
    if max(map(abs, box)) > _FARTHEST or width * height > _MOST_PIXELS:
        raise NotConvertible(f"The displayed area of {width} x {height} pixels is too large to show.")
    rotation = int(state.get("ImageRotation") or 0) % 360
    if rotation % 90:
        raise NotConvertible(f"An image rotation of {rotation} degrees cannot be shown.")
    height_of_pixel, width_of_pixel = _shape_of_pixels(area)
    if height_of_pixel > width_of_pixel:
        size = (width, round(height * height_of_pixel / width_of_pixel))
    else:
        size = (round(width * width_of_pixel / height_of_pixel), height)
    if rotation in {90, 270}:
        size = (size[1], size[0])
    if size[0] * size[1] > _MOST_PIXELS:
        raise NotConvertible(f"The displayed area of {size[0]} x {size[1]} pixels is too large to show.")
    return Geometry(box, rotation, state.get("ImageHorizontalFlip") == "Y", size)


def _shape_of_pixels(area: Dataset) -> tuple[float, float]:
    """Return how high and how wide a pixel is (C.10.4: spacing goes before aspect ratio)."""
    for keyword in ("PresentationPixelSpacing", "PresentationPixelAspectRatio"):
        try:
            height, width = (float(value) for value in area.get(keyword) or ())
        except (TypeError, ValueError):
            continue
        if 0 < height < 1e6 and 0 < width < 1e6 and 0.01 < height / width < 100:
            return height, width
    return 1.0, 1.0


def _pair(area: Dataset, keyword: str) -> tuple[int, int] | None:
    try:
        x, y = (int(value) for value in area.get(keyword) or ())
    except (TypeError, ValueError):
        return None
    return x, y
