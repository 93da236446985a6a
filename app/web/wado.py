"""WADO-RS: retrieve studies, series and instances as Part 10 files (PS3.18 10.4.1.1.1)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from app.archive.archive import Archive
from app.archive.retrieve import open_stored, retrieve_converted, retrieve_instances
from app.catalog.holdings import Held
from app.dicom.media_types import EXPLICIT_VR_LITTLE_ENDIAN
from app.errors import CagedFailure, NotConvertible
from app.web.body import FileRange, Source, each
from app.web.dependencies import archive_of, count_conversion, required_reference, run_read, service_root
from app.web.locations import location_of
from app.web.multipart import Part, multipart_response, single_part_response
from app.web.negotiation import MediaRange, accepted, not_acceptable
from app.web.representations import DICOM, Form, instance_form


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
        async for source in each(part.content):
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
            whole: list[Source] = [FileRange(file, 0, file.size)]
            return Part(content_type, whole, file.size, location_of(root, held), file)
    file = open_stored(archive, held)
    prefix, length = held.prefix or b"", held.size - held.offset
    content: list[Source] = [prefix, FileRange(file, held.offset, length)]
    content_type = f"{DICOM}; transfer-syntax={held.transfer_syntax_uid}"
    return Part(content_type, content, len(prefix) + length, location_of(root, held), file)
