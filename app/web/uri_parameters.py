"""The query of a URI Service request (PS3.18 9.1.2.1, 9.4.1.2, 9.5.1.2), read strictly."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from app.catalog.holdings import Held, Reference
from app.dicom.rendering_options import Annotation, Rendering, Viewport, Window
from app.errors import InvalidQuery
from app.web.dependencies import UID
from app.web.rendered_parameters import (
    MOST_PIXELS,
    read_annotation,
    read_quality,
    read_window,
)
from app.web.terms import PARAMETERS

REQUIRED = ("requestType", "studyUID", "seriesUID", "objectUID")
RENDERED = (
    "frameNumber",
    "rows",
    "columns",
    "region",
    "windowCenter",
    "windowWidth",
    "imageQuality",
    "presentationSeriesUID",
    "presentationUID",
)
# `annotation` is what the syntax of 9.5.1 says, `imageAnnotation` its table.
OPTIONAL = (
    "contentType",
    "charset",
    "anonymize",
    "annotation",
    "imageAnnotation",
    "transferSyntax",
    *RENDERED,
)

_WHOLE = re.compile(r"[0-9]{1,9}")
_FRACTION = re.compile(r"[0-9]{0,9}(\.[0-9]{0,18})?")


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the image, its corners as fractions of width and height (9.5.1.2.5)."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class UriRequest:
    """What a URI Service request asks for."""

    reference: Reference
    content_type: str | None = None
    transfer_syntax: str | None = None
    frame_number: int | None = None
    presentation: Reference | None = None
    rows: int | None = None
    columns: int | None = None
    region: Region | None = None
    window: Window | None = None
    quality: int | None = None
    annotations: frozenset[Annotation] = frozenset()
    unknown_annotations: tuple[str, ...] = ()
    is_anonymized: bool = False
    rendered_parameters: tuple[str, ...] = ()  # those that were given


def read_uri_request(parameters: Sequence[tuple[str, str]], scope: int | None = None) -> UriRequest:
    """Read query parameters, decoded already; raises InvalidQuery naming the one at fault.

    What they name is looked for in the collection `scope`. What 9.1.2 does not know is passed over, as 8.3.1
    says.
    """
    given: dict[str, str] = {}
    for name, value in parameters:
        if name in {*REQUIRED, *OPTIONAL, *PARAMETERS}:
            if name in given:
                raise InvalidQuery(f"The parameter {name} is given more than once")
            given[name] = value
    for name in REQUIRED:
        if not given.get(name):
            raise InvalidQuery(f"The parameter {name} is missing: {', '.join(REQUIRED)} are needed")
    if given["requestType"] != "WADO":
        raise InvalidQuery(f"requestType={given['requestType']}: the request type is WADO")
    if given.get("anonymize", "yes") != "yes":
        raise InvalidQuery(f"anonymize={given['anonymize']}: the only value is yes (PS3.18 9.4.1.2.1)")
    named = "annotation" if "annotation" in given else "imageAnnotation"
    annotations, unknown = read_annotation(given.get(named), named)
    return UriRequest(
        Reference(*(_uid(given, name) for name in REQUIRED[1:]), scope=scope),
        content_type=given.get("contentType") or None,
        transfer_syntax=_transfer_syntax(given),
        frame_number=_whole(given, "frameNumber"),
        presentation=_presentation(given, scope),
        rows=_whole(given, "rows", MOST_PIXELS),
        columns=_whole(given, "columns", MOST_PIXELS),
        region=_region(given.get("region")),
        window=_window(given),
        quality=read_quality(given.get("imageQuality"), "imageQuality"),
        annotations=annotations,
        unknown_annotations=tuple(unknown),
        is_anonymized="anonymize" in given,
        rendered_parameters=tuple(name for name in RENDERED if name in given),
    )


def rendering_of(asked: UriRequest, held: Held, media_type: str) -> Rendering:
    """Return how an image is to be rendered; raises InvalidQuery for a region of what has no known size."""
    return Rendering(
        media_type=media_type,
        quality=asked.quality,
        viewport=_viewport(asked, held),
        window=asked.window,
        annotations=asked.annotations,
    )


def _viewport(asked: UriRequest, held: Held) -> Viewport | None:
    """9.5.1.2.4: the size to fit in; one side alone, which older editions know, leaves the other open."""
    if asked.region is None:
        if asked.rows is None and asked.columns is None:
            return None
        return Viewport(asked.columns or MOST_PIXELS, asked.rows or MOST_PIXELS)
    if not (held.rows and held.columns):
        raise InvalidQuery("region: the size of the image is not known, so there is no part of it to show")
    x, y = asked.region.left * held.columns, asked.region.top * held.rows
    width, height = asked.region.right * held.columns - x, asked.region.bottom * held.rows - y
    if asked.rows is None and asked.columns is None:
        return Viewport(max(1, round(width)), max(1, round(height)), x, y, width, height)
    return Viewport(asked.columns or MOST_PIXELS, asked.rows or MOST_PIXELS, x, y, width, height)


def _uid(given: dict[str, str], name: str) -> str:
    if not UID.fullmatch(given[name]):
        raise InvalidQuery(f"{name} is no UID: digits and dots, at most 64 characters (PS3.5 9.1)")
    return given[name]


def _transfer_syntax(given: dict[str, str]) -> str | None:
    if "transferSyntax" not in given or given["transferSyntax"] == "*":
        return given.get("transferSyntax")
    return _uid(given, "transferSyntax")


def _presentation(given: dict[str, str], scope: int | None) -> Reference | None:
    """9.5.1.2.7: the series and the instance, both or none; they are of the same study."""
    names = ("presentationSeriesUID", "presentationUID")
    if not any(name in given for name in names):
        return None
    if not all(name in given for name in names):
        raise InvalidQuery("presentationSeriesUID and presentationUID are given together (PS3.18 9.5.1.2.7)")
    return Reference(_uid(given, "studyUID"), *(_uid(given, name) for name in names), scope=scope)


def _whole(given: dict[str, str], name: str, most: int = 10**9) -> int | None:
    text = given.get(name)
    if text is None:
        return None
    if not (_WHOLE.fullmatch(text) and 1 <= int(text) <= most):
        raise InvalidQuery(f"{name}={text}: {name} is a whole number from 1 to {most}")
    return int(text)


def _window(given: dict[str, str]) -> Window | None:
    """9.5.1.2.6: centre and width, both or none."""
    values = [given.get(name) for name in ("windowCenter", "windowWidth")]
    if values == [None, None]:
        return None
    if None in values:
        raise InvalidQuery("windowCenter and windowWidth are given together (PS3.18 9.5.1.2.6)")
    try:
        return read_window(f"{values[0]},{values[1]},linear")
    except InvalidQuery:
        raise InvalidQuery(
            f"windowCenter={values[0]}, windowWidth={values[1]}: both are numbers, the width 1 or more "
            "(PS3.18 9.5.1.2.6)"
        ) from None


def _region(text: str | None) -> Region | None:
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) == 4 and all(_FRACTION.fullmatch(part) and part.strip(".") for part in parts):
        region = Region(*(float(part) for part in parts))
        if region.left < region.right <= 1 and region.top < region.bottom <= 1:
            return region
    raise InvalidQuery(
        f"region={text}: region is xmin,ymin,xmax,ymax, each from 0.0 to 1.0, the smaller ones first "
        "(PS3.18 9.5.1.2.5)"
    )
