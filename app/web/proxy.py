"""Other servers' DICOMweb under our roof: /proxy/{upstream}/dicom-web, in the forms and limits of ours."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import aclosing
from http import HTTPStatus
from itertools import chain
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app.errors import ArchiveError, NotFound
from app.proxy.asked import Asked, Kind
from app.proxy.cache import HEAD_BYTES, Kept
from app.proxy.errors import UpstreamError
from app.proxy.proxy import PROXY_PATH, Proxy
from app.proxy.service import Flow, Service
from app.settings import SERVICE_PATH
from app.throttle.limits import RouteLimits
from app.web import bulk_data
from app.web.body import FileRange, disconnected
from app.web.capabilities import Offered, offered_below
from app.web.conditional import CHANGING, FIXED, PARTIAL, Selected, precondition_answer
from app.web.dependencies import archive_of, require_scope
from app.web.dicomweb import INSTANCE, LEVELS, READ, SERIES, STUDY, Resource, ResourceRoute
from app.web.dicomweb import RESOURCES as OWN
from app.web.errors import RequestError, archive_error, request_error
from app.web.media_ranges import MediaRange, read_accept
from app.web.multipart import Part
from app.web.proxied_query import proxied_query
from app.web.ranges import single_part_answer
from app.web.transactions import TRANSACTIONS, Transaction

T = TypeVar("T")

logger = logging.getLogger("dermzoo")

# What others send is shown nowhere: not as a page, not with scripts (it is of our origin).
_SANDBOX = {"Content-Security-Policy": "default-src 'none'; sandbox"}


async def search(request: Request) -> Response:
    """Search another server."""
    return await _answer(request, "search")


async def retrieve_metadata(request: Request) -> Response:
    """Retrieve the metadata of a study or series of another server, or of one instance."""
    return await _answer(request, "object" if "instance" in request.path_params else "metadata")


async def retrieve_object(request: Request) -> Response:
    """Retrieve an instance, frames or bulk data of another server."""
    return await _answer(request, "object")


async def retrieve_many(request: Request) -> Response:
    """Retrieve a study or series of another server; it passes through, and is not kept."""
    return await _answer(request, "transient")


async def retrieve_rendered(request: Request) -> Response:
    """Retrieve what another server renders, or its thumbnail."""
    return await _answer(request, "object" if "instance" in request.path_params else "metadata")


async def store(request: Request) -> Response:
    """Store instances to another server, with a token that has the scope `store:` and its name."""
    try:
        return await _store(request)
    except ClientDisconnect:
        return Response(status_code=HTTPStatus.BAD_REQUEST)
    except RequestError as error:
        response = await request_error(request, error)
    except ArchiveError as error:
        response = await archive_error(request, error)
    # The rest of the body is not read: for the next request there must be another connection.
    response.headers["Connection"] = "close"
    return response


async def _store(request: Request) -> Response:
    service = _service(request)
    if "POST" not in service.upstream.methods:
        raise RequestError(
            HTTPStatus.METHOD_NOT_ALLOWED,
            f"Nothing is stored to the server {service.upstream.name!r} through here.",
            {"Allow": ", ".join(READ)},
        )
    require_scope(request, f"store:{service.upstream.name}")
    status, content_type, content = await service.store(
        _tail(request), _store_headers(request), _body(request)
    )
    return Response(content, status, media_type=content_type or None, headers=_SANDBOX)


RESOURCES: tuple[Resource, ...] = (
    Resource(INSTANCE + "/frames/{frames}", READ, retrieve_object, "cheap"),
    Resource(INSTANCE, READ, retrieve_object, "cheap"),
    Resource(SERIES + "/metadata", READ, retrieve_metadata, "cheap"),
    Resource("/studies", READ, search, "search"),
    Resource("/series", READ, search, "search"),
    Resource("/instances", READ, search, "search"),
    Resource(STUDY + "/series", READ, search, "search"),
    Resource(STUDY + "/instances", READ, search, "search"),
    Resource(SERIES + "/instances", READ, search, "search"),
    Resource(STUDY + "/metadata", READ, retrieve_metadata, "cheap"),
    Resource(INSTANCE + "/metadata", READ, retrieve_metadata, "cheap"),
    *(Resource(one + "/rendered", READ, retrieve_rendered, "render") for one in LEVELS),
    *(Resource(one + "/thumbnail", READ, retrieve_rendered, "render") for one in LEVELS),
    Resource(INSTANCE + "/frames/{frames}/rendered", READ, retrieve_rendered, "render"),
    Resource(INSTANCE + "/frames/{frames}/thumbnail", READ, retrieve_rendered, "render"),
    Resource(STUDY, READ, retrieve_many, "cheap"),
    Resource(SERIES, READ, retrieve_many, "cheap"),
    # Servers name bulk data as they like; what a BulkDataURI says is below one of these.
    Resource(STUDY + "/{path:path}", READ, retrieve_object, "cheap"),
    Resource("/bulkdata/{path:path}", READ, retrieve_object, "cheap"),
    Resource("/studies", ("POST",), store, "store"),
    Resource(STUDY, ("POST",), store, "store"),
)


def proxy_routes(limits: RouteLimits) -> list[Route]:
    """Return the routes of all upstreams, each with its limit."""
    prefix = f"{PROXY_PATH}/{{upstream}}{SERVICE_PATH}"
    return [
        ResourceRoute(
            prefix + resource.path,
            limits.limited(resource.endpoint, resource.limit),
            methods=resource.methods,
        )
        for resource in RESOURCES
    ]


def offered_by(proxy: Proxy) -> tuple[Offered, ...]:
    """Return what each upstream offers (PS3.18 8.9): what we do at the same paths, and bulk data."""
    own = {(one.path, method): TRANSACTIONS[one.endpoint] for one in OWN for method in one.methods}

    def offered_by_one(name: str, service: Service) -> tuple[Offered, ...]:
        def transaction_of(resource: Resource, method: str) -> Transaction | None:
            if method == "POST" and method not in service.upstream.methods:
                return None
            return own.get((resource.path, method), TRANSACTIONS[bulk_data.retrieve_bulk_data])

        return offered_below(f"{PROXY_PATH}/{name}{SERVICE_PATH}", RESOURCES, transaction_of)

    return tuple(chain.from_iterable(offered_by_one(*named) for named in proxy.services.items()))


class Flowing(Response):
    """A response whose body is read from the upstream as the client takes it."""

    def __init__(self, flow: Flow, headers: dict[str, str]) -> None:
        super().__init__(None, flow.head.status, headers)
        del self.headers["content-length"]
        if flow.head.length is not None:
            self.headers["content-length"] = str(flow.head.length)
        self._flow = flow

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. One that breaks off is not ended, so that the server cuts the connection."""
        try:
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            )
            if scope["method"] != "HEAD":
                async with aclosing(self._flow.pieces()) as pieces:
                    await _send_until_gone(pieces, receive, send)
            await send({"type": "http.response.body", "body": b""})
        except ConnectionError:
            return  # the client went
        except UpstreamError as error:
            logger.warning("An answer of an upstream was cut off: %s", error)
        finally:
            self._flow.close()


async def _send_until_gone(pieces: AsyncIterator[bytes], receive: Receive, send: Send) -> None:
    gone = asyncio.create_task(disconnected(receive))
    try:
        while True:
            piece = await _unless_gone(gone, anext(pieces, None))
            if piece is None:
                return
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    finally:
        gone.cancel()


async def _unless_gone(gone: "asyncio.Task[None]", work: Coroutine[Any, Any, T]) -> T:
    """Do something that may take long, but no longer than the client is there; then ConnectionResetError."""
    working = asyncio.ensure_future(work)
    try:
        await asyncio.wait({gone, working}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ConnectionResetError("the client has gone")
    finally:
        working.cancel()


async def _answer(request: Request, kind: Kind) -> Response:
    service = _service(request)
    asked = Asked.of(kind, _tail(request), proxied_query(request, kind), _accept(request))
    gone = asyncio.create_task(disconnected(request.receive))
    try:
        found = await _unless_gone(gone, _find(request, service, asked))
    except ConnectionResetError:
        return Response(status_code=HTTPStatus.BAD_REQUEST)  # nobody is there to read it
    finally:
        gone.cancel()
    cache_control = FIXED if kind == "object" else CHANGING
    if isinstance(found, Kept):
        return _kept_answer(request, found, cache_control)
    if not found.head.may_keep:
        cache_control = PARTIAL
    every = {"Cache-Control": cache_control, "Vary": "Accept", **_SANDBOX}
    return Flowing(found, {**found.head.headers, **every})


async def _find(request: Request, service: Service, asked: Asked) -> Kept | Flow:
    if "range" in request.headers and request.method == "GET" and service.keeps(asked):
        # A range is cut from the whole, which is then there for the next one.
        whole = await service.get_whole(asked)
        if whole is not None:
            return whole
    return await service.get(asked)


def _kept_answer(request: Request, kept: Kept, cache_control: str) -> Response:
    headers = dict(kept.headers)
    content_type = headers.pop("content-type")
    selected = Selected(kept.tag, cache_control, headers.pop("content-location", None))
    known = precondition_answer(request, selected)
    if known is not None:
        kept.close()
        return known
    content = [FileRange(kept.file, HEAD_BYTES, kept.length)]
    part = Part(content_type, content, kept.length, file=kept.file)
    answer = single_part_answer(request, part, selected)
    answer.headers.update({**headers, **_SANDBOX})
    if kept.is_stale:
        answer.headers["Warning"] = f'110 {archive_of(request).settings.base_url} "Response is stale"'
        answer.headers["Cache-Control"] = "no-store"
    return answer


def _service(request: Request) -> Service:
    proxy: Proxy = request.app.state.proxy
    service = proxy.services.get(request.path_params["upstream"])
    if service is None:
        raise NotFound("There is no server of that name here.")
    return service


def _tail(request: Request) -> str:
    root = f"{PROXY_PATH}/{request.path_params['upstream']}{SERVICE_PATH}"
    path: str = request.scope["path"]
    return path.removeprefix(root)


def _accept(request: Request) -> str:
    """Return the one form of what the client accepts: it is sent, and the answer is remembered by it."""
    said = read_accept(request.headers.getlist("accept"))
    return ", ".join(_canonical(one) for one in said.ranges) or "*/*"


def _canonical(media_range: MediaRange) -> str:
    parameters = "".join(f"; {name}={_quoted(text)}" for name, text in sorted(media_range.parameters.items()))
    quality = "" if media_range.quality == 1 else f"; q={media_range.quality:.3g}"
    return f"{media_range.media_type}{parameters}{quality}"


def _quoted(text: str) -> str:
    safe = "".join(one for one in text if one.isascii() and one.isprintable() and one not in '"\\')
    return safe if safe == "*" or safe.replace(".", "").isalnum() else f'"{safe}"'


def _store_headers(request: Request) -> dict[str, str]:
    headers = {"Content-Type": request.headers.get("content-type", ""), "Accept": _accept(request)}
    length = request.headers.get("content-length", "")
    framing = {"Content-Length": length} if length.isdecimal() else {"Transfer-Encoding": "chunked"}
    return {**headers, **framing, "User-Agent": "dermzoo"}


async def _body(request: Request) -> AsyncIterator[bytes]:
    size, most = 0, archive_of(request).settings.store_max_bytes
    async for piece in request.stream():
        size += len(piece)
        if size > most:
            raise RequestError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"One request may bring at most {most} bytes."
            )
        if piece:
            yield piece
