"""WADO-RS: retrieve studies, series, instances, their metadata, frames and bulk data (PS3.18 8.3.5, 10.4)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from http import HTTPStatus
from itertools import accumulate

from starlette.requests import Request
from starlette.responses import Response

from app.archive.archive import Archive
from app.archive.retrieve import (
    open_stored,
    retrieve_converted,
    retrieve_decoded_frames,
    retrieve_instance,
    retrieve_instances,
    retrieve_metadata,
)
from app.catalog.holdings import Held
from app.dicom.frames import Segment, bulk_segment, count_frames, frame_segments
from app.dicom.media_types import EXPLICIT_VR_LITTLE_ENDIAN, OCTET_STREAM
from app.errors import CagedFailure, InvalidQuery, NotConvertible, NotFound
from app.storage.interface import StoredFile
from app.web.body import FileRange, Source
from app.web.dependencies import archive_of, count_conversion, required_reference, run_read, service_root
from app.web.multipart import Part, multipart_response, single_part_response
from app.web.negotiation import DICOM_JSON, MediaRange, accepted, not_acceptable, require_json
from app.web.representations import DICOM, Form, frame_form, frame_syntax, instance_form, stored_frame_type

PIXEL_DATA = "7FE00010"


async def retrieve_metadata_json(request: Request) -> Response:
    """Retrieve the metadata of all instances of a study, series or instance as DICOM JSON (10.4.1.1.2)."""
    require_json(request, name="Metadata")
    documents = await run_read(request, retrieve_metadata, archive_of(request), required_reference(request))
    body = b"[" + b",".join(documents).replace(b"\x01", service_root(request).encode()) + b"]"
    return Response(body, media_type=DICOM_JSON)


async def retrieve_dicom(request: Request) -> Response:
    """Retrieve a study, series or instance as Part 10 files (10.4.1.1.1)."""
    ranges = accepted(request)
    reference = required_reference(request)
    archive = archive_of(request)
    instances = await run_read(request, retrieve_instances, archive, reference)
    single = _single_part(ranges)
    if single and reference.sop_instance_uid is None:
        raise not_acceptable(f'A study or a series is available as multipart/related; type="{DICOM}".')
    forms = [(held, form) for held in instances if (form := instance_form(held, ranges))]
    if not forms:
        raise not_acceptable(_dicom_forms(instances))
    if any(form != "stored" for _, form in forms):
        await count_conversion(request)
    root = service_root(request)
    if reference.sop_instance_uid is not None:
        part = await _instance_part(archive, root, *forms[0])
        if single:
            return single_part_response(part)
        return multipart_response(DICOM, [part])
    parts = [_later_instance_part(archive, root, held, form) for held, form in forms]
    response = multipart_response(DICOM, parts)
    if len(forms) < len(instances):
        response.status_code = HTTPStatus.PARTIAL_CONTENT
        left_out = f"{len(instances) - len(forms)} instances are not available in an accepted transfer syntax"
        response.headers["Warning"] = f"299 {root}: {left_out}"
    return response


def _single_part(ranges: list[MediaRange]) -> bool:
    """Whether the client prefers one bare application/dicom."""
    best = next((r for r in ranges if r.covers(DICOM)), None)
    return best is not None and not best.is_multipart and best.content_type == DICOM


def _dicom_forms(instances: list[Held]) -> str:
    syntaxes = sorted({held.transfer_syntax_uid for held in instances} | {EXPLICIT_VR_LITTLE_ENDIAN})
    return (
        f'There is multipart/related; type="{DICOM}" with transfer-syntax=* or one of {", ".join(syntaxes)}.'
    )


def location_of(root: str, held: Held) -> str:
    """Return the URL of an instance."""
    return (
        f"{root}/studies/{held.study_instance_uid}/series/{held.series_instance_uid}"
        f"/instances/{held.sop_instance_uid}"
    )


def _later_instance_part(archive: Archive, root: str, held: Held, form: Form) -> Part:
    """Return a part that is opened, or converted, when its turn comes."""
    content_type, length = DICOM, None
    if form == "stored":
        content_type = f"{DICOM}; transfer-syntax={held.transfer_syntax_uid}"
        length = len(held.prefix or b"") + held.size - held.offset
    return Part(content_type, _later(archive, held, form), length, location_of(root, held))


async def _later(archive: Archive, held: Held, form: Form) -> AsyncIterator[Source]:
    part = await _instance_part(archive, "", held, form)
    assert part.file is not None
    with closing(part.file):
        async for source in part.content:
            yield source


async def _instance_part(archive: Archive, root: str, held: Held, form: Form) -> Part:
    """Return a part that is ready to send, so that what fails does so before the answer begins."""
    if form != "stored":
        try:
            file = await asyncio.to_thread(retrieve_converted, archive, held)
        except (NotConvertible, CagedFailure):
            if form == "explicit":
                raise
        else:
            content_type = f"{DICOM}; transfer-syntax={EXPLICIT_VR_LITTLE_ENDIAN}"
            content = _pieces(FileRange(file, 0, file.size))
            return Part(content_type, content, file.size, location_of(root, held), file)
    file = open_stored(archive, held)
    prefix, length = held.prefix or b"", held.size - held.offset
    content = _pieces(prefix, FileRange(file, held.offset, length))
    content_type = f"{DICOM}; transfer-syntax={held.transfer_syntax_uid}"
    return Part(content_type, content, len(prefix) + length, location_of(root, held), file)


async def _pieces(*sources: Source) -> AsyncIterator[Source]:
    for source in sources:
        yield source


async def retrieve_frames(request: Request) -> Response:
    """Retrieve frames by number (10.4.1.1.6), in the order asked for."""
    numbers = frame_numbers(request.path_params["frames"])
    archive = archive_of(request)
    held = await run_read(request, retrieve_instance, archive, required_reference(request))
    if not held.frames:
        raise NotFound(f"The instance {held.sop_instance_uid} has no frames.")
    for media_range in accepted(request):
        form = frame_form(held, media_range)
        if form and (media_range.is_multipart or media_range.content_type == "*/*" or len(numbers) == 1):
            break
    else:
        raise not_acceptable(_frame_forms(held))
    location = f"{location_of(service_root(request), held)}/frames/"
    if form == "stored":
        parts = _stored_frames(archive, held, numbers, location)
    else:
        await count_conversion(request)
        parts = await _decoded_frames(archive, held, numbers, location)
    if not media_range.is_multipart and media_range.content_type != "*/*":
        return single_part_response(parts[0])
    return multipart_response(parts[0].content_type.partition(";")[0], parts)


def frame_numbers(text: str) -> list[int]:
    """Read a frame list; raises InvalidQuery for what is none."""
    numbers = text.split(",")
    if not all(number.isascii() and number.isdigit() and len(number) < 10 for number in numbers):
        raise InvalidQuery(f"frames/{text}: frames are named by numbers from 1, separated by commas")
    if "0" in {number.lstrip("0") or "0" for number in numbers}:
        raise InvalidQuery(f"frames/{text}: the first frame is number 1")
    return [int(number) for number in numbers]


def _frame_forms(held: Held) -> str:
    return (
        f'There is multipart/related with type="{stored_frame_type(held)}"; '
        f"transfer-syntax={frame_syntax(held)} (as stored, also for transfer-syntax=*), and "
        f'type="{OCTET_STREAM}" '
        f"with transfer-syntax={EXPLICIT_VR_LITTLE_ENDIAN} where the pixels can be decoded here."
    )


def _stored_frames(archive: Archive, held: Held, numbers: list[int], location: str) -> list[Part]:
    frames = [frame_segments(held.frames, number) for number in numbers]
    file = open_stored(archive, held)
    content_type = f"{stored_frame_type(held)}; transfer-syntax={frame_syntax(held)}"
    return [
        _range_part(content_type, file, segments, f"{location}{number}")
        for number, segments in zip(numbers, frames, strict=True)
    ]


async def _decoded_frames(archive: Archive, held: Held, numbers: list[int], location: str) -> list[Part]:
    lengths, file = await asyncio.to_thread(retrieve_decoded_frames, archive, held, numbers)
    content_type = f"{OCTET_STREAM}; transfer-syntax={EXPLICIT_VR_LITTLE_ENDIAN}"
    ends = accumulate(lengths)
    return [
        _range_part(content_type, file, (Segment(end - length, length),), f"{location}{number}")
        for number, length, end in zip(numbers, lengths, ends, strict=True)
    ]


def _range_part(content_type: str, file: StoredFile, segments: Sequence[Segment], location: str) -> Part:
    ranges = [FileRange(file, *segment) for segment in segments]
    return Part(content_type, _pieces(*ranges), sum(r.length for r in ranges), location, file)


async def retrieve_bulk_data(request: Request) -> Response:
    """Retrieve the value that a BulkDataURI of the metadata names (10.4.1.1.5)."""
    path = request.path_params["path"]
    archive = archive_of(request)
    held = await run_read(request, retrieve_instance, archive, required_reference(request))
    ranges = [media_range for media_range in accepted(request) if media_range.covers(OCTET_STREAM)]
    location = f"{location_of(service_root(request), held)}/bulkdata/{path}"
    if path == PIXEL_DATA and held.frames:
        return await _pixel_data(request, archive, held, location)
    segment = bulk_segment(held.bulk, path)
    if segment is None:
        raise NotFound(f"The instance {held.sop_instance_uid} has no bulk data at {path}.")
    if not ranges:
        raise not_acceptable(f"There is {OCTET_STREAM}, alone or in multipart/related.")
    part = _range_part(OCTET_STREAM, open_stored(archive, held), (segment,), location)
    return multipart_response(OCTET_STREAM, [part]) if ranges[0].is_multipart else single_part_response(part)


async def _pixel_data(request: Request, archive: Archive, held: Held, location: str) -> Response:
    """Return all frames, one in a part: 8.7.3 allows no fragments between them."""
    numbers = list(range(1, count_frames(held.frames) + 1))
    form = next((form for r in accepted(request) if (form := frame_form(held, r))), None)
    if form is None:
        raise not_acceptable(_frame_forms(held))
    if form == "stored":
        parts = _stored_frames(archive, held, numbers, f"{location}#")
    else:
        await count_conversion(request)
        parts = await _decoded_frames(archive, held, numbers, f"{location}#")
    return multipart_response(parts[0].content_type.partition(";")[0], parts)
