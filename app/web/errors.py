"""One table: what goes wrong in the archive, as HTTP says it; bodies are problem details (RFC 9457)."""

from http import HTTPStatus

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.errors import (
    ArchiveError,
    CagedFailure,
    CatalogUnavailable,
    DuplicateInstance,
    DuplicateTransaction,
    Gone,
    InstanceUnavailable,
    InvalidQuery,
    NotConvertible,
    NotFound,
    StorageFailed,
    StorageFull,
    Unaddressable,
    Unreadable,
)

STATUS: dict[type[ArchiveError], HTTPStatus] = {
    InvalidQuery: HTTPStatus.BAD_REQUEST,
    NotFound: HTTPStatus.NOT_FOUND,
    Gone: HTTPStatus.GONE,
    Unreadable: HTTPStatus.CONFLICT,
    Unaddressable: HTTPStatus.CONFLICT,
    DuplicateInstance: HTTPStatus.CONFLICT,
    DuplicateTransaction: HTTPStatus.CONFLICT,
    # What is held cannot be had in this form; another form is there to ask for.
    NotConvertible: HTTPStatus.NOT_ACCEPTABLE,
    CagedFailure: HTTPStatus.NOT_ACCEPTABLE,
    StorageFull: HTTPStatus.INSUFFICIENT_STORAGE,
    StorageFailed: HTTPStatus.SERVICE_UNAVAILABLE,
    InstanceUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    CatalogUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}

RETRY_AFTER_S = 5


class RequestError(Exception):
    """The request itself cannot be served: wrong, not allowed, or in a form we do not speak."""

    def __init__(self, status: HTTPStatus, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """Return a problem document; `detail` says what is wrong and what to do."""
    title = HTTPStatus(status).phrase
    body = orjson.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail})
    every = {"Cache-Control": "no-store", **(headers or {})}
    return Response(body, status, every, media_type="application/problem+json")


async def archive_error(_request: Request, error: Exception) -> Response:
    """Answer an ArchiveError by the table."""
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    retry = {"Retry-After": str(RETRY_AFTER_S)} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return problem(status, str(error), retry)


async def request_error(_request: Request, error: Exception) -> Response:
    """Answer a RequestError."""
    assert isinstance(error, RequestError)
    return problem(error.status, error.detail, error.headers)


async def http_exception(request: Request, error: Exception) -> Response:
    """Answer what the router refuses: an unknown path or a method that a path does not have."""
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail = f"There is nothing at {request.url.path}. DICOMweb is at /dicom-web, its API at /docs."
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        detail = f"{request.method} is not offered at {request.url.path}."
    else:
        detail = str(error.detail)
    return problem(error.status_code, detail, dict(error.headers or {}))


async def unexpected_error(_request: Request, _error: Exception) -> Response:
    """Answer a fault of ours without its particulars; they are in the log."""
    return problem(500, "The server made a mistake; it has been logged. Trying again may help.")
