"""WADO-RS: retrieve studies, series and instances as Part 10 files (PS3.18 10.4.1.1.1)."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from app.archive.archive import Archive
from app.archive.retrieve import open_stored, readable_instances, retrieve_converted, retrieve_licensed
from app.catalog.holdings import Held
from app.errors import CagedFailure, NotConvertible
from app.web.archive_zip import ZIP, ZippedFile, zip_response
from app.web.body import FileRange, Source, each
from app.web.conditional import edition, precondition_answer, select_held
from app.web.dependencies import archive_of, count_conversion, required_reference, run_read, service_root
from app.web.locations import asked_location, location_of
from app.web.multipart import Part, multipart_response
from app.web.negotiation import MediaRange, accepted, not_acceptable
from app.web.partial import LeftOut, mark_partial, refuse_nothing
from app.web.ranges import single_part_answer
from app.web.representations import (
    DICOM,
    EXPLICIT_OR_STORED,
    STORED,
    Form,
    available_syntaxes,
    converted_syntax,
    instance_form,
)
from app.web.terms import on_terms, wanted_licences

Shape = Literal["multipart", "single", "zip"]


@dataclass(frozen=True, slots=True)
class Sent:
    """An instance that is sent, and in which form."""

    held: Held
    form: Form


async def retrieve_dicom(request: Request) -> Response:
    """Retrieve a study, series or instance as Part 10 files, also in a ZIP file (10.4.1.1.1)."""
    reference = required_reference(request)
    archive = archive_of(request)
    wanted = wanted_licences(request.query_params.multi_items())
    held, unlicensed = await run_read(request, retrieve_licensed, archive, reference)
    instances = on_terms(held, wanted)
    unlicensed = unlicensed if wanted is None else 0  # then they are not asked for
    is_one = reference.sop_instance_uid is not None
    shape, formed = _negotiated(archive, accepted(request), instances, is_one=is_one)
    addressed = len(instances) + unlicensed
    left_out = LeftOut("instances", addressed, len(instances) - len(formed), 0, unlicensed)
    if not is_one:
        formed, left_out = await asyncio.to_thread(_readable, archive, formed, left_out)
    location = asked_location(request) if wanted else location_of(service_root(request), reference)
    forms = [one.form if one.form == STORED else f"{one.form} {edition()}" for one in formed]
    if shape == "zip":  # which says on which terms its files are
        forms += [f"{one.held.licence_id} {one.held.attribution}" for one in formed]
    selected = select_held([one.held for one in formed], shape, *forms, location=location, is_instance=is_one)
    known = precondition_answer(request, selected)
    if known:
        return known
    if request.method != "HEAD" and any(one.form != STORED for one in formed):
        await count_conversion(request)
    root = service_root(request)
    if shape == "zip":
        files = [_zipped(archive, one) for one in formed]
        return mark_partial(zip_response(request, reference, files, selected), root, left_out)
    if not is_one or request.method == "HEAD":
        parts = [_later_instance_part(archive, root, one) for one in formed]
    else:
        parts = [await instance_part(archive, root, formed[0])]
    if shape == "single":
        return single_part_answer(request, parts[0], selected)
    return mark_partial(multipart_response(DICOM, parts, selected), root, left_out)


def _negotiated(
    archive: Archive, ranges: Sequence[MediaRange], instances: Sequence[Held], *, is_one: bool
) -> tuple[Shape, list[Sent]]:
    """Return the first shape that is accepted and can be had, and the instances that can be sent in it."""
    shapes = [_shape(one, is_one=is_one) for one in ranges]
    for shape in dict.fromkeys(shapes):
        if shape is None:
            continue
        wanted = [_as_dicom(one) for one, its in zip(ranges, shapes, strict=True) if its == shape]
        formed = [Sent(held, form) for held in instances if (form := instance_form(held, wanted))]
        formed = [one for one in formed if not archive.unconvertible.knows(one.held.sha256, one.form)]
        if formed:
            return shape, formed
    raise not_acceptable(_dicom_forms(instances, is_one=is_one))


def _shape(media_range: MediaRange, *, is_one: bool) -> Shape | None:
    """Return how a media range has the instances packed; 8.7.3: one alone is for the Instance resource."""
    if media_range.content_type == ZIP and not media_range.is_multipart:
        return "zip"
    if not media_range.covers(DICOM):
        return None
    if media_range.is_multipart or media_range.content_type != DICOM:
        return "multipart"
    return "single" if is_one else None


def _as_dicom(media_range: MediaRange) -> MediaRange:
    """Return what is asked for of the files in a ZIP file: without a syntax they are as stored."""
    if media_range.content_type != ZIP:
        return media_range
    return MediaRange(DICOM, {"transfer-syntax": media_range.transfer_syntax or "*"})


def _dicom_forms(instances: Sequence[Held], *, is_one: bool) -> str:
    syntaxes = dict.fromkeys(uid for held in instances for uid in available_syntaxes(held))
    alone = f", {DICOM}" if is_one else ""
    return (
        f'There is multipart/related; type="{DICOM}"{alone} and {ZIP}, with transfer-syntax=* or one of '
        f"{', '.join(syntaxes)}."
    )


def _readable(archive: Archive, formed: list[Sent], left_out: LeftOut) -> tuple[list[Sent], LeftOut]:
    readable = readable_instances(archive, [one.held for one in formed])
    sent = [one for one in formed if one.held.sop_instance_uid in readable]
    left_out = replace(left_out, unreadable=len(formed) - len(sent))
    refuse_nothing(left_out)
    return sent, left_out


def _zipped(archive: Archive, sent: Sent) -> ZippedFile:
    held = sent.held
    name = f"{held.study_instance_uid}/{held.series_instance_uid}/{held.sop_instance_uid}.dcm"
    return ZippedFile(name, held, lambda: _later(archive, sent))


def _later_instance_part(archive: Archive, root: str, sent: Sent) -> Part:
    """Return a part that is opened, or converted, when its turn comes."""
    content_type, length, held = DICOM, None, sent.held
    if sent.form == STORED:
        content_type = f"{DICOM}; transfer-syntax={held.transfer_syntax_uid}"
        length = len(held.prefix or b"") + held.size - held.offset
    return Part(content_type, _later(archive, sent), length, location_of(root, held))


async def _later(archive: Archive, sent: Sent) -> AsyncGenerator[Source]:
    part = await instance_part(archive, "", sent)
    assert part.file is not None
    with closing(part.file):
        async for source in each(part.content):
            yield source


async def instance_part(archive: Archive, root: str, sent: Sent) -> Part:
    """Return a part that is ready to send, so that what fails does so before the answer begins."""
    held = sent.held
    if sent.form != STORED:
        syntax = converted_syntax(sent.form)
        try:
            file = await asyncio.to_thread(retrieve_converted, archive, held, syntax)
        except (NotConvertible, CagedFailure):
            if sent.form != EXPLICIT_OR_STORED:
                archive.unconvertible.note(held.sha256, sent.form)
                raise
        else:
            content_type = f"{DICOM}; transfer-syntax={syntax}"
            whole: list[Source] = [FileRange(file, 0, file.size)]
            return Part(content_type, whole, file.size, location_of(root, held), file)
    file = open_stored(archive, held)
    prefix, length = held.prefix or b"", held.size - held.offset
    content: list[Source] = [prefix, FileRange(file, held.offset, length)]
    content_type = f"{DICOM}; transfer-syntax={held.transfer_syntax_uid}"
    return Part(content_type, content, len(prefix) + length, location_of(root, held), file)
