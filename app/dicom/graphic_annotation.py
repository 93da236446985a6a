"""Graphic and text objects of a presentation state (PS3.3 C.10.5)."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from math import cos, hypot, pi, sin

from PIL import Image, ImageDraw
from pydicom.dataset import Dataset

from app.dicom.annotation import text_size, write_text
from app.dicom.displayed_area import Geometry

Point = tuple[float, float]
Place = Callable[[float, float], Point]

_MOST_OBJECTS = 2000
_MOST_POINTS = 20_000
_STEPS = 72  # of a circle
_STEPS_A_PIECE = 8  # of a curve between two points


def draw_annotations(
    picture: Image.Image, items: Iterable[Dataset], state: Dataset, geometry: Geometry
) -> None:
    """Draw the objects of the items, layer by layer, the lowest order first (C.10.7)."""
    layers = {layer.get("GraphicLayer"): layer for layer in state.get("GraphicLayerSequence") or []}
    ordered = sorted(items, key=lambda item: _order(layers.get(item.get("GraphicLayer"))))
    for item in ordered:
        fill = _fill(picture, layers.get(item.get("GraphicLayer")))
        for graphic in islice(item.get("GraphicObjectSequence") or [], _MOST_OBJECTS):
            _draw(picture, graphic, _place(graphic.get("GraphicAnnotationUnits"), geometry), fill)
        for text in islice(item.get("TextObjectSequence") or [], _MOST_OBJECTS):
            _write(picture, text, geometry, fill)


def _order(layer: Dataset | None) -> int:
    return int(layer.get("GraphicLayerOrder") or 0) if layer else 0


def _fill(picture: Image.Image, layer: Dataset | None) -> int | tuple[int, int, int]:
    value = layer.get("GraphicLayerRecommendedDisplayGrayscaleValue") if layer else None
    gray = int(value) >> 8 if isinstance(value, int) else 255
    return gray if picture.mode == "L" else (gray, gray, gray)


def _place(units: str | None, geometry: Geometry) -> Place:
    if units == "DISPLAY":
        return geometry.fraction
    # In pixels the centre of the first pixel is 1\1; ours is a corner at 0\0 (C.10.5.1.2).
    return lambda column, row: geometry.place(column - 0.5, row - 0.5)


def _draw(picture: Image.Image, graphic: Dataset, place: Place, fill: int | tuple[int, int, int]) -> None:
    values = [float(value) for value in islice(graphic.get("GraphicData") or [], 2 * _MOST_POINTS)]
    points = list(zip(values[::2], values[1::2], strict=False))
    outline = _outline(str(graphic.get("GraphicType")), points)
    placed = [place(*point) for point in outline]
    if not placed:
        return
    draw = ImageDraw.Draw(picture)
    width = max(min(picture.size) // 400, 1)
    if len(placed) == 1:
        (x, y) = placed[0]
        draw.ellipse([x - 2 * width, y - 2 * width, x + 2 * width, y + 2 * width], fill=fill)
    elif graphic.get("GraphicFilled") == "Y" and len(placed) > 2:
        draw.polygon(placed, fill=fill)
    else:
        draw.line(placed, fill=fill, width=width, joint="curve")


def _outline(kind: str, points: list[Point]) -> list[Point]:
    match kind:
        case "POINT":
            return points[:1]
        case "POLYLINE":
            return points
        case "INTERPOLATED":
            return list(_curve(points))
        case "CIRCLE" if len(points) == 2:
            (x, y), (edge_x, edge_y) = points
            radius = hypot(edge_x - x, edge_y - y)
            return _ellipse((x, y), (radius, 0), (0, radius))
        case "ELLIPSE" if len(points) == 4:
            (ax, ay), (bx, by), (cx, cy), (dx, dy) = points
            middle = ((ax + bx) / 2, (ay + by) / 2)
            return _ellipse(middle, ((bx - ax) / 2, (by - ay) / 2), ((dx - cx) / 2, (dy - cy) / 2))
    return []


def _ellipse(middle: Point, major: Point, minor: Point) -> list[Point]:
    angles = [2 * pi * step / _STEPS for step in range(_STEPS + 1)]
    return [
        (
            middle[0] + major[0] * cos(angle) + minor[0] * sin(angle),
            middle[1] + major[1] * cos(angle) + minor[1] * sin(angle),
        )
        for angle in angles
    ]


def _curve(points: list[Point]) -> Iterator[Point]:
    """Yield points of the Catmull-Rom curve through the points given."""
    for index in range(len(points) - 1):
        before, start, end = points[max(index - 1, 0)], points[index], points[index + 1]
        after = points[min(index + 2, len(points) - 1)]
        for step in range(_STEPS_A_PIECE):
            t = step / _STEPS_A_PIECE
            yield (
                _between(before[0], start[0], end[0], after[0], t),
                _between(before[1], start[1], end[1], after[1], t),
            )
    yield from points[-1:]


def _between(before: float, start: float, end: float, after: float, t: float) -> float:
    return start + 0.5 * t * (
        end
        - before
        + t * (2 * before - 5 * start + 4 * end - after + t * (3 * (start - end) + after - before))
    )


def _write(picture: Image.Image, text: Dataset, geometry: Geometry, fill: int | tuple[int, int, int]) -> None:
    lines = str(text.get("UnformattedTextValue") or "").splitlines()[:40]
    anchor = _point(text, "AnchorPoint", text.get("AnchorPointAnnotationUnits"), geometry)
    box = text.get("BoundingBoxAnnotationUnits")
    corner = _point(text, "BoundingBoxTopLeftHandCorner", box, geometry)
    opposite = _point(text, "BoundingBoxBottomRightHandCorner", box, geometry)
    if corner and opposite:
        corner = (min(corner[0], opposite[0]), min(corner[1], opposite[1]))
    if anchor and corner and text.get("AnchorPointVisibility") == "Y":
        ImageDraw.Draw(picture).line([anchor, corner], fill=fill, width=max(min(picture.size) // 400, 1))
    place = corner or anchor
    if place:
        write_text(picture, place, lines, text_size(picture))


def _point(text: Dataset, keyword: str, units: str | None, geometry: Geometry) -> Point | None:
    try:
        x, y = (float(value) for value in text.get(keyword) or ())
    except (TypeError, ValueError):
        return None
    return _place(units, geometry)(x, y)
