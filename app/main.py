"""Assembles the application from its settings; nothing else happens here."""

import logging
import os
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from fastapi import FastAPI
from slowapi.errors import RateLimitExceeded
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import ASGIApp

from app.archive.archive import Archive
from app.archive.commitment import Commitments
from app.archive.embargoes import EmbargoWatch
from app.archive.thumbnails import Thumbnails
from app.errors import ArchiveError
from app.observability.logging import configure_logging, request_log_writer
from app.observability.metrics import Metrics
from app.observability.requests import RequestLog
from app.observability.upstreams import UpstreamMetrics
from app.proxy.upstreams import read_upstreams
from app.settings import CONFIG_VARIABLE, SERVICE_PATH, Settings, load_settings
from app.throttle.budget import Budget
from app.throttle.clients import Clients
from app.throttle.limits import RouteLimits, RouteRefused
from app.throttle.middleware import Throttle
from app.throttle.opening import open_budget, watch_policy
from app.throttle.refusals import refuse
from app.web import errors, health
from app.web.authentication import Authentication
from app.web.capabilities import Capabilities, Offered
from app.web.collection_resources import curating_routes
from app.web.cors import Options, PublicCors
from app.web.dicomweb import collection_routes, dicomweb_routes
from app.web.hosts import Hosts
from app.web.openapi import describe
from app.web.problem_forms import in_form
from app.web.protocol import APP_STATE, Deadlines
from app.web.quota import quota
from app.web.relations import relation_routes
from app.web.searching import SearchThreads

# In the form that the client reads, and not all of them back at the same moment.
REFUSE = partial(refuse, present=in_form, chance=random.random)

logger = logging.getLogger("dermzoo")


def create_app(settings: Settings) -> ASGIApp:
    """Return the ASGI application, everything in it made from the settings.

    Raises SettingsError when the catalogue is not current, a setting cannot be used, or a route has no limit.
    """
    archive = Archive.open(settings)
    budget = open_budget(settings) if settings.throttle == "on" else None
    commitments = Commitments(archive)
    searches = SearchThreads()
    app = _application(archive, commitments, budget, searches)
    app.state.archive, app.state.budget = archive, budget
    app.state.clients = Clients(settings.trusted_proxies)
    app.state.limits = RouteLimits(budget, app.state.clients, refuse=REFUSE)
    app.state.searches = searches
    app.state.proxy = None
    app.state.metrics = Metrics()
    app.state.commitments = commitments
    app.state.thumbnails = Thumbnails(archive.thumbnails_dir, archive.cage, settings.thumbnails_max_bytes)
    _add_routes(app, app.state.limits)
    offered = _add_proxy(app, settings) if read_upstreams(settings).upstream else ()
    _add_error_handlers(app, app.state.limits)
    app.state.limits.check_routes(app)
    if settings.allow_anonymous_store:
        logger.warning("Anyone may store: DERMZOO_ALLOW_ANONYMOUS_STORE is on")
    served: ASGIApp = Hosts(Options(app, Capabilities(settings.base_url, offered).answer), settings)
    if budget is not None:
        limits = app.state.limits
        served = Throttle(served, budget, app.state.clients, kind_of=limits.kind_of, refuse=REFUSE)
    served = PublicCors(Authentication(served, archive))
    return RequestLog(served, app.state.metrics, request_log_writer(settings.log_level))


def _application(
    archive: Archive, commitments: Commitments, budget: Budget | None, searches: SearchThreads
) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Mapping[str, object]]:
        watch = None if budget is None else watch_policy(budget, archive.settings)
        embargoes = EmbargoWatch(archive)
        try:
            yield {APP_STATE: Deadlines.of(archive.settings)}
        finally:
            embargoes.close()
            if app.state.proxy is not None:
                await app.state.proxy.close()
            commitments.close()
            searches.close()
            archive.close()
            if budget is not None and watch is not None:
                watch.close()
                budget.close()

    return FastAPI(
        title="dermzoo",
        summary="A DICOMweb server for the public dermatology DICOM corpus. Not for clinical use.",
        lifespan=lifespan,
        redoc_url=None,
    )


def _add_routes(app: FastAPI, limits: RouteLimits) -> None:
    # In the order they are tried: a viewer asks for these.
    app.router.routes[:0] = [
        *dicomweb_routes(SERVICE_PATH, limits),
        *collection_routes(limits),
        *curating_routes(limits),
        *relation_routes(limits),
    ]
    for path, endpoint, answer in (
        ("/livez", health.live, JSONResponse),
        ("/readyz", health.ready, JSONResponse),
        ("/metrics", health.metrics, PlainTextResponse),
        ("/quota", quota, JSONResponse),
    ):
        limited = limits.limited(endpoint, "cheap")
        # It answers HEAD too (RFC 9110 9.1); a route of FastAPI does not, and stands for the description.
        app.router.add_route(path, limited, methods=["GET"], include_in_schema=False)
        app.add_api_route(path, limited, methods=["GET"], tags=["Operations"], response_class=answer)
    describe(app, SERVICE_PATH)


def _add_proxy(app: FastAPI, settings: Settings) -> tuple[Offered, ...]:
    """Add the routes of the upstreams; return what they offer. Who has none does not load what they need."""
    from app.proxy.proxy import Proxy  # noqa: PLC0415
    from app.web.proxy import offered_by, proxy_routes  # noqa: PLC0415

    app.state.proxy = Proxy.open(settings, app.state.budget, UpstreamMetrics(app.state.metrics.registry))
    app.router.routes[:0] = proxy_routes(app.state.limits)
    return offered_by(app.state.proxy)


def _add_error_handlers(app: FastAPI, limits: RouteLimits) -> None:
    app.add_exception_handler(ArchiveError, errors.archive_error)
    app.add_exception_handler(errors.RequestError, errors.request_error)
    app.add_exception_handler(HTTPException, errors.http_exception)
    app.add_exception_handler(RateLimitExceeded, limits.exceeded_response)
    app.add_exception_handler(RouteRefused, limits.exceeded_response)
    app.add_exception_handler(Exception, errors.unexpected_error)


def app_from_environment() -> ASGIApp:
    """Make the application in a worker process of `dermzoo serve`."""
    named = os.environ.get(CONFIG_VARIABLE)
    settings = load_settings(Path(named) if named else None)
    configure_logging(settings.log_level)
    return create_app(settings)
