"""One table: what goes wrong in the archive, as HTTP says it, and in which form it is told (RFC 9457)."""

from http import HTTPStatus

import orjson
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.errors import (
    ArchiveError,
    CagedFailure,
    CatalogUnavailable,
    CollectionRefused,
    DuplicateInstance,
    DuplicateTransaction,
    Gone,
    InstanceUnavailable,
    InvalidQuery,
    NotConvertible,
    NotFound,
    NotLicensed,
    NotPublic,
    SearchTooBroad,
    StorageFailed,
    StorageFull,
    Unaddressable,
    Unreadable,
    UnsupportedSopClass,
    UnsupportedTransferSyntax,
)
from app.proxy.errors import UpstreamFailed, UpstreamTimeout, UpstreamUnavailable
from app.web.problem_forms import HTML_HEADERS, PROBLEM_JSON, in_form

STATUS: dict[type[ArchiveError], HTTPStatus] = {
    InvalidQuery: HTTPStatus.BAD_REQUEST,
    SearchTooBroad: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    NotFound: HTTPStatus.NOT_FOUND,
    NotPublic: HTTPStatus.FORBIDDEN,
    NotLicensed: HTTPStatus.FORBIDDEN,
    Gone: HTTPStatus.GONE,
    Unreadable: HTTPStatus.CONFLICT,
    Unaddressable: HTTPStatus.CONFLICT,
    UnsupportedTransferSyntax: HTTPStatus.CONFLICT,
    UnsupportedSopClass: HTTPStatus.CONFLICT,
    DuplicateInstance: HTTPStatus.CONFLICT,
    DuplicateTransaction: HTTPStatus.CONFLICT,
    CollectionRefused: HTTPStatus.CONFLICT,
    # What is held cannot be had in this form; another form is there to ask for.
    NotConvertible: HTTPStatus.NOT_ACCEPTABLE,
    CagedFailure: HTTPStatus.NOT_ACCEPTABLE,
    StorageFull: HTTPStatus.INSUFFICIENT_STORAGE,
    StorageFailed: HTTPStatus.SERVICE_UNAVAILABLE,
    InstanceUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    CatalogUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    UpstreamFailed: HTTPStatus.BAD_GATEWAY,
    UpstreamUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    UpstreamTimeout: HTTPStatus.GATEWAY_TIMEOUT,
}

# The types of problems that a program must be able to tell from ours, and from its own quota.
PROBLEM_TYPES: dict[type[ArchiveError], str] = {
    NotLicensed: "urn:dermzoo:problem:not-licensed",
    UpstreamFailed: "urn:dermzoo:problem:upstream-failed",
    UpstreamUnavailable: "urn:dermzoo:problem:upstream-unavailable",
    UpstreamTimeout: "urn:dermzoo:problem:upstream-timeout",
}

RETRY_AFTER_S = 5


class RequestError(Exception):
    """The request itself cannot be served: wrong, not allowed, or in a form we do not speak."""

    def __init__(self, status: HTTPStatus, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}


class Problem(Response):
    """A refusal, in the form that the client reads: a problem document, or the same as HTML or plain text.

    PS3.18 8.6.3 has HTML where the client says nothing of it; a machine is the likelier reader here.
    """

    def __init__(
        self, status: int, detail: str, headers: dict[str, str] | None = None, kind: str = "about:blank"
    ) -> None:
        every = {"Cache-Control": "no-store", "Vary": "Accept", **(headers or {})}
        title = HTTPStatus(status).phrase
        self.told = {"type": kind, "title": title, "status": status, "detail": detail}
        super().__init__(orjson.dumps(self.told), status, every, media_type=PROBLEM_JSON)
        self.detail = detail

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        media_type, self.body = in_form(self.told, Headers(scope=scope).getlist("accept"))
        self.headers["content-type"] = media_type
        self.headers["content-length"] = str(len(self.body))
        if media_type.startswith("text/html"):
            self.headers.update(HTML_HEADERS)
        await super().__call__(scope, receive, send)


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """Return a refusal; `detail` says what is wrong and what to do."""
    return Problem(status, detail, headers)


async def archive_error(_request: Request, error: Exception) -> Response:
    """Answer an ArchiveError by the table."""
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    after_s = getattr(error, "after_s", RETRY_AFTER_S)
    retry = {"Retry-After": str(after_s)} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    assert isinstance(error, ArchiveError)
    return Problem(status, str(error), retry, PROBLEM_TYPES.get(type(error), "about:blank"))


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
