"""STOW-RS: Store Instances (PS3.18 10.5), streamed to disk part by part."""

from functools import partial
from http import HTTPStatus

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app.archive.store import Received
from app.catalog.holdings import Reference
from app.dicom.media_type import parse_media_type
from app.dicom.multipart_reader import MultipartReader
from app.errors import ArchiveError
from app.web.dependencies import archive_of, reference_of, require_scope, service_root
from app.web.errors import STATUS, RequestError, archive_error, request_error
from app.web.negotiation import MULTIPART, require_json
from app.web.store_answer import OtherStudy, store_answer
from app.web.store_spool import Spool

_SUPPORTED = 'multipart/related; type="application/dicom"; boundary=…'


async def store_instances(request: Request) -> Response:
    """Store instances. Each part of the body is one DICOM file; the answer has a result for each."""
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
    require_json(request, name="The answer to a store")
    study = reference_of(request)
    boundary = _boundary(request)
    archive = archive_of(request)
    _check_length(request, archive.settings.store_max_bytes)
    archive.storage.require_room()
    spool = Spool(archive)
    try:
        await _receive(request, spool, boundary)
        if spool.is_empty:
            raise RequestError(HTTPStatus.BAD_REQUEST, "The body has no parts: there is nothing to store.")
        results, error = await spool.store(partial(_of_study, study=study))
    except ClientDisconnect:
        # Nobody is there to read it; what had come is deleted.
        return Response(status_code=HTTPStatus.BAD_REQUEST)
    finally:
        await spool.leave()
    return store_answer(results, service_root(request), STATUS[type(error)] if error else None)


async def _receive(request: Request, spool: Spool, boundary: str) -> None:
    reader, size, most = MultipartReader(boundary), 0, archive_of(request).settings.store_max_bytes
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise _too_large(most)
        for event in reader.feed(chunk):
            await spool.take(event)
    for event in reader.finish():
        await spool.take(event)


def _of_study(received: Received, *, study: Reference | None) -> Received:
    """10.5.1.2: what is stored to a study must belong to it."""
    entry = received.entry
    if study is None or entry is None or entry.study_instance_uid == study.study_instance_uid:
        return received
    error = OtherStudy(
        f"The instance belongs to study {entry.study_instance_uid}, not to the one in the URL."
    )
    return Received(received.staged, entry, error)


def _boundary(request: Request) -> str:
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise _unsupported(f"A body with Content-Encoding {encoding!r} is not taken.")
    media_type, parameters = parse_media_type(request.headers.get("content-type", ""))
    if media_type != MULTIPART:
        raise _unsupported(
            f"A body of type {media_type!r} is not taken." if media_type else "No Content-Type."
        )
    content = parameters.get("type", "application/dicom").lower()
    if content != "application/dicom":
        raise _unsupported(f"Parts of type {content!r} are not taken.")
    if "boundary" not in parameters:
        raise RequestError(HTTPStatus.BAD_REQUEST, "The Content-Type names no boundary.")
    return parameters["boundary"]


def _check_length(request: Request, most: int) -> None:
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > most:
        raise _too_large(most)


def _too_large(most: int) -> RequestError:
    return RequestError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"One request may bring at most {most} bytes; nothing of it was stored. Send several smaller ones.",
    )


def _unsupported(detail: str) -> RequestError:
    return RequestError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"{detail} Supported now: {_SUPPORTED}")
