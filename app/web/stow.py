"""STOW-RS: Store Instances (PS3.18 10.5), streamed to disk part by part."""

from dataclasses import replace
from functools import partial
from http import HTTPStatus

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app.archive.store import Received
from app.catalog.holdings import Reference
from app.dicom.uids import has_instances
from app.errors import ArchiveError, UnsupportedSopClass
from app.web.dependencies import archive_of, reference_of, require_scope, service_root
from app.web.errors import STATUS, RequestError, archive_error, request_error
from app.web.media_ranges import DICOM
from app.web.metadata_spool import MetadataSpool
from app.web.model_answer import accepted_form
from app.web.store_answer import OtherStudy, store_answer
from app.web.store_body import Body, body_of
from app.web.store_spool import Spool


async def store_instances(request: Request) -> Response:
    """Store instances: DICOM files, or metadata with bulk data. The answer has a result for each."""
    try:
        return await _store_instances(request)
    except RequestError as error:
        response = await request_error(request, error)
    except ArchiveError as error:
        response = await archive_error(request, error)
    # The rest of the body is not read: for the next request there must be another connection.
    response.headers["Connection"] = "close"
    return response


async def _store_instances(request: Request) -> Response:
    require_scope(request, "store")  # before a byte of the body is read
    form = accepted_form(request, name="The answer to a store", is_one=True)
    study = reference_of(request)
    body = body_of(request)
    archive = archive_of(request)
    _check_length(request, archive.settings.store_max_bytes)
    archive.storage.require_room()
    spool = Spool(archive) if body.root_type == DICOM else MetadataSpool(archive, body.root_type)
    try:
        await _receive(request, spool, body)
        if spool.is_empty:
            raise RequestError(HTTPStatus.BAD_REQUEST, "The body has no parts: there is nothing to store.")
        results, error = await spool.store(partial(_judged, study=study))
    except ClientDisconnect:
        # Nobody is there to read it; what had come is deleted.
        return Response(status_code=HTTPStatus.BAD_REQUEST)
    finally:
        await spool.leave()
    return store_answer(results, service_root(request), form, STATUS[type(error)] if error else None)


async def _receive(request: Request, spool: Spool | MetadataSpool, body: Body) -> None:
    size, most = 0, archive_of(request).settings.store_max_bytes
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise _too_large(most)
        for event in body.reader.feed(chunk):
            await spool.take(event)
    for event in body.reader.finish():
        await spool.take(event)


def _judged(received: Received, *, study: Reference | None) -> Received:
    """Refuse an instance of another study than the URL's (10.5.1.2), and what is no instance at all."""
    entry = received.entry
    if entry is None or received.error is not None:
        return received
    if study is not None and entry.study_instance_uid != study.study_instance_uid:
        error = OtherStudy(
            f"The instance belongs to study {entry.study_instance_uid}, not to the one in the URL."
        )
        return replace(received, error=error)
    sop_class_uid = entry.instance["sop_class_uid"]
    if not has_instances(sop_class_uid):
        unsupported = UnsupportedSopClass(f"{sop_class_uid} is no SOP Class of instances that are stored.")
        return replace(received, error=unsupported)
    return received


def _check_length(request: Request, most: int) -> None:
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > most:
        raise _too_large(most)


def _too_large(most: int) -> RequestError:
    return RequestError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"One request may bring at most {most} bytes; nothing of it was stored. Send several smaller ones.",
    )
