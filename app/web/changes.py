"""The change feed: what was added and withdrawn, in order; an extension of ours, not of PS3.18."""

from http import HTTPStatus

import orjson
from starlette.requests import Request
from starlette.responses import Response

from app.archive.follow import ChangePage, follow
from app.catalog.changes import Change
from app.errors import InvalidQuery
from app.web.conditional import entity_tag, is_current
from app.web.dependencies import archive_of, run_read, service_root
from app.web.negotiation import accepted, not_acceptable

JSON = "application/json"
NDJSON = "application/x-ndjson"
MEDIA_TYPES = {JSON: JSON, NDJSON: NDJSON, "application/jsonl": "application/jsonl"}

USUAL_LIMIT = 1000
MOST_LIMIT = 10_000
PARAMETERS = frozenset({"since", "limit", "accept"})


async def follow_changes(request: Request) -> Response:
    """Retrieve what changed after a number, in order, as JSON or one JSON object a line."""
    media_type = _media_type(request)
    since, limit = _numbers(request)
    page = await run_read(request, follow, archive_of(request), since, limit)
    headers = {"ETag": entity_tag(media_type, since, limit, page.latest), "Cache-Control": "no-cache"}
    last = page.changes[-1].sequence if page.changes else since
    if last < page.latest:
        following = f"{service_root(request)}/changes?since={last}&limit={limit}"
        headers["Link"] = f'<{following}>; rel="next"'
    if is_current(request, headers["ETag"]):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(_body(page, last, media_type), media_type=media_type, headers=headers)


def _media_type(request: Request) -> str:
    for media_range in accepted(request):
        if not media_range.is_multipart:
            for offered, media_type in MEDIA_TYPES.items():
                if media_range.covers(offered):
                    return media_type
    raise not_acceptable(f"Changes are available as {' and '.join(MEDIA_TYPES)}.")


def _numbers(request: Request) -> tuple[int, int]:
    given = request.query_params.multi_items()
    for name, _ in given:
        if name not in PARAMETERS:
            raise InvalidQuery(f"{name}: the changes are asked for with since and limit, and nothing else")
    values: dict[str, str] = {}
    for name, value in given:
        if name in values:
            raise InvalidQuery(f"The parameter {name} is given more than once")
        values[name] = value
    since, limit = (
        _whole_number(name, values.get(name, usual))
        for name, usual in (("since", "0"), ("limit", USUAL_LIMIT))
    )
    if limit == 0:
        raise InvalidQuery("limit=0: limit is a whole number from 1")
    return since, min(limit, MOST_LIMIT)


def _whole_number(name: str, text: str | int) -> int:
    text = str(text)
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidQuery(f"{name}={text}: {name} is a whole number, zero or more")
    return int(text)


def _body(page: ChangePage, last: int, media_type: str) -> bytes:
    changes = [_to_json(change) for change in page.changes]
    if media_type == JSON:
        return orjson.dumps({"changes": changes, "last": last, "latest": page.latest})
    return b"".join(orjson.dumps(change, option=orjson.OPT_APPEND_NEWLINE) for change in changes)


def _to_json(change: Change) -> dict[str, int | str | None]:
    return {
        "sequence": change.sequence,
        "action": change.action,
        "time": change.time,
        "StudyInstanceUID": change.study_instance_uid,
        "SeriesInstanceUID": change.series_instance_uid,
        "SOPInstanceUID": change.sop_instance_uid,
        "sha256": change.sha256.hex() if change.sha256 else None,
    }
