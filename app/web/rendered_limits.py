"""How much one request may have rendered (PS3.18 8.5: 413 for what is too large)."""

from collections.abc import Sequence
from http import HTTPStatus

from app.archive.render import is_rendered_as_stored
from app.archive.showing import Shown
from app.dicom.rendering_options import Rendering
from app.web.errors import RequestError

MOST_ITEMS = 1000
MOST_MADE_PIXELS = 2**28  # of all pictures that are decoded for one request


def refuse_too_much(shown: Sequence[Shown], rendering: Rendering) -> None:
    """Raise 413 for more pictures, or more pixels to decode, than one request may ask for."""
    if len(shown) > MOST_ITEMS:
        raise _too_large(f"{len(shown)} items; {MOST_ITEMS} are the most")
    pixels = sum(
        (one.held.rows or 0) * (one.held.columns or 0) * len(one.numbers)
        for one in shown
        if one.kind in {"image", "presentation"} and not is_rendered_as_stored(one.held, rendering)
    )
    if len(shown) > 1 and pixels > MOST_MADE_PIXELS:
        raise _too_large(f"{pixels} pixels to decode; {MOST_MADE_PIXELS} are the most")


def _too_large(detail: str) -> RequestError:
    return RequestError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"To render this takes {detail} for one request. Ask for a series or instances of it.",
    )
