"""What a client accepts (PS3.18 8.3.3, 8.7.5 to 8.7.8): `accept=` and `Accept`, and the refusals."""

import re
from http import HTTPStatus

from starlette.requests import Request

from app.web.charsets import check_charset, takes_utf_8
from app.web.errors import RequestError
from app.web.media_ranges import (
    DICOM,
    DICOM_JSON,
    DICOM_XML,
    MULTIPART,
    MediaRange,
    parse_accept,
    read_accept,
)

__all__ = [
    "DICOM",
    "DICOM_JSON",
    "DICOM_XML",
    "MULTIPART",
    "MediaRange",
    "accepted",
    "not_acceptable",
    "parse_accept",
    "require_json",
]

_PLUS = re.compile(r"(?<=dicom) (?=\w)")


def accepted(request: Request) -> list[MediaRange]:
    """Return what the client accepts, best first; `accept=` goes before the header (8.3.3.1).

    The standard wants the two to be compatible. Viewers send `accept=image/jpeg` with a header that is not,
    and mean the parameter. Raises RequestError for a malformed parameter, and for DICOM and rendered media
    types at once (8.7.5).
    """
    check_charset(request)
    # In a query a plus is a space; nobody writes it %2B.
    given = request.query_params.getlist("accept") if "accept" in request.query_params else ()
    parameters = [_PLUS.sub("+", value) for value in given]
    if len(parameters) > 1:
        raise _malformed("The parameter accept is given more than once.")
    said = read_accept(parameters or request.headers.getlist("accept"))
    if parameters and (said.passed_over or not said.ranges):
        reason = "; ".join(said.passed_over) or "no media type"
        raise _malformed(f"accept={parameters[0][:80]}: {reason}")
    if said.mixed:
        dicom, rendered = said.mixed
        raise _malformed(
            f"{dicom} is a DICOM media type and {rendered} a rendered one: "
            "one request asks for the one or the other (PS3.18 8.7.5)."
        )
    # 8.7.5 has 406 for a request without Accept; every client is better served by the default.
    return [MediaRange("*/*")] if said.is_empty else list(said.ranges)


def require_json(request: Request, *, name: str = "This resource") -> None:
    """Raise 406 unless the client accepts DICOM JSON."""
    for media_range in accepted(request):
        if covers_json(media_range) and takes_utf_8(request, media_range):
            return
    raise not_acceptable(f"{name} is available as {DICOM_JSON}, in UTF-8.")


def covers_json(media_range: MediaRange) -> bool:
    """Whether DICOM JSON will do: one array, never a multipart (PS3.18 F.2.1)."""
    return not media_range.is_multipart and (
        media_range.covers(DICOM_JSON) or media_range.covers("application/json")
    )


def not_acceptable(detail: str) -> RequestError:
    """Return the refusal of a form; `detail` lists what there is."""
    return RequestError(HTTPStatus.NOT_ACCEPTABLE, f"None of the accepted media types is available. {detail}")


def _malformed(detail: str) -> RequestError:
    return RequestError(HTTPStatus.BAD_REQUEST, detail)
