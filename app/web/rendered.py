"""Rendered resources and thumbnails (PS3.18 8.3.5, 8.7.4, 10.4.1.1.3, 10.4.1.1.4), as JPEG."""

import asyncio
import re
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import cast, get_args

from starlette.requests import Request
from starlette.responses import Response

from app.archive.archive import Archive
from app.archive.render import THUMBNAIL_SIZE, Thumbnails, is_rendered_as_stored, rendered_frame
from app.archive.retrieve import image_of, open_stored, retrieve_instances
from app.catalog.holdings import Held
from app.dicom.frames import frame_segments
from app.dicom.grayscale import Function, Window
from app.dicom.rendering import RenderedParameters, Viewport
from app.errors import InvalidQuery, NotFound
from app.web.body import FileRange, Source, each
from app.web.dependencies import archive_of, required_reference, run_read, service_root
from app.web.errors import RequestError
from app.web.frames import frame_numbers
from app.web.locations import location_of
from app.web.multipart import Part, multipart_response, single_part_response
from app.web.negotiation import MediaRange, accepted, not_acceptable

JPEG = "image/jpeg"
MOST_PIXELS = 16384  # of a viewport's side
UNSUPPORTED = ("annotation",)

_NUMBER = re.compile(r"-?\d{1,6}(\.\d+)?")


async def retrieve_rendered(request: Request) -> Response:
    """Retrieve the images of a resource as JPEG; of one with several frames the first, or those named."""
    media_range = _accepted_jpeg(request)
    parameters = _rendered_parameters(request)
    archive = archive_of(request)
    images = await _images(request)
    if "frames" in request.path_params:
        numbered = [(images[0], number) for number in frame_numbers(request.path_params["frames"])]
    else:
        numbered = [(held, 1) for held in images]
    root = service_root(request)
    wants_parts = media_range.is_multipart or (media_range.content_type == "*/*" and len(numbered) > 1)
    if wants_parts:
        return multipart_response(JPEG, [_later_part(archive, root, *one, parameters) for one in numbered])
    if len(numbered) > 1:
        raise not_acceptable(f'Several images are available as multipart/related; type="{JPEG}".')
    return single_part_response(await _part(archive, root, *numbered[0], parameters))


async def retrieve_thumbnail(request: Request) -> Response:
    """Retrieve one small image that stands for a study, series, instance or frame."""
    _accepted_jpeg(request)
    viewport = _viewport(request.query_params.get("viewport"), is_thumbnail=True)
    archive = archive_of(request)
    held = (await _images(request))[0]
    number = frame_numbers(request.path_params["frames"])[0] if "frames" in request.path_params else 1
    width, height = (viewport.width, viewport.height) if viewport else (THUMBNAIL_SIZE, THUMBNAIL_SIZE)
    thumbnails: Thumbnails = request.app.state.thumbnails
    location = f"{location_of(service_root(request), held)}/frames/{number}/thumbnail"
    picture = await asyncio.to_thread(thumbnails.get, image_of(archive, held), number, width, height)
    return Response(picture, media_type=JPEG, headers={"Content-Location": location})


async def _images(request: Request) -> list[Held]:
    """Return the instances that have frames; raises NotFound when there is none."""
    reference = required_reference(request)
    instances = await run_read(request, retrieve_instances, archive_of(request), reference)
    images = [held for held in instances if held.frames]
    if not images:
        raise NotFound(f"There is no image to show in {reference}.")
    return images


def _accepted_jpeg(request: Request) -> MediaRange:
    for media_range in accepted(request):
        if media_range.covers(JPEG):
            return media_range
    raise not_acceptable(f"Rendered images are available as {JPEG}.")


async def _part(archive: Archive, root: str, held: Held, number: int, parameters: RenderedParameters) -> Part:
    image = image_of(archive, held)
    location = f"{location_of(root, held)}/frames/{number}/rendered"
    if is_rendered_as_stored(image, parameters):
        ranges = [FileRange(open_stored(archive, held), *s) for s in frame_segments(held.frames, number)]
        return Part(JPEG, ranges, sum(r.length for r in ranges), location, ranges[0].file)
    picture = await asyncio.to_thread(rendered_frame, archive.cage, image, number, parameters)
    return Part(JPEG, [picture], len(picture), location)


def _later_part(archive: Archive, root: str, held: Held, number: int, parameters: RenderedParameters) -> Part:
    async def content() -> AsyncIterator[Source]:
        part = await _part(archive, root, held, number, parameters)
        try:
            async for source in each(part.content):
                yield source
        finally:
            if part.file is not None:
                part.file.close()

    return Part(JPEG, content(), None, f"{location_of(root, held)}/frames/{number}/rendered")


def _rendered_parameters(request: Request) -> RenderedParameters:
    given = request.query_params
    for name in UNSUPPORTED:
        if name in given:
            raise RequestError(
                HTTPStatus.NOT_IMPLEMENTED,
                f"The parameter {name} is not supported by this server; leave it out.",
            )
    profile = given.get("iccprofile", "yes")
    if profile not in {"yes", "no"}:
        raise RequestError(
            HTTPStatus.NOT_IMPLEMENTED,
            f"iccprofile={profile} is not supported by this server: yes and no are.",
        )
    return RenderedParameters(
        quality=_quality(given.get("quality")),
        viewport=_viewport(given.get("viewport"), is_thumbnail=False),
        window=_window(given.get("window")),
        icc_profile=profile == "yes",
    )


def _quality(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 100):
        raise InvalidQuery(f"quality={text}: quality is a whole number from 1 to 100 (PS3.18 8.3.5.1.2)")
    return int(text)


def _window(text: str | None) -> Window | None:
    """Read `center,width,function`, all three of them (8.3.5.1.4)."""
    if text is None:
        return None
    center, width, function = (*text.split(","), "", "", "")[:3]
    if (
        text.count(",") != 2
        or not (_NUMBER.fullmatch(center) and _NUMBER.fullmatch(width))
        or function not in get_args(Function)
        or float(width) < (1 if function == "linear" else 0.001)  # PS3.3 C.11.2.1.2.1, C.11.2.1.3
    ):
        functions = ", ".join(get_args(Function))
        raise InvalidQuery(f"window={text}: window is center,width,function, with a function of {functions}")
    return Window(float(center), float(width), cast("Function", function))


def _viewport(text: str | None, *, is_thumbnail: bool) -> Viewport | None:
    """Read `vw,vh[,sx,sy,sw,sh]`; source values may be left out, as in `256,256,,,100,100` (8.3.5.1.3)."""
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) not in ({2} if is_thumbnail else {2, 6}) or any(
        p and not _NUMBER.fullmatch(p) for p in parts
    ):
        shape = "vw,vh" if is_thumbnail else "vw,vh or vw,vh,sx,sy,sw,sh"
        raise InvalidQuery(f"viewport={text}: viewport is {shape}, in pixels (PS3.18 8.3.5.1.3)")
    width, height = (float(p or 0) for p in parts[:2])
    if not (1 <= width <= MOST_PIXELS and 1 <= height <= MOST_PIXELS):
        raise InvalidQuery(f"viewport={text}: a width and height from 1 to {MOST_PIXELS} are needed")
    if len(parts) == 2:
        return Viewport(int(width), int(height))
    x, y, source_width, source_height = (int(float(p)) if p else None for p in parts[2:])
    if (x or 0) < 0 or (y or 0) < 0 or source_width == 0 or source_height == 0:
        raise InvalidQuery(f"viewport={text}: the source region is empty or outside the image")
    return Viewport(int(width), int(height), x or 0, y or 0, source_width, source_height)
