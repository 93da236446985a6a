"""What a store brings, by its header (PS3.18 10.5.1): parts of which type, in a multipart or alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus

from starlette.requests import Request

from app.dicom.media_type import parse_media_type
from app.dicom.multipart_reader import Event, MultipartReader, PartBegins, PartData, PartEnds
from app.web.errors import RequestError
from app.web.media_ranges import DICOM, DICOM_JSON, DICOM_XML, MULTIPART

STORED_TYPES = (DICOM, DICOM_JSON, DICOM_XML)

_ALIASES = {"application/json": DICOM_JSON, "application/xml": DICOM_XML, "text/xml": DICOM_XML}
_UNCODED = {"", "identity", "binary", "8bit", "7bit"}


class SinglePart:
    """A body that is one part: what a MultipartReader does, for the request's own header."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._headers = headers
        self._has_begun = False

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield what `data` completes."""
        if data and not self._has_begun:
            self._has_begun = True
            yield PartBegins(self._headers)
        if data:
            yield PartData(memoryview(data))

    def finish(self) -> list[Event]:
        """Return what the body's end completes; no part at all of an empty one."""
        return [PartEnds()] if self._has_begun else []


@dataclass(frozen=True, slots=True)
class Body:
    """How to read a body, and the type of what it stores."""

    reader: MultipartReader | SinglePart
    root_type: str


def body_of(request: Request) -> Body:
    """Return how to read the body; raises RequestError (400, 415, 501) or MalformedMultipart."""
    _check_codings(request)
    header = request.headers.get("content-type", "")
    media_type, parameters = parse_media_type(header)
    if media_type != MULTIPART:
        if not media_type:
            raise _unsupported("No Content-Type.")
        stored = stored_type(media_type)
        if stored is None:
            raise _unsupported(f"A body of type {media_type!r} is not taken.")
        return Body(SinglePart({"content-type": header}), stored)
    content = parameters.get("type", DICOM).lower()
    stored = stored_type(content)
    if stored is None:
        raise _unsupported(f"Parts of type {content!r} are not taken.")
    if "boundary" not in parameters:
        raise RequestError(HTTPStatus.BAD_REQUEST, "The Content-Type names no boundary.")
    return Body(MultipartReader(parameters["boundary"]), stored)


def stored_type(media_type: str) -> str | None:
    """Return under which of the types that are stored a media type goes."""
    stored = _ALIASES.get(media_type, media_type)
    return stored if stored in STORED_TYPES else None


def coding_of(part: PartBegins) -> str:
    """Return how a part is encoded beyond its media type (RFC 2045 6, RFC 9110 8.4); empty if it is not."""
    for name in ("content-encoding", "content-transfer-encoding"):
        coding = part.headers.get(name, "").lower()
        if coding not in _UNCODED:
            return coding
    return ""


def _check_codings(request: Request) -> None:
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise _unsupported(f"A body with Content-Encoding {encoding[:80]!r} is not taken.")
    transfer = request.headers.get("transfer-encoding", "chunked")
    if transfer.strip().lower() not in {"chunked", "identity"}:
        # RFC 9112 6.1: a transfer coding that is not understood.
        raise RequestError(
            HTTPStatus.NOT_IMPLEMENTED, f"Transfer-Encoding {transfer[:80]!r} is not offered; chunked is."
        )


def _unsupported(detail: str) -> RequestError:
    types = ", ".join(STORED_TYPES)
    return RequestError(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        f'{detail} Taken are {types}, alone or as multipart/related; type="…"; boundary=…',
    )
