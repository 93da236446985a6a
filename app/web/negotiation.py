"""Reading `Accept` and `accept=` (PS3.18 8.3.3, 8.7; RFC 9110 12.5.1), leniently where clients are sloppy."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus

from starlette.requests import Request

from app.dicom.media_types import ALIASES
from app.web.errors import RequestError

DICOM_JSON = "application/dicom+json"
MULTIPART = "multipart/related"

REMEMBERED_CHARACTERS = 512

# A parameter's value is a quoted string, or whatever stands before the next separator: clients leave out the
# quotes around a media type.
_PARAMETER = re.compile(r';\s*(?P<name>[^\s;=,"]+)\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^;,"]*))')
_RANGE = re.compile(r"\s*(?P<type>[^\s;,/]+/[^\s;,]+)\s*")
_ITEMS = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')


@dataclass(frozen=True)
class MediaRange:
    """One acceptable media type; `type` of a multipart is that of its parts."""

    media_type: str
    parameters: dict[str, str] = field(default_factory=dict)
    quality: float = 1.0

    @property
    def is_multipart(self) -> bool:
        """Whether several parts are asked for."""
        return self.media_type == MULTIPART

    @property
    def content_type(self) -> str:
        """The media type of the content: of the parts, if it is a multipart."""
        content = self.parameters.get("type", "*/*") if self.is_multipart else self.media_type
        return ALIASES.get(content, content)

    @property
    def transfer_syntax(self) -> str | None:
        """The transfer syntax asked for; `*` means as stored."""
        return self.parameters.get("transfer-syntax")

    def covers(self, media_type: str) -> bool:
        """Whether its content may be of a media type."""
        content = self.content_type
        return content in {media_type, "*/*"} or (
            content.endswith("/*") and media_type.startswith(content.removesuffix("*"))
        )


def accepted(request: Request) -> list[MediaRange]:
    """Return what the client accepts, best first; `accept=` wins over the header (8.3.3.1)."""
    parameters = [value.replace(" ", "+") for value in request.query_params.getlist("accept")]
    if len(parameters) > 1:
        raise RequestError(HTTPStatus.BAD_REQUEST, "The parameter accept is given more than once.")
    ranges = parse_accept(parameters or request.headers.getlist("accept"))
    # 8.3.3.1 allows 406 without Accept; every client is better served by the default.
    return ranges or [MediaRange("*/*")]


def parse_accept(headers: Iterable[str]) -> list[MediaRange]:
    """Return the media ranges of `Accept` headers by falling quality, without items that make no sense."""
    text = ",".join(headers)
    # Clients send the same few over and over; a long one is somebody's experiment.
    return list(_remembered(text) if len(text) <= REMEMBERED_CHARACTERS else _parse(text))


def _parse(text: str) -> tuple[MediaRange, ...]:
    found = []
    for item in _ITEMS.findall(text):
        main = _RANGE.match(item)
        if main is None:
            continue
        parameters = {
            match["name"].lower(): match["quoted"] if match["quoted"] is not None else match["bare"].strip()
            for match in _PARAMETER.finditer(item, main.end())
        }
        quality = _quality(parameters.pop("q", "1"))
        if "type" in parameters:
            parameters["type"] = parameters["type"].lower()
        if quality > 0:
            found.append(MediaRange(main["type"].lower(), parameters, quality))
    return tuple(sorted(found, key=lambda media_range: -media_range.quality))


_remembered = lru_cache(maxsize=512)(_parse)


def _quality(text: str) -> float:
    try:
        return min(1.0, max(0.0, float(text)))
    except ValueError:
        return 1.0


def require_json(request: Request, *, name: str = "This resource") -> None:
    """Raise 406 unless the client accepts DICOM JSON."""
    for media_range in accepted(request):
        if not media_range.is_multipart and (
            media_range.covers(DICOM_JSON) or media_range.covers("application/json")
        ):
            return
        if media_range.is_multipart and media_range.content_type == "*/*":
            return
    raise not_acceptable(f"{name} is available as {DICOM_JSON}.")


def not_acceptable(detail: str) -> RequestError:
    """Return the refusal of a form; `detail` lists what there is."""
    return RequestError(HTTPStatus.NOT_ACCEPTABLE, f"None of the accepted media types is available. {detail}")
