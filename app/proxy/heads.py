"""Which answers of an upstream go on, with which fields; and what the others mean."""

from dataclasses import dataclass

from app.errors import ArchiveError, Gone, InvalidQuery, NotConvertible, NotFound, SearchTooBroad
from app.proxy.client import Answer, retry_after_s
from app.proxy.errors import UpstreamFailed, UpstreamTimeout, UpstreamUnavailable
from app.proxy.rewriting import Rewriter, rewriter_of
from app.proxy.urls import Translation

OK, NO_CONTENT, PARTIAL = 200, 204, 206
STORED = frozenset({200, 202, 409})  # PS3.18 Table 10.5.3-1

# Everything else an upstream says of itself stays here: its cookies, its software, its CORS.
_PASSED = ("content-type", "content-disposition", "last-modified", "warning")

_MEANS: dict[int, tuple[type[ArchiveError], str]] = {
    400: (InvalidQuery, "does not understand the request"),
    404: (NotFound, "has nothing there"),
    405: (NotFound, "has nothing there that can be had this way"),
    406: (NotConvertible, "does not have it in an accepted media type"),
    410: (Gone, "has it no more"),
    413: (SearchTooBroad, "finds the request too large"),
    414: (SearchTooBroad, "finds the request too long"),
    415: (NotConvertible, "does not take that media type"),
    401: (UpstreamFailed, "refuses the credentials of this one"),
    403: (UpstreamFailed, "refuses the credentials of this one"),
    407: (UpstreamFailed, "is behind a proxy that refuses"),
    408: (UpstreamTimeout, "did not have time"),
    504: (UpstreamTimeout, "did not get an answer in time"),
}
_LATER = frozenset({429, 503})


@dataclass(frozen=True)
class Head:
    """What goes before a body of ours."""

    status: int
    headers: dict[str, str]
    length: int | None
    upstream_tag: str
    may_keep: bool


def read_head(name: str, answer: Answer, translation: Translation) -> tuple[Head, Rewriter | None]:
    """Return the head of our answer, and what rewrites its body; raises ArchiveError for a refusal."""
    if answer.status not in {OK, NO_CONTENT, PARTIAL}:
        raise refusal(name, answer)
    headers = {field: value for field in _PASSED if (value := answer.headers.get(field))}
    location = translation.reference(answer.headers.get("content-location", ""))
    if location and "content-location" in answer.headers:
        headers["content-location"] = location
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        raise UpstreamFailed(f"The server {name!r} encodes its answer, which it was not asked to.")
    if answer.status == NO_CONTENT:
        return Head(NO_CONTENT, {}, 0, "", may_keep=False), None
    rewriter = rewriter_of(headers.setdefault("content-type", "application/octet-stream"), translation)
    if rewriter is None and not answer.is_framed:
        raise UpstreamFailed(f"The server {name!r} does not tell where its answer ends.")
    return (
        Head(
            answer.status,
            headers,
            answer.length if rewriter is None else None,
            answer.headers.get("etag", ""),
            may_keep=answer.status == OK
            and "no-store" not in answer.headers.get("cache-control", "").lower(),
        ),
        rewriter,
    )


def refusal(name: str, answer: Answer) -> ArchiveError:
    """Return what an answer means that is no success."""
    if answer.status in _LATER:
        return UpstreamUnavailable(
            f"The server {name!r} is asked too much at the moment; this is not your quota.",
            min(max(retry_after_s(answer, 5), 1), 3600),
        )
    kind, what = _MEANS.get(answer.status, (UpstreamFailed, f"answers {answer.status}"))
    return kind(f"The server {name!r} {what}.")
