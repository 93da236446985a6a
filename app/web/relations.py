"""Lesions, patients and confocal cases of the corpus, as JSON: what images belong together."""

from collections.abc import Callable
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.archive.archive import Archive
from app.corpus import relations
from app.throttle.limits import RouteLimits
from app.web.conditional import content_tag, is_current
from app.web.dependencies import archive_of, run_read, service_root
from app.web.dicomweb import READ, Endpoint, ResourceRoute
from app.web.terms import wanted_licences

Related = Callable[[Archive, str, str, relations.Licences], dict[str, Any]]

RELATIONS: dict[str, Related] = {
    "/lesions/{lesion_id}": relations.lesion,
    "/patients/{patient_id}": relations.patient,
    "/rcm-cases/{rcm_case_id}": relations.rcm_case,
}


def relation_routes(limits: RouteLimits) -> list[Route]:
    """Return the routes, each with its limit."""
    return [
        ResourceRoute(path, limits.limited(_endpoint(related), "search"), methods=READ)
        for path, related in RELATIONS.items()
    ]


def _endpoint(related: Related) -> Endpoint:
    async def retrieve(request: Request) -> Response:
        (name,) = request.path_params.values()
        wanted = wanted_licences(request.query_params.multi_items())
        found = await run_read(request, related, archive_of(request), name, service_root(request), wanted)
        body = orjson.dumps(found)
        headers = {"ETag": content_tag(body), "Cache-Control": "no-cache"}
        if is_current(request, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        return Response(body, media_type="application/json", headers=headers)

    retrieve.__name__ = related.__name__
    retrieve.__doc__ = related.__doc__
    return retrieve
