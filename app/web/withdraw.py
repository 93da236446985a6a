"""Withdraw Instances: DELETE of a study, series or instance; an extension of ours, not of PS3.18."""

import asyncio
from http import HTTPStatus

import orjson
from starlette.requests import Request
from starlette.responses import Response

from app.archive.withdraw import withdraw
from app.errors import InvalidQuery
from app.web.dependencies import archive_of, require_scope, required_reference
from app.web.errors import RequestError

MOST_BODY_BYTES = 8 * 2**10


async def withdraw_instances(request: Request) -> Response:
    """Withdraw a study, series or instance for a reason, which later requests for it are answered with."""
    principal = require_scope(request, "curate")
    reference = required_reference(request)
    reason = request.query_params.get("reason") or _reason(await _body(request))
    by = f"token {principal.token_id}"
    done = await asyncio.to_thread(withdraw, archive_of(request), reference, reason, by)
    answer = {"withdrawn": done.instances, "in_place": done.in_place, "reason": done.reason}
    return Response(orjson.dumps(answer), media_type="application/json")


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BODY_BYTES:
            raise RequestError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"A reason is sent in at most {MOST_BODY_BYTES} bytes.",
                {"Connection": "close"},
            )
    return body


def _reason(body: bytes) -> str:
    """Read `{"reason": "…"}`."""
    try:
        content = orjson.loads(body) if body else {}
    except orjson.JSONDecodeError as error:
        raise InvalidQuery(f'The body is not JSON such as {{"reason": "…"}}: {error}') from error
    reason = content.get("reason", "") if isinstance(content, dict) else ""
    return reason if isinstance(reason, str) else ""
