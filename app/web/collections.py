"""Collections over HTTP: which there are, what they hold; and their making, for tokens of the scope `curate`.

An extension of ours, not of PS3.18. A description is Markdown, sent as the text it is.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from app.archive.archive import Archive
from app.archive.collection_summaries import Summary, summaries, summary_of
from app.archive.collections import (
    FIELDS,
    change_collection,
    create_collection,
    drop_collection,
)
from app.archive.membership import Report, add_members, found_instances, remove_members
from app.errors import InvalidQuery
from app.settings import COLLECTIONS_PATH
from app.web.conditional import content_answer
from app.web.dependencies import archive_of, collection_root, principal_of, require_scope
from app.web.errors import RequestError
from app.web.search_parameters import parse_keys, parse_search
from app.web.searching import SearchThreads
from app.web.terms import PARAMETERS as TERMS

JSON = "application/json"
CURATE = "curate"
USUAL_LIMIT, MOST_LIMIT = 100, 1000
MOST_BODY_BYTES = 256 * 2**10
MOST_NAMES = 500  # of one call
MOST_FOUND = 10_000  # by the query of one call

_NAMING = ("isic_ids", "sop_instance_uids", "series_instance_uids", "study_instance_uids")
# What the fields are called over HTTP.
_NAMES = {"public": "is_public", "pinned": "is_pinned", "requires_licence": "requires_licence"}


async def list_collections(request: Request) -> Response:
    """List the public collections, the pinned first; with a token of the scope `curate` all of them."""
    limit, offset = _page(request)
    archive, sees_all = archive_of(request), principal_of(request).may(CURATE)
    found, total = await _searches(request).run(summaries, archive, limit, offset, sees_all=sees_all)
    base_url = archive.settings.base_url
    listed = [_told(base_url, one) for one in found]
    answer = _answer(request, {"collections": listed, "total": total})
    if offset + len(found) < total:
        following = f"{base_url}{COLLECTIONS_PATH}?limit={limit}&offset={offset + len(found)}"
        answer.headers["Link"] = f'<{following}>; rel="next"'
    return answer


async def retrieve_collection(request: Request) -> Response:
    """Describe a collection: what it holds, on which terms, and the DICOMweb root that serves it."""
    if any(name in request.query_params for name in TERMS):
        raise InvalidQuery(
            f"{' and '.join(TERMS)}: ask the DICOMweb root of the collection. This is about all of it."
        )
    archive, sees_all = archive_of(request), principal_of(request).may(CURATE)
    found = await _searches(request).run(summary_of, archive, _slug(request), sees_all=sees_all)
    return _answer(request, _told(archive.settings.base_url, found))


async def make_collection(request: Request) -> Response:
    """Make a collection of slug, title, description, parent, public, pinned, requires_licence."""
    require_scope(request, CURATE)
    archive, fields = archive_of(request), _fields(await _body(request))
    made = await asyncio.to_thread(create_collection, archive, fields)
    answer = await _now(request, made.slug, HTTPStatus.CREATED)
    answer.headers["Location"] = f"{archive.settings.base_url}{COLLECTIONS_PATH}/{made.slug}"
    return answer


async def alter_collection(request: Request) -> Response:
    """Give a collection other values of some of its fields; 409 while it is locked."""
    require_scope(request, CURATE)
    fields = _fields(await _body(request))
    await asyncio.to_thread(change_collection, archive_of(request), _slug(request), fields)
    return await _now(request, _slug(request))


async def delete_collection(request: Request) -> Response:
    """Delete a collection, and nothing that it holds; 409 while it is locked or has parts."""
    require_scope(request, CURATE)
    await asyncio.to_thread(drop_collection, archive_of(request), _slug(request))
    return Response(status_code=HTTPStatus.NO_CONTENT)


async def add_to_collection(request: Request) -> Response:
    """Make instances members: by isic_ids or UIDs, at most 500, or by a query of the keys of a search."""
    require_scope(request, CURATE)
    archive, content = archive_of(request), await _body(request)
    names, dry_run = await asyncio.to_thread(_members, archive, content)
    report = await asyncio.to_thread(add_members, archive, _slug(request), names, dry_run=dry_run)
    return _reported(report, "added", "already_there")


async def remove_from_collection(request: Request) -> Response:
    """Take members out, named as for adding them; what is held stays held."""
    require_scope(request, CURATE)
    archive, content = archive_of(request), await _body(request)
    names, dry_run = await asyncio.to_thread(_members, archive, content)
    report = await asyncio.to_thread(remove_members, archive, _slug(request), names, dry_run=dry_run)
    return _reported(report, "removed", "not_there")


def _told(base_url: str, found: Summary) -> dict[str, Any]:
    slug = found.collection.slug
    return found.told() | {
        "url": f"{base_url}{COLLECTIONS_PATH}/{slug}",
        "dicomweb": collection_root(base_url, slug),
    }


def _answer(request: Request, content: object) -> Response:
    answer = content_answer(request, orjson.dumps(content), JSON)
    answer.headers["Vary"] = "Authorization"
    return answer


async def _now(request: Request, slug: str, status: HTTPStatus = HTTPStatus.OK) -> Response:
    archive = archive_of(request)
    found = await _searches(request).run(summary_of, archive, slug, sees_all=True)
    return Response(orjson.dumps(_told(archive.settings.base_url, found)), status, media_type=JSON)


def _reported(report: Report, changed: str, unchanged: str) -> Response:
    told = asdict(report)
    content = {
        changed: told.pop("changed"),
        unchanged: told.pop("unchanged"),
        "not_found": report.not_found,
        "refused": [{"name": name, "reason": reason} for name, reason in report.refused.items()],
    }
    return Response(orjson.dumps(content), media_type=JSON)


def _fields(content: Mapping[str, Any]) -> dict[str, Any]:
    there_are = sorted(FIELDS - set(_NAMES.values())) + list(_NAMES)
    for name in content:
        if name not in there_are:
            raise InvalidQuery(f"A collection has no {name[:80]!r}; there are {', '.join(there_are)}.")
    return {_NAMES.get(name, name): value for name, value in content.items()}


def _members(archive: Archive, content: Mapping[str, Any]) -> tuple[list[str], bool]:
    """Return the names that a body means, and whether nothing is to be changed."""
    dry_run = content.get("dry_run", False)
    if not isinstance(dry_run, bool):
        raise InvalidQuery("dry_run is true or false.")
    given = {name: value for name, value in content.items() if name != "dry_run"}
    if len(given) != 1 or not given.keys() <= {*_NAMING, "query"}:
        raise InvalidQuery(f"Members are named in one of {', '.join(_NAMING)}, or found by a query.")
    ((name, value),) = given.items()
    if name == "query":
        return found_instances(archive, parse_keys(_pairs(value)), MOST_FOUND), dry_run
    if not isinstance(value, list) or not all(isinstance(one, str) and 0 < len(one) <= 64 for one in value):
        raise InvalidQuery(f"{name} is a list of texts, each of at most 64 characters.")
    if not 0 < len(value) <= MOST_NAMES:
        raise InvalidQuery(f"{name} has {len(value)} entries; one call takes 1 to {MOST_NAMES}.")
    return value, dry_run


def _pairs(query: object) -> list[tuple[str, str]]:
    if not isinstance(query, dict) or not all(isinstance(value, str) for value in query.values()):
        raise InvalidQuery('A query is an object of keys and texts, such as {"DiagnosisLevels": "Melanoma"}.')
    return list(query.items())


async def _body(request: Request) -> dict[str, Any]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BODY_BYTES:
            raise RequestError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"A request about a collection has at most {MOST_BODY_BYTES} bytes.",
                {"Connection": "close"},
            )
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidQuery(f"The body is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise InvalidQuery("The body is not a JSON object.")
    return content


def _page(request: Request) -> tuple[int, int]:
    parsed = parse_search((name, value) for name, value in request.query_params.multi_items())
    if parsed.matches or parsed.include or parsed.order:
        raise InvalidQuery("Collections are listed by limit and offset, and nothing else.")
    return min(parsed.limit if parsed.limit is not None else USUAL_LIMIT, MOST_LIMIT), parsed.offset


def _slug(request: Request) -> str:
    slug: str = request.path_params["collection"]
    return slug


def _searches(request: Request) -> SearchThreads:
    found: SearchThreads = request.app.state.searches
    return found
