"""What a presentation state hides of an image (PS3.3 C.7.6.11, C.7.6.15, C.11.12)."""

import numpy as np
from PIL import Image, ImageDraw
from pydicom.dataset import Dataset

from app.dicom.grayscale import Display
from app.dicom.overlays import Mask, overlays


def shuttered(shown: Display, state: Dataset) -> Display:
    """Return the picture with all but what every shutter leaves open in the shutter's gray."""
    shapes = state.get("ShutterShape")
    if not shapes:
        return shown
    rows, columns = shown.shape[:2]
    is_open = np.ones((rows, columns), bool)
    for shape in [shapes] if isinstance(shapes, str) else shapes:
        is_open &= _OPEN[shape](state, rows, columns) if shape in _OPEN else True
    value = int(state.get("ShutterPresentationValue") or 0) >> 8
    return np.where(is_open if shown.ndim == 2 else is_open[..., None], shown, np.uint8(value))


def _rectangle(state: Dataset, rows: int, columns: int) -> Mask:
    left, right = (int(state[f"Shutter{side}VerticalEdge"].value) for side in ("Left", "Right"))
    upper, lower = (int(state[f"Shutter{side}HorizontalEdge"].value) for side in ("Upper", "Lower"))
    is_open = np.zeros((rows, columns), bool)
    # The edges themselves are hidden (C.7.6.11).
    is_open[max(upper, 0) : max(lower - 1, 0), max(left, 0) : max(right - 1, 0)] = True
    return is_open


def _circle(state: Dataset, rows: int, columns: int) -> Mask:
    row, column = (int(value) - 1 for value in state.CenterOfCircularShutter)
    y, x = np.ogrid[:rows, :columns]
    return np.asarray((y - row) ** 2 + (x - column) ** 2 < int(state.RadiusOfCircularShutter) ** 2, bool)


def _polygon(state: Dataset, rows: int, columns: int) -> Mask:
    values = [int(value) - 1 for value in state.VerticesOfThePolygonalShutter]
    picture = Image.new("1", (columns, rows))
    points = [(column, row) for row, column in zip(values[::2], values[1::2], strict=False)]
    ImageDraw.Draw(picture).polygon(points, fill=1)
    return np.asarray(picture, bool)


def _bitmap(state: Dataset, rows: int, columns: int) -> Mask:
    group = int(state.get("ShutterOverlayGroup") or 0)
    hidden = np.zeros((rows, columns), bool)
    for plane in overlays(state, 1):
        if plane.group == group:
            hidden |= plane.on(rows, columns)
    return ~hidden


_OPEN = {"RECTANGULAR": _rectangle, "CIRCULAR": _circle, "POLYGONAL": _polygon, "BITMAP": _bitmap}
