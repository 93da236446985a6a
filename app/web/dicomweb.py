"""The DICOMweb service: one table of resources (PS3.18 Table 10.1-1), mounted under any root."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache, wraps
from http import HTTPStatus
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from app.archive.collections import scope_of as scope_of_public
from app.settings import COLLECTIONS_PATH, SERVICE_PATH
from app.throttle.limits import RouteLimits
from app.throttle.policy import RouteKind
from app.web import (
    bulk_data,
    changes,
    commitment,
    frames,
    metadata,
    qido,
    rendered,
    stow,
    thumbnail,
    uri_service,
    wado,
    withdraw,
)
from app.web.dependencies import COLLECTION, archive_of, run_read
from app.web.errors import RequestError

Endpoint = Callable[[Request], Awaitable[Response]]
READ = ("GET", "HEAD")
COLLECTION_PREFIX = COLLECTIONS_PATH + "/{collection}"
# Changes are those of instances: that one became a member, or is none any more, would not be among them.
UNSCOPED = frozenset({changes.follow_changes, commitment.check_storage_commitment})

_SLASHES = re.compile("//+")


@dataclass(frozen=True, slots=True)
class Resource:
    """One row: path, methods, endpoint, and the kind of its limit."""

    path: str
    methods: tuple[str, ...]
    endpoint: Endpoint
    limit: RouteKind | Literal["cheap"]

    @property
    def path_parameters(self) -> list[str]:
        """The names in the path."""
        return path_parameters(self.path)

    @property
    def is_of_collections(self) -> bool:
        """Whether it is there below the root of a collection too: it reads, and knows of collections."""
        return self.methods == READ and self.endpoint not in UNSCOPED


def path_parameters(path: str) -> list[str]:
    """Return the names in a path."""
    return re.findall(r"{(\w+)", path)


STUDY = "/studies/{study}"
SERIES = STUDY + "/series/{series}"
INSTANCE = SERIES + "/instances/{instance}"
LEVELS = (STUDY, SERIES, INSTANCE)

# Matched in this order: what viewers ask for most comes first.
RESOURCES: tuple[Resource, ...] = (
    Resource(INSTANCE + "/frames/{frames}", READ, frames.retrieve_frames, "cheap"),
    Resource(INSTANCE, READ, wado.retrieve_dicom, "cheap"),
    Resource(SERIES + "/metadata", READ, metadata.retrieve_metadata, "cheap"),
    Resource(INSTANCE + "/thumbnail", READ, thumbnail.retrieve_thumbnail, "render"),
    Resource(INSTANCE + "/rendered", READ, rendered.retrieve_rendered, "render"),
    Resource("/studies", READ, qido.search_for_studies, "search"),
    Resource("/series", READ, qido.search_for_series, "search"),
    Resource("/instances", READ, qido.search_for_instances, "search"),
    Resource(STUDY + "/series", READ, qido.search_for_series, "search"),
    Resource(STUDY + "/instances", READ, qido.search_for_instances, "search"),
    Resource(SERIES + "/instances", READ, qido.search_for_instances, "search"),
    Resource(STUDY + "/metadata", READ, metadata.retrieve_metadata, "cheap"),
    Resource(INSTANCE + "/metadata", READ, metadata.retrieve_metadata, "cheap"),
    Resource(STUDY, READ, wado.retrieve_dicom, "cheap"),
    Resource(SERIES, READ, wado.retrieve_dicom, "cheap"),
    Resource(INSTANCE + "/bulkdata/{path:path}", READ, bulk_data.retrieve_bulk_data, "cheap"),
    Resource(INSTANCE + "/frames", READ, frames.retrieve_frames, "cheap"),
    *(Resource(one + "/bulkdata", READ, bulk_data.retrieve_all_bulk_data, "cheap") for one in LEVELS),
    *(Resource(one + "/pixeldata", READ, bulk_data.retrieve_pixel_data, "cheap") for one in LEVELS),
    Resource(STUDY + "/rendered", READ, rendered.retrieve_rendered, "render"),
    Resource(SERIES + "/rendered", READ, rendered.retrieve_rendered, "render"),
    Resource(INSTANCE + "/frames/{frames}/rendered", READ, rendered.retrieve_rendered, "render"),
    Resource(STUDY + "/thumbnail", READ, thumbnail.retrieve_thumbnail, "render"),
    Resource(SERIES + "/thumbnail", READ, thumbnail.retrieve_thumbnail, "render"),
    Resource(INSTANCE + "/frames/{frames}/thumbnail", READ, thumbnail.retrieve_thumbnail, "render"),
    Resource("/changes", READ, changes.follow_changes, "search"),
    Resource("/studies", ("POST",), stow.store_instances, "store"),
    Resource(STUDY, ("POST",), stow.store_instances, "store"),
    Resource("/commitment-requests/{transaction}", ("POST",), commitment.request_storage_commitment, "store"),
    Resource("/commitment-requests/{transaction}", READ, commitment.check_storage_commitment, "cheap"),
    Resource(STUDY, ("DELETE",), withdraw.withdraw_instances, "store"),
    Resource(SERIES, ("DELETE",), withdraw.withdraw_instances, "store"),
    Resource(INSTANCE, ("DELETE",), withdraw.withdraw_instances, "store"),
)

# The URI Service (PS3.18 chapter 9) stands beside the root of the others.
URI_SERVICE = Resource(uri_service.URI_PATH, READ, uri_service.retrieve_by_uri, "cheap")


class ResourceRoute(Route):
    """A route that tells its name to the request log, as FastAPI's do."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match as ever, also where a root with a slash at its end has put one too many into the path.

        A redirection would send the client to whatever its `Host` says.
        """
        match, found = super().matches(scope)
        path = scope["path"]
        if match is Match.NONE and (path.endswith("/") or "//" in path):
            match, found = super().matches({**scope, "path": _SLASHES.sub("/", path).rstrip("/")})
        if match is Match.FULL:
            found["route"] = self
        return match, found


@cache
def within_collection(endpoint: Endpoint) -> Endpoint:
    """Return an endpoint that serves what the collection named in the path holds, and 404 without one."""

    @wraps(endpoint)
    async def scoped(request: Request) -> Response:
        slug = request.path_params["collection"]
        request.scope[COLLECTION] = await run_read(request, scope_of_public, archive_of(request), slug)
        return await endpoint(request)

    return scoped


@within_collection
async def refuse_to_write(request: Request) -> Response:
    """Say where instances are stored and withdrawn: what a collection holds is a choice among those."""
    root = archive_of(request).settings.base_url + SERVICE_PATH
    raise RequestError(
        HTTPStatus.METHOD_NOT_ALLOWED,
        f"Nothing is stored, withdrawn or committed to below a collection: that is done at {root}.",
        {
            "Allow": "OPTIONS" if "transaction" in request.path_params else "GET, HEAD, OPTIONS",
            "Connection": "close",
        },
    )


def collection_routes(limits: RouteLimits) -> list[Route]:
    """Return the routes of the service of each collection, also of those that are still to be made."""
    uri_service_path = COLLECTION_PREFIX + URI_SERVICE.path
    placed = [
        *((COLLECTION_PREFIX + SERVICE_PATH + resource.path, resource) for resource in RESOURCES),
        (uri_service_path, URI_SERVICE),
    ]
    routes: list[Route] = []
    for path, resource in placed:
        if resource.is_of_collections:
            endpoint = limits.limited(within_collection(resource.endpoint), resource.limit)
        elif resource.endpoint is changes.follow_changes:
            continue
        else:
            endpoint = limits.limited(refuse_to_write, "cheap")
        routes.append(ResourceRoute(path, endpoint, methods=resource.methods))
    return routes


def dicomweb_routes(prefix: str, limits: RouteLimits) -> list[Route]:
    """Return the routes of the service below a prefix, each with its limit.

    Plain Starlette routes: an endpoint reads the request itself; those of FastAPI would cost as much again as
    most answers do. openapi.py describes them in the API document.
    """
    placed = [
        *((prefix + resource.path, resource) for resource in RESOURCES),
        (URI_SERVICE.path, URI_SERVICE),
    ]
    return [
        ResourceRoute(path, limits.limited(resource.endpoint, resource.limit), methods=resource.methods)
        for path, resource in placed
    ]
