"""Rendered resources (PS3.18 8.3.5, 8.7.4, 10.4.1.1.3): pictures, films and texts, one or many."""

import asyncio
import functools
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from app.archive.archive import Archive
from app.archive.retrieve import retrieve_licensed
from app.archive.showing import Shown, all_frames, held_kind, made, media_types_of, shown_of, stored_content
from app.catalog.holdings import Held
from app.dicom.frames import count_frames
from app.dicom.rendering_options import GIF, Rendering
from app.errors import CagedFailure, InvalidQuery, NotConvertible, NotFound, NotLicensed
from app.web.body import FileRange, Source, each
from app.web.conditional import edition, precondition_answer, select_held
from app.web.dependencies import archive_of, required_reference, run_read, service_root
from app.web.frames import frame_numbers
from app.web.locations import asked_location, location_of
from app.web.multipart import Part, multipart_response
from app.web.negotiation import MediaRange, accepted
from app.web.partial import LeftOut, mark_partial
from app.web.ranges import single_part_answer
from app.web.rendered_limits import refuse_too_much
from app.web.rendered_parameters import as_media_type, read_rendering
from app.web.rendered_types import chosen_type, nothing_accepted, security_headers
from app.web.terms import on_terms, wanted_licences

RENDERED = "rendered"  # what an instance may be known not to be had as


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to send, and in which form."""

    shown: Shown
    rendering: Rendering
    media_range: MediaRange

    @property
    def path(self) -> str:
        """The end of its URL."""
        numbers = ",".join(str(number) for number in self.shown.numbers)
        return f"/frames/{numbers}/rendered" if self.shown.kind == "image" else "/rendered"

    @property
    def described(self) -> Held:
        """The instance that it is a representation of."""
        return self.shown.state or self.shown.held


async def retrieve_rendered(request: Request) -> Response:
    """Retrieve a study, series, instance or frames as pictures, films or texts (10.4.1.1.3)."""
    rendering, unknown = read_rendering(request)
    ranges = accepted(request)
    reference = required_reference(request)
    archive = archive_of(request)
    wanted = wanted_licences(request.query_params.multi_items())
    licensed, unlicensed = await run_read(request, retrieve_licensed, archive, reference)
    instances = on_terms(licensed, wanted)
    read = functools.partial(_items, request, archive, instances, rendering, ranges)
    # Of images nothing has to be read to know how they can be shown; a hop to a thread takes as long as they.
    are_images = all(held_kind(held) == "image" for held in instances)
    items, missing = read() if are_images else await asyncio.to_thread(read)
    unlicensed = unlicensed if wanted is None else 0  # then they are not asked for
    addressed = len(items) + missing + unlicensed
    left_out = LeftOut("instances", addressed, missing, 0, unlicensed)
    refuse_too_much([item.shown for item in items], rendering)
    held = [one for item in items for one in (item.shown.state, item.shown.held) if one is not None]
    forms = [(item.rendering.media_type, item.path) for item in items]
    wants_parts = items[0].media_range.is_multipart or len(items) > 1
    is_one, location = reference.sop_instance_uid is not None, asked_location(request)
    selected = select_held(held, wants_parts, *forms, edition(), location=location, is_instance=is_one)
    answer = precondition_answer(request, selected)
    if answer is not None:
        return answer
    root = service_root(request)
    if wants_parts:
        parts = [_later_part(archive, root, item) for item in items]
        answer = multipart_response(items[0].rendering.media_type, parts, selected)
        mark_partial(answer, root, left_out)
    else:
        is_made = request.method != "HEAD"
        part = (
            await rendered_part(archive, root, items[0]) if is_made else _later_part(archive, root, items[0])
        )
        answer = single_part_answer(request, part, selected)
    answer.headers.update(security_headers({item.rendering.media_type for item in items}))
    _warn_of(answer, root, unknown)
    return answer


def _warn_of(answer: Response, root: str, unknown: Sequence[str]) -> None:
    """Tell which annotation values are not supported (PS3.18 8.3.5.1.1)."""
    if unknown:
        warning = f"299 {root}: The following annotation values are not supported: {', '.join(unknown)}"
        answer.headers["Warning"] = ", ".join(filter(None, (answer.headers.get("Warning"), warning)))


def _items(
    request: Request,
    archive: Archive,
    instances: Sequence[Held],
    rendering: Rendering,
    ranges: list[MediaRange],
) -> tuple[list[Item], int]:
    """Return what is sent, each in the form that the client likes best, and how many are not.

    Raises 406 when nothing can be.
    """
    items: list[Item] = []
    left_out = 0
    types_there_are: list[str] = []
    is_one = "instance" in request.path_params
    for held in instances:
        types = media_types_of(archive, held)
        types_there_are += types
        chosen = chosen_type(ranges, types)
        if chosen is None or (not is_one and archive.unconvertible.knows(held.sha256, RENDERED)):
            left_out += 1
            continue
        try:
            found, missing = _shown(request, archive, held, chosen[0])
        except (NotFound, NotLicensed):
            if is_one:
                raise
            left_out += 1
            continue
        left_out += missing
        items += [Item(one, as_media_type(_fitting(one, rendering), chosen[0]), chosen[1]) for one in found]
    _refuse_none(request, instances, items, types_there_are)
    if len(items) > 1 and not all(
        one.media_range.is_multipart or one.media_range.media_type == "*/*" for one in items
    ):
        raise nothing_accepted(types_there_are, several=True)
    return items, left_out


def _shown(request: Request, archive: Archive, held: Held, media_type: str) -> tuple[list[Shown], int]:
    """Return the frames that the path names, or what stands for the whole instance."""
    listed = request.path_params.get("frames")
    if listed is None:
        found, missing = shown_of(archive, held)
        return [all_frames(one, media_type) for one in found], missing
    numbers = frame_numbers(listed)
    kind = held_kind(held)
    if kind != "image":
        raise NotFound(f"The instance {held.sop_instance_uid} has no frames that could be shown one by one.")
    count = count_frames(held.frames)
    for number in numbers:
        if number > count:
            raise NotFound(f"There is no frame {number}; the instance has {count}.")
    if media_type == GIF:
        return [Shown(held, kind, tuple(numbers))], 0
    return [Shown(held, kind, (number,)) for number in numbers], 0


def _fitting(shown: Shown, rendering: Rendering) -> Rendering:
    """Refuse what a presentation state has decided already (8.3.5.1.3, 8.3.5.1.4)."""
    if shown.state is None:
        return rendering
    if rendering.window is not None:
        raise InvalidQuery("window: a presentation state has windows of its own (PS3.18 8.3.5.1.4)")
    if rendering.viewport is not None and not rendering.viewport.shows_all:
        raise InvalidQuery(
            "viewport: of a presentation state only the size can be asked for, vw,vh; it has a displayed "
            "area of its own (PS3.18 8.3.5.1.3)"
        )
    return rendering


def _refuse_none(request: Request, instances: Sequence[Held], items: list[Item], types: list[str]) -> None:
    if items:
        return
    if types:
        raise nothing_accepted(types, several="instance" not in request.path_params)
    named = sorted({f"{held.sop_class_uid} in {held.transfer_syntax_uid}" for held in instances})
    raise NotConvertible(f"There is nothing to show of an instance of SOP class {'; '.join(named[:8])}.")


async def rendered_part(archive: Archive, root: str, item: Item) -> Part:
    """Return what is sent of an item: as it lies in the file, or made now."""
    media_type = item.rendering.media_type
    location = location_of(root, item.described) + item.path
    content_type = f"{media_type}; charset=utf-8" if item.shown.kind == "report" else media_type
    stored = stored_content(archive, item.shown, item.rendering)
    if stored is not None:
        file, segments = stored
        ranges = [FileRange(file, *segment) for segment in segments]
        return Part(content_type, ranges, sum(one.length for one in ranges), location, file)
    content = await asyncio.to_thread(made, archive, item.shown, item.rendering)
    return Part(content_type, [content], len(content), location)


def _later_part(archive: Archive, root: str, item: Item) -> Part:
    """Return a part that is made when its turn comes."""

    async def content() -> AsyncIterator[Source]:
        try:
            part = await rendered_part(archive, root, item)
        except (NotConvertible, CagedFailure):
            # The answer has begun, and ends here; the next one leaves it out.
            archive.unconvertible.note(item.described.sha256, RENDERED)
            raise
        try:
            async for source in each(part.content):
                yield source
        finally:
            if part.file is not None:
                part.file.close()

    return Part(item.rendering.media_type, content(), None, location_of(root, item.described) + item.path)
