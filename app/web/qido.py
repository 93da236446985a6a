"""QIDO-RS: search for studies, series and instances (PS3.18 8.3.4, 10.6)."""

from collections.abc import Iterator
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from app.archive.query import is_answered_at_once, search_archive
from app.catalog.search import Page
from app.dicom.matching import Level, Query
from app.dicom.tags import keyword
from app.web.dependencies import archive_of, reference_of, run_read, scope_of, service_root
from app.web.model_answer import accepted_form, model_answer
from app.web.search_parameters import Search, parse_search, require_utf8
from app.web.searching import SearchThreads


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
    form = accepted_form(request, name="A search result")
    require_utf8(request.scope["query_string"])
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
        order=parsed.order,
        scope=scope_of(request),
    )
    page = await _page(request, query)
    settings, root = archive_of(request).settings, service_root(request)
    if not page.answers and settings.empty_search_status == 204:
        response = Response(status_code=HTTPStatus.NO_CONTENT)
    else:
        response = await model_answer(request, form, page.answers)
    for warning in _warnings(parsed, query, page, settings.search_limit):
        response.headers.append("Warning", f"299 {root}: {warning}")
    return response


async def _page(request: Request, query: Query) -> Page:
    if is_answered_at_once(query):
        return await run_read(request, search_archive, archive_of(request), query)
    threads: SearchThreads = request.app.state.searches
    return await threads.run(search_archive, archive_of(request), query)


def _warnings(parsed: Search, query: Query, page: Page, most: int) -> Iterator[str]:
    yield from parsed.warnings
    if query.study_instance_uid is None and query.limit is not None and query.limit > most:
        yield f"The limit was lowered to {most}, the most results of one search"
    if page.remaining:
        yield f"There are {page.remaining} additional results that can be requested"
    if page.unmatched:
        names = ", ".join(keyword(tag) for tag in page.unmatched)
        yield f"These attributes belong to a lower level than the search and were passed over: {names}"
