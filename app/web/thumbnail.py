"""Thumbnails (PS3.18 10.4.1.1.4): one small picture for a study, series, instance or frame."""

import asyncio
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from app.archive.retrieve import image_of, retrieve_licensed
from app.archive.showing import held_kind
from app.archive.thumbnails import MOST_THUMBNAIL_SIZE, THUMBNAIL_SIZE, THUMBNAIL_TYPES, Thumbnails
from app.catalog.holdings import Held
from app.dicom.rendered_kinds import LABELS
from app.errors import InvalidQuery
from app.web.conditional import edition, precondition_answer, select_held
from app.web.dependencies import archive_of, required_reference, run_read, service_root
from app.web.frames import frame_numbers
from app.web.locations import location_of
from app.web.negotiation import accepted
from app.web.rendered_parameters import read_viewport
from app.web.rendered_types import chosen_type, nothing_accepted
from app.web.terms import on_terms, wanted_licences


async def retrieve_thumbnail(request: Request) -> Response:
    """Retrieve one small picture that stands for a study, series, instance or frame (10.4.1.1.4)."""
    width, height = _size(request)
    chosen = chosen_type(accepted(request), THUMBNAIL_TYPES)
    if chosen is None:
        raise nothing_accepted(THUMBNAIL_TYPES, several=False)
    media_type = chosen[0]
    archive, reference = archive_of(request), required_reference(request)
    wanted = wanted_licences(request.query_params.multi_items())
    licensed, _ = await run_read(request, retrieve_licensed, archive, reference)
    held = _representative(on_terms(licensed, wanted))
    number = frame_numbers(request.path_params["frames"])[0] if "frames" in request.path_params else 1
    location = f"{location_of(service_root(request), held)}/frames/{number}/thumbnail"
    form = (number, width, height, media_type, edition())
    selected = select_held([held], *form, location=location, is_instance="instance" in request.path_params)
    known = precondition_answer(request, selected)
    if known is not None:
        return known
    thumbnails: Thumbnails = request.app.state.thumbnails
    kind = held_kind(held)
    if kind == "image":
        image = image_of(archive, held)
        picture = await asyncio.to_thread(thumbnails.get, image, number, width, height, media_type)
    else:
        picture = await asyncio.to_thread(thumbnails.placeholder, LABELS[kind], width, height, media_type)
    return Response(picture, media_type=media_type, headers=selected.headers)


def _representative(instances: Sequence[Held]) -> Held:
    """Return the first image, or the first of all where there is none."""
    return next((held for held in instances if held_kind(held) == "image"), instances[0])


def _size(request: Request) -> tuple[int, int]:
    given = request.query_params.getlist("viewport")
    if len(given) > 1:
        raise InvalidQuery("The parameter viewport is given more than once.")
    viewport = read_viewport(given[0] if given else None, size_alone=True)
    if viewport is None:
        return THUMBNAIL_SIZE, THUMBNAIL_SIZE
    return min(viewport.width, MOST_THUMBNAIL_SIZE), min(viewport.height, MOST_THUMBNAIL_SIZE)
