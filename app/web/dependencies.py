"""What endpoints ask of the request: the archive, the caller, the resource it names."""

import asyncio
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import ParamSpec, TypeVar

from starlette.requests import Request

from app.archive.archive import Archive
from app.archive.collections import Scope
from app.auth.principals import Principal
from app.catalog.holdings import Reference
from app.settings import COLLECTIONS_PATH, SERVICE_PATH
from app.web.errors import RequestError

P = ParamSpec("P")
T = TypeVar("T")

COLLECTION = "dermzoo.collection"  # where the ASGI scope has it
UID = re.compile(r"[0-9.]{1,64}")


def archive_of(request: Request) -> Archive:
    """Return the open archive."""
    archive: Archive = request.app.state.archive
    return archive


def collection_of(request: Request) -> Scope | None:
    """Return the collection below whose root the request is, None for the root of everything."""
    found: Scope | None = request.scope.get(COLLECTION)
    return found


def scope_of(request: Request) -> int | None:
    """Return the number of that collection."""
    found = request.scope.get(COLLECTION)
    return None if found is None else found.number


def service_root(request: Request) -> str:
    """Return the absolute URL of the DICOMweb service asked, from the settings and never from `Host`."""
    base_url, collection = archive_of(request).settings.base_url, request.scope.get(COLLECTION)
    return base_url + SERVICE_PATH if collection is None else collection_root(base_url, collection.slug)


def collection_root(base_url: str, slug: str) -> str:
    """Return the absolute URL of the DICOMweb service of a collection."""
    return f"{base_url}{COLLECTIONS_PATH}/{slug}{SERVICE_PATH}"


def principal_of(request: Request) -> Principal:
    """Return who is asking."""
    principal: Principal = request.scope["dermzoo.principal"]
    return principal


def require_scope(request: Request, scope: str) -> Principal:
    """Return who is asking; raise 401 or 403 unless they may do what the scope allows."""
    principal = principal_of(request)
    if principal.may(scope):
        return principal
    if principal.token_id is not None:
        raise RequestError(HTTPStatus.FORBIDDEN, f"This token does not carry the scope {scope!r}.")
    challenge = {"WWW-Authenticate": f'Bearer realm="dermzoo", scope="{scope}"'}
    if principal.is_refused:
        challenge["WWW-Authenticate"] += ', error="invalid_token"'
        raise RequestError(HTTPStatus.UNAUTHORIZED, "This token is unknown or was revoked.", challenge)
    raise RequestError(
        HTTPStatus.UNAUTHORIZED,
        f"This needs a token with the scope {scope!r}. The operator makes one with: "
        f"dermzoo token create --scope {scope}",
        challenge,
    )


def reference_of(request: Request) -> Reference | None:
    """Return the study, series or instance that the path names; raise 400 for what cannot be a UID."""
    uids = []
    for name in ("study", "series", "instance"):
        uid = request.path_params.get(name)
        if uid is None:
            break
        if not UID.fullmatch(uid):
            raise RequestError(
                HTTPStatus.BAD_REQUEST,
                f"The {name} is not named by a UID: digits and dots, at most 64 characters (PS3.5 9.1).",
            )
        uids.append(uid)
    return Reference(*uids, scope=scope_of(request)) if uids else None


def required_reference(request: Request) -> Reference:
    """Return the resource that the path names, which its route makes sure of."""
    reference = reference_of(request)
    assert reference is not None
    return reference


async def count_conversion(request: Request) -> None:
    """Count a conversion of pixels against the caller's limit; raises RouteRefused when it is spent."""
    await request.app.state.limits.admit(request, "transcode")


async def run_read(request: Request, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a catalogue read: at once on SQLite, in a thread on a database behind a socket.

    A read takes SQLite 10 to 50 microseconds; the hop to a thread alone costs about 200.
    """
    if archive_of(request).catalog.is_sqlite:
        return function(*args, **kwargs)
    return await asyncio.to_thread(function, *args, **kwargs)
