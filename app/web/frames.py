"""Frames by number, as stored or decoded (PS3.18 10.4.1.1.6)."""

import asyncio
from collections.abc import Sequence
from itertools import accumulate

from starlette.requests import Request
from starlette.responses import Response

from app.archive.archive import Archive
from app.archive.retrieve import open_stored, retrieve_converted_frames, retrieve_licensed_instance
from app.catalog.holdings import Held
from app.dicom.frames import Segment, count_frames, frame_segments
from app.dicom.media_types import pixel_media_type
from app.errors import InvalidQuery, NotFound
from app.storage.interface import StoredFile
from app.web.body import FileRange
from app.web.conditional import Selected, edition, precondition_answer, select_held
from app.web.dependencies import archive_of, count_conversion, required_reference, run_read, service_root
from app.web.locations import location_of
from app.web.multipart import Part, multipart_response
from app.web.negotiation import accepted, not_acceptable
from app.web.ranges import single_part_answer
from app.web.representations import (
    STORED,
    Form,
    available_syntaxes,
    frame_form,
    frame_syntax,
    stored_frame_type,
)
from app.web.terms import on_terms, wanted_licences


async def retrieve_frames(request: Request) -> Response:
    """Retrieve frames by number (10.4.1.1.6), in the order asked for; all of them where none is named."""
    named = request.path_params.get("frames")
    numbers = frame_numbers(named) if named is not None else None
    archive = archive_of(request)
    wanted = wanted_licences(request.query_params.multi_items())
    held = await run_read(request, retrieve_licensed_instance, archive, required_reference(request))
    on_terms([held], wanted)
    if not held.frames:
        raise NotFound(f"The instance {held.sop_instance_uid} has no frames.")
    count = count_frames(held.frames)
    numbers = numbers or list(range(1, count + 1))
    if max(numbers) > count:
        raise NotFound(f"There is no frame {max(numbers)}; the instance has {count}.")
    for media_range in accepted(request):
        form = frame_form(held, media_range)
        if form and (media_range.is_multipart or media_range.content_type == "*/*" or len(numbers) == 1):
            break
    else:
        raise not_acceptable(frame_forms(held))
    is_single = not media_range.is_multipart and media_range.content_type != "*/*"
    location = f"{location_of(service_root(request), held)}/frames"
    listed = f"{location}/{','.join(map(str, numbers))}" if named is not None else location
    selected = select_held([held], *form_key(form), is_single, location=listed)
    return precondition_answer(request, selected) or await _frames_answer(
        request, held, numbers, form, selected, is_single=is_single
    )


async def _frames_answer(
    request: Request, held: Held, numbers: list[int], form: Form, selected: Selected, *, is_single: bool
) -> Response:
    location = f"{location_of(service_root(request), held)}/frames/"
    parts = await frame_parts(request, held, numbers, form, location)
    if is_single:
        return single_part_answer(request, parts[0], selected)
    return multipart_response(parts[0].content_type.partition(";")[0], parts, selected)


def form_key(form: Form) -> tuple[str, ...]:
    """Return what a form depends on besides the bytes of the file: what is made here, on who made it."""
    return (form,) if form == STORED else (form, edition())


async def frame_parts(
    request: Request, held: Held, numbers: list[int], form: Form, location: str
) -> list[Part]:
    """Return frames in a form, one a part; raises NotFound, NotConvertible or CagedFailure."""
    archive = archive_of(request)
    if form == STORED:
        return stored_frames(archive, held, numbers, location)
    if request.method == "HEAD":
        # 9.3.2: a length that only making the frames would tell is left out.
        content_type = frame_content_type(form)
        return [Part(content_type, [], None, f"{location}{number}") for number in numbers]
    await count_conversion(request)
    return await converted_frames(archive, held, numbers, location, form)


def frame_numbers(text: str) -> list[int]:
    """Read a frame list; raises InvalidQuery for what is none."""
    numbers = text.split(",")
    if not all(number.isascii() and number.isdigit() and len(number) < 10 for number in numbers):
        raise InvalidQuery(f"frames/{text}: frames are named by numbers from 1, separated by commas")
    if "0" in {number.lstrip("0") or "0" for number in numbers}:
        raise InvalidQuery(f"frames/{text}: the first frame is number 1")
    return [int(number) for number in numbers]


def frame_forms(held: Held) -> str:
    """Return what a refusal says there is."""
    others = ", ".join(uid for uid in available_syntaxes(held) if uid != frame_syntax(held))
    return (
        f'There is multipart/related with type="{stored_frame_type(held)}"; '
        f"transfer-syntax={frame_syntax(held)} (as stored, also for transfer-syntax=*)"
        + (f", and with the media types of the transfer syntaxes {others}." if others else ".")
    )


def stored_frames(archive: Archive, held: Held, numbers: list[int], location: str) -> list[Part]:
    """Return frames as they lie in the file, one a part; raises NotFound for one that is not there."""
    frames = [frame_segments(held.frames, number) for number in numbers]
    file = open_stored(archive, held)
    content_type = f"{stored_frame_type(held)}; transfer-syntax={frame_syntax(held)}"
    return [
        range_part(content_type, file, segments, f"{location}{number}")
        for number, segments in zip(numbers, frames, strict=True)
    ]


def frame_content_type(transfer_syntax_uid: str) -> str:
    """Return what the header of a part says of a frame in a transfer syntax."""
    return f"{pixel_media_type(transfer_syntax_uid)}; transfer-syntax={transfer_syntax_uid}"


async def converted_frames(
    archive: Archive, held: Held, numbers: list[int], location: str, transfer_syntax_uid: str
) -> list[Part]:
    """Return frames in another transfer syntax, one a part; raises NotFound for one that is not there."""
    once = sorted(set(numbers))
    lengths, file = await asyncio.to_thread(
        retrieve_converted_frames, archive, held, once, transfer_syntax_uid
    )
    content_type = frame_content_type(transfer_syntax_uid)
    places = {
        number: Segment(end - length, length)
        for number, length, end in zip(once, lengths, accumulate(lengths), strict=True)
    }
    return [range_part(content_type, file, (places[number],), f"{location}{number}") for number in numbers]


def range_part(content_type: str, file: StoredFile, segments: Sequence[Segment], location: str) -> Part:
    """Return ranges of a file that follow one another as one part."""
    ranges = [FileRange(file, *segment) for segment in segments]
    return Part(content_type, ranges, sum(r.length for r in ranges), location, file)
