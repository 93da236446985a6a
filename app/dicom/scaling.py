"""A part of a picture, mirrored where asked for, scaled to fit a viewport (PS3.18 8.3.5.1.3)."""

from PIL import Image

from app.dicom.rendering_options import Viewport
from app.errors import InvalidQuery

MOST_PIXELS = 2**26  # of a scaled picture: 8192 x 8192


def fitted(picture: Image.Image, viewport: Viewport) -> Image.Image:
    """Crop, mirror and scale; the aspect ratio is kept. Raises InvalidQuery for a part outside the image."""
    width = picture.width - viewport.source_x if viewport.source_width is None else viewport.source_width
    height = picture.height - viewport.source_y if viewport.source_height is None else viewport.source_height
    left, top = viewport.source_x, viewport.source_y
    right, bottom = min(left + abs(width), picture.width), min(top + abs(height), picture.height)
    if not (0 <= left < right and 0 <= top < bottom):
        raise InvalidQuery("The part of the image that the viewport asks for lies outside the image.")
    if width < 0:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        left, right = picture.width - right, picture.width - left
    if height < 0:
        picture = picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        top, bottom = picture.height - bottom, picture.height - top
    scale = min(viewport.width / (right - left), viewport.height / (bottom - top))
    columns, rows = max(round((right - left) * scale), 1), max(round((bottom - top) * scale), 1)
    if columns * rows > MOST_PIXELS:
        raise InvalidQuery(
            f"The viewport asks for {columns} x {rows} pixels; {MOST_PIXELS} pixels are the most."
        )
    box: tuple[float, float, float, float] | None = (left, top, right, bottom)
    if viewport.shows_all:
        # A JPEG that is not decoded yet is decoded at a fraction of its size, never less than twice ours.
        picture.draft(picture.mode, (2 * columns, 2 * rows))
        box = None
    return picture.resize((columns, rows), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)
