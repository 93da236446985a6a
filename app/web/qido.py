"""QIDO-RS: search for studies, series and instances (PS3.18 8.3.4, 10.6)."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from app.archive.query import search_archive
from app.dicom.matching import Level, Match, Query, parse_match
from app.dicom.tags import keyword, parse_attribute
from app.errors import InvalidQuery
from app.web.conditional import content_answer
from app.web.dependencies import archive_of, reference_of, run_read, service_root
from app.web.errors import RequestError
from app.web.locations import asked_location
from app.web.negotiation import DICOM_JSON, require_json

# 8.3.4: parameters that are no attributes. Those not supported yet are refused, unless they say `false`.
NEGOTIATED = frozenset({"accept", "charset"})
UNSUPPORTED = frozenset({"emptyvaluematching", "multiplevaluematching", "orderby"})

NO_FUZZY_MATCHING = "The fuzzymatching parameter is not supported. Only literal matching has been performed."


async def search_for_studies(request: Request) -> Response:
    """Search all studies."""
    return await _search(request, Level.STUDY)


async def search_for_series(request: Request) -> Response:
    """Search all series, or those of a study."""
    return await _search(request, Level.SERIES)


async def search_for_instances(request: Request) -> Response:
    """Search all instances, or those of a study or of a series."""
    return await _search(request, Level.INSTANCE)


async def _search(request: Request, level: Level) -> Response:
    require_json(request, name="A search result")
    parsed = parse_search(request.query_params.multi_items())
    parents = reference_of(request)
    query = Query(
        level=level,
        matches=parsed.matches,
        include=parsed.include,
        study_instance_uid=parents.study_instance_uid if parents else None,
        series_instance_uid=parents.series_instance_uid if parents else None,
        limit=parsed.limit,
        offset=parsed.offset,
    )
    page = await run_read(request, search_archive, archive_of(request), query)
    root = service_root(request)
    body = b"[" + b",".join(page.answers).replace(b"\x01", root.encode()) + b"]"
    response = content_answer(request, body, DICOM_JSON, asked_location(request))
    warnings = list(parsed.warnings)
    if page.remaining:
        warnings.append(f"There are {page.remaining} additional results that can be requested")
    if page.unmatched:
        names = ", ".join(keyword(tag) for tag in page.unmatched)
        warnings.append(f"These attributes are not matched at this level, only returned: {names}")
    for warning in warnings:
        response.headers.append("Warning", f"299 {root}: {warning}")
    return response


@dataclass(frozen=True)
class Search:
    """What the query parameters say."""

    matches: tuple[tuple[str, Match], ...] = ()
    include: frozenset[str] | Literal["all"] = frozenset()
    limit: int | None = None
    offset: int = 0
    warnings: tuple[str, ...] = ()


def parse_search(parameters: list[tuple[str, str]]) -> Search:
    """Read query parameters, decoded already; raises InvalidQuery or RequestError naming the one at fault."""
    matches: dict[str, Match] = {}
    include: set[str] = set()
    single: dict[str, str] = {}
    for name, value in parameters:
        if name == "includefield":
            include.update(part.strip() for part in value.split(",") if part.strip())
        elif name in NEGOTIATED:
            continue
        elif name in {"limit", "offset", "fuzzymatching"} | UNSUPPORTED:
            if name in single:
                raise InvalidQuery(f"The parameter {name} is given more than once")
            single[name] = value
        else:
            tag = parse_attribute(name)
            if tag in matches:
                raise InvalidQuery(f"The attribute {keyword(tag)} is given more than once")
            matches[tag] = parse_match(tag, value)
    _refuse_unsupported(single)
    return Search(
        matches=tuple(matches.items()),
        include=_included(include),
        limit=_whole_number("limit", single.get("limit")),
        offset=_whole_number("offset", single.get("offset")) or 0,
        warnings=(NO_FUZZY_MATCHING,) if _flag("fuzzymatching", single.get("fuzzymatching")) else (),
    )


def _included(names: set[str]) -> frozenset[str] | Literal["all"]:
    if "all" in names:
        if len(names) > 1:
            raise InvalidQuery("includefield=all stands alone: it names every attribute there is")
        return "all"
    return frozenset(parse_attribute(name)[:8] for name in names)


def _refuse_unsupported(single: dict[str, str]) -> None:
    for name in UNSUPPORTED & single.keys():
        if single[name] != "false":
            raise RequestError(
                HTTPStatus.NOT_IMPLEMENTED,
                f"The parameter {name} is not supported by this server; leave it out.",
            )


def _whole_number(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidQuery(f"{name}={text}: {name} is a whole number, zero or more")
    return int(text)


def _flag(name: str, text: str | None) -> bool:
    if text not in {None, "true", "false"}:
        raise InvalidQuery(f"{name}={text}: {name} is true or false")
    return text == "true"
