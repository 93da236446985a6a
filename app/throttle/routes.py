"""Which routes have no limit, and which are costly: walks over everything that an application can answer."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Host, Mount, Router

from app.throttle.policy import ROUTE_KINDS, RouteKind

# FastAPI makes these itself, from this module; the limit of all requests is enough for them.
FASTAPI_PAGES = ("openapi_url", "docs_url", "redoc_url", "swagger_ui_oauth2_redirect_url")
FASTAPI_MODULE = "fastapi.applications"


def unlimited_routes(
    app: Starlette | Router, is_limited: Callable[[object], bool], prefix: str = ""
) -> Iterator[str]:
    """Yield each route whose endpoint has no limit, as `GET /path (name)`; included and mounted ones too."""
    allowed = {getattr(app, name) for name in FASTAPI_PAGES} if isinstance(app, FastAPI) else set()
    router = app.router if isinstance(app, Starlette) else app
    yield from _walk(router.routes, is_limited, prefix, allowed)
    # Folders of files (`app.frontend()`), which the router keeps apart from its routes.
    low_priority: Callable[[], Iterable[Any]] = getattr(router, "_iter_low_priority_routes", list)
    for group in low_priority():
        inside = f"{prefix}{getattr(group, 'frontend_prefix', '')}"
        for folder in getattr(group, "original_route", group).routes:
            yield f"{inside}{folder.path} (files)"


def _walk(
    routes: Iterable[BaseRoute], is_limited: Callable[[object], bool], prefix: str, allowed: set[str | None]
) -> Iterator[str]:
    for context in iter_route_contexts(list(routes)):
        # The effective route: of an included router's route, the copy that carries the prefix.
        path = f"{prefix}{context.path or ''}"
        route = context._effective_route  # noqa: SLF001 - mounts have no public way to it
        if isinstance(route, Mount | Host):
            yield from _mounted(route, is_limited, path)
            continue
        endpoint = context.endpoint
        if endpoint is not None and is_limited(endpoint):
            continue
        if context.path in allowed and getattr(endpoint, "__module__", "") == FASTAPI_MODULE:
            continue
        methods = "|".join(sorted(context.methods or ())) or type(context.original_route).__name__
        yield f"{methods} {path} ({context.name})"


def _mounted(route: Mount | Host, is_limited: Callable[[object], bool], path: str) -> Iterator[str]:
    app: Any = route.app
    while not isinstance(app, Starlette | Router) and hasattr(app, "app"):
        if is_limited(app):
            return
        app = app.app  # a middleware around what is mounted
    if isinstance(app, Starlette | Router):
        yield from unlimited_routes(app, is_limited, path)
    elif not is_limited(app):
        yield f"{type(route).__name__} {path} ({type(app).__name__})"


class Placed(NamedTuple):
    """A route at its path."""

    path: str
    methods: frozenset[str]
    endpoint: object


def placed_routes(app: Starlette) -> Iterator[Placed]:
    """Yield the routes of an application itself, with their whole paths; not those of mounted ones."""
    for context in iter_route_contexts(list(app.router.routes)):
        if context.path and context.endpoint is not None:
            yield Placed(context.path, frozenset(context.methods or ()), context.endpoint)


class KindsByPath:
    """Tells the kind of a costly route from method and path, in a step for each part of the path.

    A router would find the same route, and takes ten times as long; it is asked anyway when the request has
    been let in. What is not found here is counted there.
    """

    def __init__(self, routes: Iterable[Placed], kinds: Mapping[object, str]) -> None:
        """`kinds` has that of every endpoint."""
        self._root: _Branch = _Branch()
        for route in routes:
            kind = kinds.get(route.endpoint)
            if kind in ROUTE_KINDS:
                branch = self._root
                for part in filter(None, route.path.split("/")):
                    branch = branch.parts.setdefault("{" if "{" in part else part, _Branch())
                branch.kinds.update(dict.fromkeys(route.methods, kind))

    def of(self, method: str, path: str) -> RouteKind | None:
        """Return the kind of a request; None for what is not costly, or not known."""
        branch = self._root
        for part in path.split("/"):
            if part:
                found = branch.parts.get(part) or branch.parts.get("{")
                if found is None:
                    return None
                branch = found
        return branch.kinds.get(method)


class _Branch:
    """What may follow on the beginning of a path; `{` stands for any one part."""

    __slots__ = ("kinds", "parts")

    def __init__(self) -> None:
        self.parts: dict[str, _Branch] = {}
        self.kinds: dict[str, RouteKind] = {}
