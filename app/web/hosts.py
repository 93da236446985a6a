"""The names that this server goes by (RFC 9110 7.2, 7.4).

No answer is made from `Host`: absolute URLs come from the settings. But a page whose own name is made to
point here would be of one origin with us, and a cache on the way would keep our answers under a name that is
not ours.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus

from starlette.types import ASGIApp, Receive, Scope, Send

from app.settings import Settings
from app.throttle.clients import parse_address
from app.web.errors import Problem

# Asked by machines, under any name or none; what they are told is kept by no cache.
OPERATORS_PATHS = frozenset({"/livez", "/readyz", "/metrics"})

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{0,5})?")
_LONGEST_HOST = 300  # a name has 253 characters at most
_REMEMBERED = 1024


class Hosts:
    """ASGI middleware: 421 for a request to a name that is not ours, 400 for one to none (RFC 9112 3.2)."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        """Go by the names of the settings, loopback, and the address that was connected to."""
        self.app, self._base_url = app, settings.base_url
        self._names = frozenset(map(host_name, settings.host_names))
        self._named: Callable[[bytes], str | None] = lru_cache(_REMEMBERED)(named)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is meant for us."""
        refusal = None
        if scope["type"] == "http" and scope["path"] not in OPERATORS_PATHS:
            refusal = self._refusal(scope)
        await (refusal or self.app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Problem | None:
        said = [value for name, value in scope["headers"] if name == b"host"]
        if not said and scope["http_version"] == "1.0":
            return None
        name = self._named(said[0]) if len(said) == 1 and len(said[0]) <= _LONGEST_HOST else None
        if name is None:
            return Problem(HTTPStatus.BAD_REQUEST, "A request has one Host field, which names a host.")
        if name in self._names or name == _connected_to(scope) or _is_loopback(name):
            return None
        return Problem(
            HTTPStatus.MISDIRECTED_REQUEST,
            f"This server does not go by the name {name}; it is at {self._base_url}. Its operator can say "
            "so in DERMZOO_PUBLIC_URL, or name more in DERMZOO_ALLOWED_HOSTS.",
        )


def named(field: bytes) -> str | None:
    """Return the host that a Host field names, whatever its port and spelling; None if it names none."""
    match = _HOST.fullmatch(field.decode("latin-1"))
    if match is None:
        return None
    is_address = match[1].startswith("[")
    return None if is_address and parse_address(match[1][1:-1]) is None else host_name(match[1])


def host_name(text: str) -> str:
    """Return a name or address in its one spelling."""
    address = parse_address(text.removeprefix("[").removesuffix("]"))
    return text.lower().removesuffix(".") if address is None else str(address)


def _connected_to(scope: Scope) -> str | None:
    """Return the address of ours that the connection came to."""
    server = scope.get("server")
    return host_name(server[0]) if server else None


def _is_loopback(name: str) -> bool:
    address = parse_address(name)
    return name == "localhost" if address is None else address.is_loopback
