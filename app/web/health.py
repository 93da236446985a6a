"""Whether the process lives, whether it can serve, and what it counts."""

import asyncio
from typing import TYPE_CHECKING

import orjson
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.core import GaugeMetricFamily
from starlette.requests import Request
from starlette.responses import Response

from app.archive.archive import Archive
from app.catalog.holdings import totals
from app.errors import ArchiveError
from app.observability.metrics import Metrics
from app.observability.upstreams import upstream_gauges
from app.web.dependencies import archive_of
from app.web.errors import problem
from app.web.spending import spending_gauges

if TYPE_CHECKING:  # loaded where there are upstreams
    from app.proxy.proxy import Proxy


async def live(_request: Request) -> Response:
    """Say that the process answers; depends on nothing."""
    return Response(b'{"status":"live"}', media_type="application/json")


async def ready(request: Request) -> Response:
    """Say whether catalogue and storage can be used, 503 and why where they cannot."""
    try:
        held = await asyncio.to_thread(_check, archive_of(request))
    except ArchiveError as error:
        return problem(503, str(error), {"Retry-After": "5"})
    body = orjson.dumps({"status": "ready", "held": held})
    return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})


def _check(archive: Archive) -> dict[str, int]:
    archive.storage.probe()
    with archive.catalog.read() as connection:
        return totals(connection)


async def metrics(request: Request) -> Response:
    """Return Prometheus metrics of all worker processes."""
    counts: Metrics = request.app.state.metrics
    held = await asyncio.to_thread(_held, archive_of(request))
    gauges = [
        GaugeMetricFamily(f"dermzoo_held_{name}", f"Held now: {name}.", value=value)
        for name, value in held.items()
    ]
    budget = request.app.state.budget
    if budget is not None:
        gauges += spending_gauges(budget, await budget.soon(budget.telling_shared()))
    if request.app.state.proxy is not None:
        gauges += await asyncio.to_thread(_proxy_gauges, request.app.state.proxy)
    return Response(counts.render(gauges), media_type=CONTENT_TYPE_LATEST)


def _held(archive: Archive) -> dict[str, int]:
    with archive.catalog.read() as connection:
        return totals(connection)


def _proxy_gauges(proxy: "Proxy") -> list[GaugeMetricFamily]:
    alone = {name: service.left_alone_s() for name, service in proxy.services.items()}
    return upstream_gauges(proxy.cache.size_bytes(), alone)
