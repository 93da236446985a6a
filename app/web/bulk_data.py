"""Bulk data: the values that a BulkDataURI names, and all those of a resource (PS3.18 10.4.1.1.5).

A value goes out as the file has it, in one part. Encapsulated Pixel Data goes out as its frames, one in a
part and without the delimiters between fragments (8.7.3), or decoded as one value of octets.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from app.archive.archive import Archive
from app.archive.retrieve import (
    open_file,
    open_stored,
    readable_instances,
    retrieve_instance,
    retrieve_instances,
)
from app.archive.terms import PIXELS, holds_pixels, licensed_among, require_terms
from app.catalog.holdings import Held
from app.dicom.frames import Segment, bulk_paths, bulk_segment, count_frames, frame_segments
from app.dicom.media_types import EXPLICIT_VR_LITTLE_ENDIAN, OCTET_STREAM
from app.errors import CagedFailure, NotConvertible, NotFound
from app.storage.interface import StoredFile
from app.web.body import FileRange, Source, each
from app.web.conditional import precondition_answer, select_held
from app.web.dependencies import archive_of, count_conversion, required_reference, run_read, service_root
from app.web.frames import (
    converted_frames,
    form_key,
    frame_content_type,
    frame_forms,
    frame_parts,
    range_part,
)
from app.web.locations import asked_location, location_of
from app.web.multipart import Part, multipart_response
from app.web.negotiation import MediaRange, accepted, not_acceptable
from app.web.partial import LeftOut, mark_partial, refuse_nothing
from app.web.ranges import range_of_part, single_part_answer
from app.web.representations import STORED, Form, frame_form, frame_syntax, stored_frame_type
from app.web.terms import on_terms, wanted_licences

PIXEL_DATA = "7FE00010"

# A value that is a range of the file goes out as it is; frames in a form of web/representations.py.
OCTETS: Final = "octets"
_JOINED = frozenset({OCTETS, EXPLICIT_VR_LITTLE_ENDIAN})  # one value, whatever it has of frames


@dataclass(frozen=True, slots=True)
class Value:
    """One bulk value of an instance: a range of its file or, if its pixels are encapsulated, its frames."""

    held: Held
    path: str

    @property
    def segment(self) -> Segment | None:
        """Where it lies in the file; None for frames."""
        return bulk_segment(self.held.bulk, self.path)

    @property
    def exists(self) -> bool:
        """Whether the instance has it."""
        return self.segment is not None or (self.path == PIXEL_DATA and bool(self.held.frames))

    def form(self, media_range: MediaRange) -> Form | None:
        """Return the form in which it is sent to who asks for a media range; None where there is none."""
        is_native = media_range.transfer_syntax in {None, "*", EXPLICIT_VR_LITTLE_ENDIAN}
        if self.segment is not None and is_native and media_range.covers(OCTET_STREAM):
            return OCTETS
        return frame_form(self.held, media_range) if self.path == PIXEL_DATA and self.held.frames else None

    def parts(self, form: Form) -> int:
        """How many parts it takes."""
        return 1 if form in _JOINED else count_frames(self.held.frames)

    def open(self, archive: Archive) -> StoredFile:
        """Open the file that it is a range of; raises NotLicensed or InstanceUnavailable."""
        return (open_stored if holds_pixels(self.path) else open_file)(archive, self.held)

    def location(self, root: str) -> str:
        """Return its BulkDataURI."""
        return f"{location_of(root, self.held)}/bulkdata/{self.path}"


async def retrieve_bulk_data(request: Request) -> Response:
    """Retrieve the value that a BulkDataURI of the metadata names, or a range of it (10.4.1.1.5)."""
    wanted = wanted_licences(request.query_params.multi_items())
    held = await run_read(request, retrieve_instance, archive_of(request), required_reference(request))
    on_terms([held], wanted)
    value = Value(held, request.path_params["path"])
    if not value.exists:
        raise NotFound(f"The instance {held.sop_instance_uid} has no bulk data at {value.path}.")
    if holds_pixels(value.path):
        require_terms(archive_of(request).settings, held)
    return await _one_value(request, value)


async def retrieve_all_bulk_data(request: Request) -> Response:
    """Retrieve all bulk data of a study, series or instance, one value after the other (10.4.1.1.5)."""
    return await _all_values(request, lambda _path: True, "bulk data")


async def retrieve_pixel_data(request: Request) -> Response:
    """Retrieve the pixel data of a study, series or instance (10.4.1.1.5)."""
    return await _all_values(request, lambda path: path in PIXELS, "pixel data")


async def _one_value(request: Request, value: Value) -> Response:
    for media_range in accepted(request):
        form = value.form(media_range)
        is_single = not media_range.is_multipart and (form in _JOINED or media_range.content_type != "*/*")
        if form and (not is_single or value.parts(form) == 1):
            break
    else:
        raise not_acceptable(_forms(value))
    location = value.location(service_root(request))
    selected = select_held([value.held], *form_key(form), is_single, location=location)
    known = precondition_answer(request, selected)
    if known:
        return known
    parts = await _value_parts(request, value, form, location)
    if is_single:
        return single_part_answer(request, parts[0], selected)
    if len(parts) > 1:
        return multipart_response(_root_type(parts), parts, selected)
    part = range_of_part(request, parts[0], selected)
    if isinstance(part, Response):
        return part
    response = multipart_response(_root_type(parts), [part], selected)
    response.status_code = 206 if part.content_range else 200
    return response


def _root_type(parts: Sequence[Part]) -> str:
    return parts[0].content_type.partition(";")[0]


def _forms(value: Value) -> str:
    if value.segment is None:
        return frame_forms(value.held)
    return f"There is {OCTET_STREAM}, alone or in multipart/related."


async def _value_parts(request: Request, value: Value, form: Form, location: str) -> list[Part]:
    if form == OCTETS and value.segment is not None:
        file = value.open(archive_of(request))
        return [range_part(OCTET_STREAM, file, (value.segment,), location)]
    numbers = list(range(1, count_frames(value.held.frames) + 1))
    parts = await frame_parts(request, value.held, numbers, form, f"{location}#")
    return [_joined(parts, location)] if form in _JOINED else parts


def _joined(parts: Sequence[Part], location: str) -> Part:
    """Return decoded frames, which follow one another in one file, as one value."""
    lengths = [part.length for part in parts if part.length is not None]
    content = [source for part in parts if isinstance(part.content, Sequence) for source in part.content]
    length = sum(lengths) if len(lengths) == len(parts) else None
    return Part(parts[0].content_type, content, length, location, parts[0].file)


async def _all_values(request: Request, is_wanted: Callable[[str], bool], name: str) -> Response:
    archive, reference = archive_of(request), required_reference(request)
    wanted = wanted_licences(request.query_params.multi_items())
    instances = on_terms(await run_read(request, retrieve_instances, archive, reference), wanted)
    values = [value for held in instances for value in _values(held) if is_wanted(value.path)]
    if not values:
        raise NotFound(f"There is no {name} in {reference}.")
    addressed, values = len(values), _licensed(archive, values)
    if addressed == 1 and reference.sop_instance_uid is not None:
        return await _one_value(request, values[0])
    ranges = [r for r in accepted(request) if r.is_multipart or r.content_type == "*/*"]
    formed = [(value, form) for value in values if (form := _best(archive, value, ranges))]
    if not formed:
        raise not_acceptable("Several values are available as multipart/related. " + _forms(values[0]))
    readable = await asyncio.to_thread(readable_instances, archive, [value.held for value, _ in formed])
    sent = [(value, form) for value, form in formed if value.held.sop_instance_uid in readable]
    unlicensed, unreadable = addressed - len(values), len(formed) - len(sent)
    if wanted is not None:  # what may not be served is not asked for
        addressed, unlicensed = len(values), 0
    left_out = LeftOut("bulk values", addressed, len(values) - len(formed), unreadable, unlicensed)
    refuse_nothing(left_out)
    return await _values_answer(request, sent, left_out)


def _values(held: Held) -> list[Value]:
    paths = bulk_paths(held.bulk)
    if held.frames and PIXELS.isdisjoint(paths):
        paths.append(PIXEL_DATA)
    return [Value(held, path) for path in paths]


def _licensed(archive: Archive, values: Sequence[Value]) -> list[Value]:
    """Return those that may be served; raises NotLicensed when there are none."""
    licensed = {
        held.sop_instance_uid for held in licensed_among(archive.settings, [value.held for value in values])
    }
    found = [v for v in values if v.held.sop_instance_uid in licensed or not holds_pixels(v.path)]
    if not found:
        require_terms(archive.settings, values[0].held)
    return found


def _best(archive: Archive, value: Value, ranges: Sequence[MediaRange]) -> Form | None:
    forms = [form for media_range in ranges if (form := value.form(media_range))]
    return next((f for f in forms if not archive.unconvertible.knows(value.held.sha256, f"frames {f}")), None)


async def _values_answer(request: Request, sent: Sequence[tuple[Value, Form]], left_out: LeftOut) -> Response:
    forms = [(value.path, *form_key(form)) for value, form in sent]
    selected = select_held(
        [value.held for value, _ in sent],
        *forms,
        location=asked_location(request),
        is_instance="instance" in request.path_params,
    )
    known = precondition_answer(request, selected)
    if known:
        return known
    if request.method != "HEAD" and any(form not in {OCTETS, STORED} for _, form in sent):
        await count_conversion(request)
    root = service_root(request)
    parts = [part for value, form in sent for part in _later_parts(archive_of(request), root, value, form)]
    return mark_partial(multipart_response(_root_type(parts), parts, selected), root, left_out)


def _later_parts(archive: Archive, root: str, value: Value, form: Form) -> list[Part]:
    """Return parts whose file is opened, or whose frames are decoded, when their turn comes."""
    location, held, segment = value.location(root), value.held, value.segment
    if form == OCTETS and segment is not None:
        return [_later_part(archive, value, OCTET_STREAM, (segment,), location)]
    numbers = range(1, count_frames(held.frames) + 1)
    if form in _JOINED:
        return [
            Part(frame_content_type(form), _converted_later(archive, held, numbers, form), None, location)
        ]
    if form != STORED:
        return [
            Part(
                frame_content_type(form),
                _converted_later(archive, held, [number], form),
                None,
                f"{location}#{number}",
            )
            for number in numbers
        ]
    content_type = f"{stored_frame_type(held)}; transfer-syntax={frame_syntax(held)}"
    return [
        _later_part(archive, value, content_type, frame_segments(held.frames, number), f"{location}#{number}")
        for number in numbers
    ]


def _later_part(
    archive: Archive, value: Value, content_type: str, segments: Sequence[Segment], location: str
) -> Part:
    length = sum(segment.length for segment in segments)
    return Part(content_type, _opened_later(archive, value, segments), length, location)


async def _opened_later(
    archive: Archive, value: Value, segments: Sequence[Segment]
) -> AsyncGenerator[Source]:
    with value.open(archive) as file:
        for segment in segments:
            yield FileRange(file, *segment)


async def _converted_later(
    archive: Archive, held: Held, numbers: Iterable[int], form: Form
) -> AsyncGenerator[Source]:
    try:
        parts = await converted_frames(archive, held, list(numbers), "", form)
    except (NotConvertible, CagedFailure):
        archive.unconvertible.note(held.sha256, f"frames {form}")
        raise
    assert parts[0].file is not None
    with parts[0].file:
        for part in parts:
            async for source in each(part.content):
                yield source
