"""CORS for a public server: every origin may read every answer, errors included; no credentials."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ALLOWED_METHODS = "GET, HEAD, POST, OPTIONS"
ALLOWED_HEADERS = (
    "accept, authorization, content-type, range, if-match, if-none-match, if-modified-since, "
    "if-unmodified-since, if-range"
)
EXPOSED_HEADERS = (
    "Attribution, Content-Disposition, Content-Location, Content-Range, Accept-Ranges, ETag, Last-Modified, "
    "Link, Location, RateLimit, RateLimit-Policy, Retry-After, Warning"
)
PREFLIGHT = {
    "Access-Control-Allow-Methods": ALLOWED_METHODS,
    "Access-Control-Allow-Headers": ALLOWED_HEADERS,
    "Access-Control-Max-Age": "7200",
    "Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
}


class PublicCors:
    """Plain ASGI around the whole application, so that refusals and faults carry the headers too."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight, or add the headers to the answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    (b"access-control-allow-origin", b"*"),
                    (b"access-control-expose-headers", EXPOSED_HEADERS.encode()),
                    (b"cross-origin-resource-policy", b"cross-origin"),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        await self.app(scope, receive, send_with_headers)


class Options:
    """Answers OPTIONS on any path, inside the limiter, so that it counts like any other request."""

    def __init__(self, app: ASGIApp, capabilities: Callable[[Request], Response]) -> None:
        self.app = app
        self.capabilities = capabilities

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight, which names the method to come; any other is Retrieve Capabilities (8.9)."""
        if scope["type"] != "http" or scope["method"] != "OPTIONS":
            await self.app(scope, receive, send)
            return
        names = {name for name, _ in scope["headers"]}
        if b"access-control-request-method" in names and b"origin" in names:
            answer = Response(status_code=204, headers=PREFLIGHT)
        else:
            answer = self.capabilities(Request(scope, receive))
        await answer(scope, receive, send)
