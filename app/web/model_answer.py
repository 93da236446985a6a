"""Search results and metadata as DICOM JSON or as the Native DICOM Model (PS3.18 8.7.3.2, PS3.19 A.1).

JSON is what is stored, joined. XML is made of it in slices, each in a thread: many documents take a while,
and all other requests would wait for them.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from http import HTTPStatus
from typing import Any, Literal

import orjson
from starlette.requests import Request
from starlette.responses import Response

from app.dicom.scan import ROOT
from app.dicom.xml_model import xml_document
from app.web.charsets import takes_utf_8
from app.web.conditional import (
    CHANGING,
    Selected,
    content_answer,
    content_tag,
    edition,
    entity_tag,
    precondition_answer,
)
from app.web.dependencies import service_root
from app.web.locations import asked_location
from app.web.media_ranges import DICOM_JSON, DICOM_XML, MediaRange
from app.web.multipart import Part, later_multipart_response, multipart_response
from app.web.negotiation import accepted, covers_json, not_acceptable

ModelForm = Literal["json", "xml", "xml parts"]

SLICE_BYTES = 128 * 1024  # of JSON; takes some 20 ms to become XML

_PART_TYPE = f"{DICOM_XML}; charset=utf-8"


def model_form(media_range: MediaRange, *, is_one: bool) -> ModelForm | None:
    """Return the form of search results or metadata that a media range asks for (8.7.3.2).

    XML has one data set a document: several need a multipart, one that `is_one` can also stand alone.
    """
    if media_range.is_multipart:
        return "xml parts" if media_range.covers(DICOM_XML) else None
    if covers_json(media_range):
        return "json"
    return "xml" if is_one and media_range.covers(DICOM_XML) else None


def accepted_form(request: Request, *, name: str, is_one: bool = False) -> ModelForm:
    """Return the form that the client accepts; raises 406. `is_one` is for what is always one data set."""
    for media_range in accepted(request):
        form = model_form(media_range, is_one=is_one)
        if form and takes_utf_8(request, media_range):
            return form
    alone = f", {DICOM_XML}" if is_one else ""
    raise not_acceptable(
        f'{name} is available as {DICOM_JSON}{alone} and multipart/related; type="{DICOM_XML}", in UTF-8.'
    )


async def model_answer(request: Request, form: ModelForm, documents: Sequence[bytes]) -> Response:
    """Answer with stored documents in the form that was chosen; no documents are 204 if it is a multipart."""
    root, location = service_root(request), asked_location(request)
    body = b",".join(documents).replace(ROOT, root.encode())
    if form == "json":
        return content_answer(request, b"[" + body + b"]", DICOM_JSON, location)
    selected = Selected(entity_tag(content_tag(body), form, edition()), CHANGING, location)
    if known := precondition_answer(request, selected):
        return known
    if form == "xml":
        whole = await asyncio.to_thread(lambda: xml_document(orjson.loads(body)))
        return Response(whole, media_type=_PART_TYPE, headers=selected.headers)
    if not documents:
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=selected.headers)
    if len(body) <= SLICE_BYTES:
        return multipart_response(DICOM_XML, await asyncio.to_thread(_parts, documents, root), selected)
    return later_multipart_response(DICOM_XML, _later(documents, root), selected)


async def _later(documents: Sequence[bytes], root: str) -> AsyncIterator[Part]:
    for some in _slices(documents):
        for part in await asyncio.to_thread(_parts, some, root):
            yield part


def _slices(documents: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    start = size = 0
    for number, document in enumerate(documents):
        if size and size + len(document) > SLICE_BYTES:
            yield documents[start:number]
            start, size = number, 0
        size += len(document)
    yield documents[start:]


def _parts(documents: Sequence[bytes], root: str) -> list[Part]:
    parts = []
    for document in documents:
        attributes = orjson.loads(document.replace(ROOT, root.encode()))
        content = xml_document(attributes)
        parts.append(Part(_PART_TYPE, [content], len(content), _location(attributes, root)))
    return parts


def _location(attributes: dict[str, Any], root: str) -> str:
    """Return the URL of what a search found, or of the metadata of an instance."""
    if "00081190" in attributes:
        return str(attributes["00081190"]["Value"][0])
    study, series, instance = (attributes[tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018"))
    return f"{root}/studies/{study}/series/{series}/instances/{instance}/metadata"
