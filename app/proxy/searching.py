"""Searches of our own at an upstream (PS3.18 10.6): a query as QIDO-RS has it, and results page by page."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import replace
from urllib.parse import urlencode

import orjson

from app.dicom.json_model import Attribute
from app.dicom.json_reader import read_data_set
from app.dicom.matching import (
    Empty,
    Every,
    Fuzzy,
    Level,
    Match,
    Query,
    Range,
    SingleValue,
    UIDList,
    Universal,
    Wildcard,
)
from app.errors import Unreadable
from app.proxy.asked import Asked, Kind
from app.proxy.cache import HEAD_BYTES, Kept
from app.proxy.errors import UpstreamFailed
from app.proxy.service import Service

Parameters = Sequence[tuple[str, str]]
Request = tuple[str, Parameters]
Row = dict[str, Attribute]

MOST_UIDS = 50  # of one request: with more its URL would be longer than servers take
MOST_PAGE_BYTES = 256 * 2**20

_STUDY, _SERIES, _INSTANCE = "0020000D", "0020000E", "00080018"
_RESOURCES = {Level.STUDY: "studies", Level.SERIES: "series", Level.INSTANCE: "instances"}
_UNIQUE = {Level.STUDY: _STUDY, Level.SERIES: _SERIES, Level.INSTANCE: _INSTANCE}
# PS3.18 8.3.4: what has to be asked for beside a value that is not to be taken literally.
_ASKED_FOR: dict[type[Match], str] = {
    Fuzzy: "fuzzymatching",
    Empty: "emptyvaluematching",
    Every: "multiplevaluematching",
}


def requests_of(query: Query) -> Iterator[Request]:
    """Yield the paths and parameters that ask a query; long lists of UIDs are several requests."""
    for part in _divided(query):
        yield _path(part), _parameters(part)


def _divided(query: Query) -> Iterator[Query]:
    for number, (tag, match) in enumerate(query.matches):
        if isinstance(match, UIDList) and len(match.values) > MOST_UIDS:
            for start in range(0, len(match.values), MOST_UIDS):
                some = (tag, UIDList(match.values[start : start + MOST_UIDS]))
                matches = (*query.matches[:number], some, *query.matches[number + 1 :])
                yield from _divided(replace(query, matches=matches))
            return
    yield query


def _path(query: Query) -> str:
    """Return the resource (PS3.18 Table 10.6.1-1); a series is named below its study alone."""
    named = ""
    if query.study_instance_uid is not None:
        named = f"/studies/{query.study_instance_uid}"
        if query.series_instance_uid is not None:
            named += f"/series/{query.series_instance_uid}"
    return f"{named}/{_RESOURCES[query.level]}"


def _parameters(query: Query) -> Parameters:
    found = [(path, text) for path, match in query.matches if (text := _text(match))]
    if query.study_instance_uid is None and query.series_instance_uid is not None:
        found.append((_SERIES, query.series_instance_uid))
    kinds = {type(match) for _, match in query.matches}
    found += [(name, "true") for kind, name in _ASKED_FOR.items() if kind in kinds]
    include = "all" if query.include == "all" else ",".join(sorted(query.include))
    return [*found, ("includefield", include)] if include else found


def _text(match: Match) -> str:
    """Write a match as the value of a parameter, empty for one that everything fulfils."""
    match match:
        case Universal():
            return ""
        case Empty():
            return '""'
        case Wildcard(pattern):
            return pattern
        case Range(start, end):
            return f"{start}-{end}"
        case UIDList(values) | Every(values):
            return ",".join(values)
        case Fuzzy(_, literal):
            return _text(literal)
        case SingleValue(value):
            return value


async def search_pages(
    service: Service, kind: Kind, request: Request, first: int, then: int
) -> AsyncGenerator[list[Row]]:
    """Yield the results, page by page; raises ArchiveError. What is stale is not taken.

    `first` and `then` say how many results a page has.
    """
    path, parameters = request
    seen, limit, before = 0, first, None
    while True:
        paged = [*parameters, ("limit", str(limit)), ("offset", str(seen))]
        rows, is_cut = await _page(service, Asked.of(kind, path, urlencode(paged), "application/dicom+json"))
        if not rows:
            return
        if rows[0] == before:
            raise UpstreamFailed(
                f"The server {service.upstream.name!r} has no second page: it knows no offset."
            )
        yield rows
        # Some know no limit, and send all of it; others have a limit of their own, and say so (8.3.4.4).
        if len(rows) > limit or (len(rows) < limit and not is_cut):
            return
        seen, limit, before = seen + len(rows), then, rows[0]


async def _page(service: Service, asked: Asked) -> tuple[list[Row], bool]:
    """Return the rows of a page, and whether there is a warning that it is not all that was asked for."""
    found = await service.get(asked, may_be_stale=False)
    try:
        if isinstance(found, Kept):
            headers, content = found.headers, found.file.read(HEAD_BYTES, found.length)
        else:
            headers, pieces = found.head.headers, bytearray()
            async for piece in found.pieces():
                pieces += piece
                if len(pieces) > MOST_PAGE_BYTES:
                    raise UpstreamFailed("A page of results is too long.")
            content = bytes(pieces)
    finally:
        found.close()
    try:
        rows = orjson.loads(content or b"[]")
    except orjson.JSONDecodeError:
        rows = None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UpstreamFailed(f"The results of the server {service.upstream.name!r} cannot be read.")
    return [_read(row) for row in rows], "warning" in headers


def _read(row: dict[str, object]) -> Row:
    """Return what can be read of a row; an attribute that is none is left out."""
    read: Row = {}
    for tag, attribute in row.items():
        try:
            read |= read_data_set({tag: attribute})
        except Unreadable:
            continue
    return read
