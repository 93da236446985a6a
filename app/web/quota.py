"""`/quota`: where the caller stands with the budget, as JSON or as a page; never anyone else."""

from dataclasses import asdict
from html import escape
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from app.throttle.budget import Budget
from app.throttle.refusals import alternatives
from app.throttle.verdicts import Standing
from app.web.problem_forms import HTML_HEADERS, alternatives_html, readable

HEADERS = {"Cache-Control": "no-store", "Vary": "Accept"}


async def quota(request: Request) -> Response:
    """Return the caller's own standing with the budget; never anyone else's."""
    budget: Budget | None = request.app.state.budget
    standing: list[Standing] = []
    more: dict[str, Any] = {}
    if budget is not None:
        account = budget.account(request.app.state.clients.identify(request.scope))
        standing = await budget.soon(budget.telling(account))
        more = alternatives(budget.policy.refusal)
    if readable(request.headers.getlist("accept"), {"text/html": None}):
        page = _page(standing, more) if budget else _page([], {}, "Nothing is limited here.")
        return Response(page, media_type="text/html", headers=HEADERS | HTML_HEADERS)
    told = {"throttle": "on" if budget else "off", "policies": [asdict(line) for line in standing], **more}
    return Response(orjson.dumps(told), media_type="application/json", headers=HEADERS)


def _number(number: float) -> str:
    return f"{number:,.0f}" if number >= 1000 else f"{number:.3g}"


def _page(standing: list[Standing], more: dict[str, Any], instead: str = "") -> str:
    rows = "".join(
        f"<tr><td>{escape(line.policy)}</td><td>{line.remaining:,} of {line.capacity:,}</td>"
        f"<td>{line.unit}</td><td>{_number(line.per_second)}</td><td>{line.seconds_to_full:,}</td></tr>\n"
        for line in standing
    )
    table = (
        "<table>\n<tr><th>policy</th><th>remaining</th><th>unit</th><th>gained a second</th>"
        f"<th>seconds until full</th></tr>\n{rows}</table>\n"
        if rows
        else f"<p>{instead or 'You have no limits of your own.'}</p>\n"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<meta charset="utf-8">\n<title>Your quota</title>\n'
        f"<h1>Your quota</h1>\n{table}{alternatives_html(more)}</html>\n"
    )
