"""Validators and preconditions (RFC 9110 8.8 and 13): what a client has already is not sent again."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from functools import cache, lru_cache
from http import HTTPStatus
from importlib.metadata import version

from starlette.requests import Request
from starlette.responses import Response

from app.catalog.holdings import Held
from app.web.errors import problem
from app.web.terms import terms_headers

# A SOP Instance UID keeps its bytes, but what is withdrawn must leave the caches of others too: an hour is
# how long a copy may outlive it. A 304 is cheap then.
FIXED = "public, max-age=3600"
CHANGING = "public, no-cache"  # kept, and asked for again with its validator
PARTIAL = "no-store"  # 206 for want of instances: what is missing may be there the next time

_TAG = re.compile(r'(W/)?("[^"]*")')
_NS = 10**9


@dataclass(frozen=True, slots=True)
class Selected:
    """The selected representation (RFC 9110 3.2): what names it, whether it is sent or not."""

    tag: str  # as in ETag, quoted; always a strong one
    cache_control: str
    location: str | None = None
    modified_s: int | None = None
    terms: dict[str, str] = field(default_factory=dict)  # the header fields that say them

    @property
    def boundary(self) -> str:
        """What parts the parts of a multipart: the same for the same bytes, as a strong tag demands.

        No file can hold it, as it depends on the hashes of all files.
        """
        return self.tag.strip('"')

    @property
    def headers(self) -> dict[str, str]:
        """The header fields of the answer, 304 (15.4.5) as well as 200."""
        headers = {"ETag": self.tag, "Cache-Control": self.cache_control, "Vary": "Accept"}
        if self.modified_s is not None:
            headers["Last-Modified"] = http_date(self.modified_s)
        if self.location is not None:
            headers["Content-Location"] = self.location
        return headers | self.terms


def entity_tag(*parts: object) -> str:
    """Return a strong entity tag that is another as soon as one of the parts is."""
    return f'"{hashlib.sha256(chr(0).join(map(str, parts)).encode()).hexdigest()[:32]}"'


def content_tag(content: bytes) -> str:
    """Return the strong entity tag of bytes that are at hand."""
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def select_held(held: Sequence[Held], *form: object, location: str, is_instance: bool = True) -> Selected:
    """Name a representation of held instances; `form` is all that it depends on besides their bytes.

    An instance was last modified when its file was. A study or a series changes without a younger file, when
    an instance is taken away or an old file is indexed: it has an entity tag alone.
    """
    tag = entity_tag(hashlib.sha256(b"".join(one.sha256 for one in held)).hexdigest(), location, *form)
    terms = terms_headers(held, location)
    if is_instance:
        return Selected(tag, FIXED, location, held[0].mtime_ns // _NS, terms)
    return Selected(tag, CHANGING, location, terms=terms)


@cache
def edition() -> str:
    """Name the programs that make what is not stored: their next release may make it differently."""
    return f"{version('dermzoo')} {version('imagecodecs')} {version('pillow')}"


@lru_cache(maxsize=1024)
def http_date(seconds: int) -> str:
    """Return a moment as header fields write it (5.6.7)."""
    return formatdate(seconds, usegmt=True)


def is_current(request: Request, tag: str) -> bool:
    """Whether `If-None-Match` names this entity tag, compared weakly as 13.1.2 says, or is `*`."""
    given = ",".join(request.headers.getlist("if-none-match"))
    return given.strip() == "*" or tag in {found for _, found in _TAG.findall(given)}


def precondition_answer(request: Request, selected: Selected) -> Response | None:
    """Return 304 or 412 where the request's conditions ask for it, in the order of 13.2.2; else None."""
    headers = request.headers
    if "if-match" in headers:
        given = ",".join(headers.getlist("if-match"))
        strong = {tag for weak, tag in _TAG.findall(given) if not weak}
        is_refused = given.strip() != "*" and selected.tag not in strong
    else:
        limit_s = _date(headers, "if-unmodified-since")
        is_refused = limit_s is not None and selected.modified_s is not None and selected.modified_s > limit_s
    if is_refused:
        detail = "What is held is not what the request wants it to be; ask again without the condition."
        return problem(HTTPStatus.PRECONDITION_FAILED, detail, {"ETag": selected.tag})
    if "if-none-match" in headers:
        is_known = is_current(request, selected.tag)
    else:
        since_s = _date(headers, "if-modified-since")
        is_known = since_s is not None and selected.modified_s is not None and selected.modified_s <= since_s
    return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=selected.headers) if is_known else None


def range_applies(request: Request, selected: Selected) -> bool:
    """Whether `If-Range` lets `Range` count: the tag by strong comparison, or the very date (13.1.5)."""
    given = request.headers.get("if-range")
    if given is None:
        return True
    if '"' in given:
        return given.strip() == selected.tag
    return selected.modified_s is not None and given.strip() == http_date(selected.modified_s)


def content_answer(
    request: Request, content: bytes, media_type: str, location: str | None = None
) -> Response:
    """Answer with bytes that are at hand and may be others the next time: metadata, a search result."""
    selected = Selected(content_tag(content), CHANGING, location)
    known = precondition_answer(request, selected)
    return known or Response(content, media_type=media_type, headers=selected.headers)


def _date(headers: Mapping[str, str], name: str) -> int | None:
    """Read a date; None where there is none that can be read, as 13.1.3 says."""
    try:
        moment = parsedate_to_datetime(headers[name])
    except (KeyError, ValueError, TypeError):
        return None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
