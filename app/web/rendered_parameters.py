"""The query parameters of rendered resources (PS3.18 8.3.5.1): read strictly, refused with what is wrong."""

import re
from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from typing import cast, get_args

from starlette.requests import Request

from app.dicom.rendering_options import (
    CARRY_A_PROFILE,
    Annotation,
    Function,
    IccProfile,
    Rendering,
    Viewport,
    Window,
)
from app.errors import InvalidQuery

MOST_PIXELS = 16384  # of a viewport's side

_NUMBER = re.compile(r"[+-]?(\d{1,9}(\.\d{0,9})?|\.\d{1,9})([eE][+-]?\d{1,2})?")
_WHOLE = re.compile(r"\d{1,9}")
_KEYWORD = re.compile(r"[A-Za-z0-9_-]{1,64}")
# The query parameters of 8.3.5.1.
NAMES = ("annotation", "quality", "viewport", "window", "iccprofile")


def read_rendering(request: Request) -> tuple[Rendering, list[str]]:
    """Return what is asked of the pictures, but for the media type; and the annotations nobody knows."""
    given = request.query_params
    for name in NAMES:
        if len(given.getlist(name)) > 1:
            raise InvalidQuery(f"The parameter {name} is given more than once.")
    annotations, unknown = read_annotation(given.get("annotation"))
    rendering = Rendering(
        quality=read_quality(given.get("quality")),
        viewport=read_viewport(given.get("viewport")),
        window=read_window(given.get("window")),
        annotations=annotations,
        icc_profile=read_icc_profile(given.get("iccprofile")),
    )
    return rendering, unknown


def as_media_type(rendering: Rendering, media_type: str) -> Rendering:
    """Return the rendering as a media type; raises InvalidQuery for a profile where none can be."""
    if media_type not in CARRY_A_PROFILE and rendering.icc_profile not in {None, "no"}:
        raise InvalidQuery(
            f"iccprofile={rendering.icc_profile}: {media_type} cannot carry a profile "
            f"(PS3.18 8.3.5.1.5); leave it out, say no, or ask for {', '.join(sorted(CARRY_A_PROFILE))}"
        )
    return replace(rendering, media_type=media_type)


def read_annotation(text: str | None, name: str = "annotation") -> tuple[frozenset[Annotation], list[str]]:
    """Read a list of `patient` and `technique`; the second list is what is neither (8.3.5.1.1)."""
    if text is None:
        return frozenset(), []
    words = text.split(",")
    if not all(_KEYWORD.fullmatch(word) for word in words):
        raise InvalidQuery(
            f"{name}={text}: {name} is patient, technique or both, with a comma (PS3.18 8.3.5.1.1)"
        )
    known = [word for word in words if word in get_args(Annotation)]
    return frozenset(cast("list[Annotation]", known)), [word for word in words if word not in known]


def read_quality(text: str | None, name: str = "quality") -> int | None:
    """Read a whole number from 1 to 100 (8.3.5.1.2); `name` is that of the parameter."""
    if text is None:
        return None
    if not (_WHOLE.fullmatch(text) and text.isascii() and 1 <= int(text) <= 100):
        raise InvalidQuery(f"{name}={text}: {name} is a whole number from 1 to 100 (PS3.18 8.3.5.1.2)")
    return int(text)


def read_icc_profile(text: str | None) -> IccProfile | None:
    """Read `no`, `yes` or the name of a colour space (8.3.5.1.5)."""
    if text is not None and text not in get_args(IccProfile):
        raise InvalidQuery(
            f"iccprofile={text}: iccprofile is one of {', '.join(get_args(IccProfile))} (PS3.18 8.3.5.1.5)"
        )
    return cast("IccProfile | None", text)


def read_window(text: str | None) -> Window | None:
    """Read `center,width,function`, all three of them (8.3.5.1.4)."""
    if text is None:
        return None
    center, width, function = (*text.split(","), "", "", "")[:3]
    numbers = _numbers((center, width))
    if (
        text.count(",") != 2
        or None in numbers
        or function not in get_args(Function)
        or cast("float", numbers[1]) < (1 if function == "linear" else 1e-6)  # PS3.3 C.11.2.1.2.1, C.11.2.1.3
    ):
        functions = ", ".join(get_args(Function))
        raise InvalidQuery(
            f"window={text}: window is center,width,function, with a function of {functions}; a width is "
            f"more than 0, a linear one 1 or more (PS3.18 8.3.5.1.4)"
        )
    return Window(cast("float", numbers[0]), cast("float", numbers[1]), cast("Function", function))


def read_viewport(text: str | None, *, size_alone: bool = False) -> Viewport | None:
    """Read `vw,vh[,sx,sy,sw,sh]`; source values may be left out, as in `256,256,,,100,100` (8.3.5.1.3)."""
    if text is None:
        return None
    parts = text.split(",")
    numbers = _numbers([part or "0" for part in parts])
    if (
        len(parts) not in ({2} if size_alone else {2, 6})
        or None in numbers
        or not all(_WHOLE.fullmatch(part) for part in parts[:2])
    ):
        shape = "vw,vh" if size_alone else "vw,vh or vw,vh,sx,sy,sw,sh"
        raise InvalidQuery(f"viewport={text}: viewport is {shape}, in pixels (PS3.18 8.3.5.1.3)")
    width, height = (int(part) for part in parts[:2])
    if not (1 <= width <= MOST_PIXELS and 1 <= height <= MOST_PIXELS):
        raise InvalidQuery(f"viewport={text}: a width and height from 1 to {MOST_PIXELS} are needed")
    if len(parts) == 2:
        return Viewport(width, height)
    x, y, source_width, source_height = (
        number if part else None for part, number in zip(parts[2:], numbers[2:], strict=True)
    )
    if (x or 0) < 0 or (y or 0) < 0 or source_width == 0 or source_height == 0:
        raise InvalidQuery(f"viewport={text}: the source region is empty or outside the image")
    return Viewport(width, height, x or 0, y or 0, source_width, source_height)


def _numbers(texts: Sequence[str]) -> list[float | None]:
    """Read decimal numbers; None for what is none, or too large to reckon with."""
    found = (float(text) if text.isascii() and _NUMBER.fullmatch(text) else None for text in texts)
    return [number if number is not None and isfinite(number) else None for number in found]
