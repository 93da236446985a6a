"""The URI Service, WADO-URI (PS3.18 chapter 9): one instance by query parameters, as DICOM or rendered."""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from app.archive.archive import Archive
from app.archive.presentation_states import presented_images
from app.archive.retrieve import retrieve_instance, retrieve_metadata
from app.archive.showing import Shown, all_frames, held_kind, media_types_of
from app.archive.terms import require_terms
from app.catalog.holdings import Held
from app.dicom.frames import count_frames
from app.dicom.rendering_options import Rendering
from app.dicom.scan import ROOT
from app.errors import InvalidQuery
from app.web.conditional import content_answer, edition, precondition_answer, select_held
from app.web.dependencies import archive_of, count_conversion, run_read, scope_of, service_root
from app.web.errors import RequestError
from app.web.locations import asked_location
from app.web.negotiation import DICOM_JSON, MediaRange, not_acceptable, parse_accept
from app.web.ranges import single_part_answer
from app.web.rendered import Item, rendered_part
from app.web.rendered_limits import refuse_too_much
from app.web.rendered_types import chosen_type, security_headers
from app.web.representations import DICOM, instance_form
from app.web.terms import on_terms, wanted_licences
from app.web.uri_parameters import UriRequest, read_uri_request, rendering_of
from app.web.wado import Sent, instance_part

URI_PATH = "/wado"


async def retrieve_by_uri(request: Request) -> Response:
    """Retrieve one instance that query parameters name, as DICOM or as a picture, film or text (9.4, 9.5)."""
    asked = read_uri_request(request.query_params.multi_items(), scope_of(request))
    if asked.is_anonymized:
        raise RequestError(
            HTTPStatus.NOT_ACCEPTABLE,
            "anonymize=yes: this server does not de-identify what it sends, and does not send anything else "
            "in its place. Leave the parameter out to have the instance as it is held.",
        )
    archive = archive_of(request)
    wanted = wanted_licences(request.query_params.multi_items())
    held = await run_read(request, retrieve_instance, archive, asked.reference)
    on_terms([held], wanted)
    types = await asyncio.to_thread(media_types_of, archive, held)
    media_type = _media_type(request, asked, types)
    if media_type not in types:
        _refuse_rendered_parameters(asked, media_type)
    elif asked.transfer_syntax is not None:
        raise InvalidQuery(f"transferSyntax is for {DICOM}, and not for {media_type} (PS3.18 9.5)")
    if media_type != DICOM_JSON:
        require_terms(archive.settings, held)
    if media_type == DICOM:
        return await _dicom_answer(request, archive, asked, held)
    if media_type == DICOM_JSON:
        (document,) = await run_read(request, retrieve_metadata, archive, asked.reference)
        body = b"[" + document.replace(ROOT, service_root(request).encode()) + b"]"
        return content_answer(request, body, DICOM_JSON, asked_location(request))
    return await _rendered_answer(request, archive, asked, held, media_type)


def _media_type(request: Request, asked: UriRequest, types: Sequence[str]) -> str:
    """9.1.2.2.1, 9.3: `contentType` goes before `Accept`; for `*/*` what is shown by default, else DICOM.

    Viewers name application/dicom with an Accept of multiparts, which this service has none of.
    """
    given = [asked.content_type] if asked.content_type else request.headers.getlist("accept")
    ranges = parse_accept(given) or [MediaRange("*/*")]
    offered = (*types, DICOM, DICOM_JSON)
    names_dicom = [one for one in ranges if one.content_type in {DICOM, DICOM_JSON}]
    names_rendered = [one for one in ranges if one.content_type in types and not one.is_multipart]
    if asked.content_type and names_dicom and names_rendered:
        raise InvalidQuery(
            f"contentType={asked.content_type}: one request asks for DICOM or for a rendered media type "
            "(PS3.18 8.3.3.1)"
        )
    chosen = chosen_type(ranges, offered)
    if chosen is None:
        raise not_acceptable(f"There is {', '.join(offered)}.")
    return chosen[0]


def _refuse_rendered_parameters(asked: UriRequest, media_type: str) -> None:
    if asked.rendered_parameters:
        names = ", ".join(asked.rendered_parameters)
        raise InvalidQuery(f"{names}: for rendered media types, and not for {media_type} (PS3.18 9.4.1.2)")


async def _dicom_answer(request: Request, archive: Archive, asked: UriRequest, held: Held) -> Response:
    """9.4: without `transferSyntax` Explicit VR Little Endian, `*` as stored."""
    syntax = asked.transfer_syntax
    form = instance_form(held, [MediaRange(DICOM, {"transfer-syntax": syntax} if syntax else {})])
    if form is None:
        raise not_acceptable(
            f"transferSyntax={syntax}: the instance is held in {held.transfer_syntax_uid}, and cannot be had "
            "in this one. Explicit VR Little Endian is the default, * is as it is held."
        )
    form_name = form if form == "stored" else f"{form} {edition()}"
    selected = select_held([held], "uri", form_name, location=asked_location(request))
    known = precondition_answer(request, selected)
    if known:
        return known
    if form != "stored":
        await count_conversion(request)
    part = await instance_part(archive, service_root(request), Sent(held, form))
    return single_part_answer(request, part, selected)


async def _rendered_answer(
    request: Request, archive: Archive, asked: UriRequest, held: Held, media_type: str
) -> Response:
    """9.5: the parameters are those of rendered resources under older names."""
    rendering = rendering_of(asked, held, media_type)
    shown = await asyncio.to_thread(_shown, archive, asked, held, rendering)
    refuse_too_much([shown], rendering)
    of = [one for one in (shown.state, shown.held) if one is not None]
    location = asked_location(request)
    selected = select_held(of, "uri", media_type, shown.numbers, edition(), location=location)
    known = precondition_answer(request, selected)
    if known:
        return known
    await request.app.state.limits.admit(request, "render")
    item = Item(shown, rendering, MediaRange(media_type))
    part = await rendered_part(archive, service_root(request), item)
    answer = single_part_answer(request, part, selected)
    answer.headers.update(security_headers({media_type}))
    if asked.unknown_annotations:
        names = ", ".join(asked.unknown_annotations)
        answer.headers["Warning"] = (
            f"299 {service_root(request)}: The following annotation values are not supported: {names}"
        )
    return answer


def _shown(archive: Archive, asked: UriRequest, held: Held, rendering: Rendering) -> Shown:
    """Return the frame asked for, as the presentation state asked for has it."""
    kind = held_kind(held)
    count = count_frames(held.frames) if held.frames else 1
    if asked.frame_number is not None and (kind != "image" or asked.frame_number > count):
        raise InvalidQuery(f"frameNumber={asked.frame_number}: the instance has {count} (PS3.18 9.5.2)")
    if asked.presentation is None:
        if asked.frame_number is not None:
            return Shown(held, kind, (asked.frame_number,))
        return all_frames(Shown(held, kind), rendering.media_type)
    if asked.window is not None or asked.region is not None:
        raise InvalidQuery("A presentation state has windows and a displayed area of its own: leave them out")
    state = retrieve_instance(archive, asked.presentation)
    if held_kind(state) != "presentation":
        raise InvalidQuery(
            f"presentationUID={state.sop_instance_uid}: this is no presentation state to apply"
        )
    for found in presented_images(archive, state)[0]:
        is_this = found.image.sop_instance_uid == held.sop_instance_uid
        if is_this and asked.frame_number in {None, found.number}:
            return Shown(found.image, "presentation", (found.number,), state)
    raise InvalidQuery(
        f"presentationUID={state.sop_instance_uid}: this presentation state is not about the image asked for"
    )
