"""The URLs of what is held, below the public root."""

from starlette.requests import Request

from app.catalog.holdings import Held, Reference
from app.web.dependencies import archive_of


def location_of(root: str, held: Held | Reference) -> str:
    """Return the URL of an instance, or of what a reference names."""
    location = f"{root}/studies/{held.study_instance_uid}"
    if held.series_instance_uid is not None:
        location += f"/series/{held.series_instance_uid}"
    if held.sop_instance_uid is not None:
        location += f"/instances/{held.sop_instance_uid}"
    return location


def asked_location(request: Request) -> str:
    """Return the URL asked for, its path and query as they came, below the public root."""
    path = request.scope["raw_path"].decode("latin-1")
    query = request.scope["query_string"].decode("latin-1")
    return f"{archive_of(request).settings.base_url}{path}{'?' if query else ''}{query}"
