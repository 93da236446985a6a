"""The client of one upstream: connections kept open, time limits, retries, and lengths that must be right."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from random import random
from urllib.parse import urlsplit

import httpcore

from app.proxy.addresses import CheckedBackend
from app.proxy.breaker import Breaker
from app.proxy.errors import UpstreamError, UpstreamFailed, UpstreamTimeout, UpstreamUnavailable
from app.proxy.upstreams import Upstream

SMALL_BYTES = (
    2**20
)  # an answer up to here is complete before any of it is sent on, so it can be asked for again
LONGEST_PAUSE_S = 2.0
_FIRST_PAUSE_S = 0.1
_TOO_MANY = 429
_FAULTS = frozenset({500, 502, 503, 504})

_OUTCOMES: dict[type[UpstreamError], str] = {UpstreamTimeout: "timeout", UpstreamUnavailable: "unavailable"}

Headers = list[tuple[bytes, bytes]]


class Answer:
    """What an upstream answers: status and headers, then the body, once. To be closed."""

    def __init__(self, name: str, response: httpcore.Response) -> None:
        self._name, self._response = name, response
        self._whole: bytes | None = None
        self.status = response.status
        self.headers: dict[str, str] = {}
        for field, value in response.headers:
            self.headers.setdefault(field.decode("latin-1").lower(), value.decode("latin-1"))

    @property
    def length(self) -> int | None:
        """The length of the body, where it is told."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isdecimal() else None

    @property
    def is_framed(self) -> bool:
        """Whether the end of the body can be told from a connection that broke."""
        return self.length is not None or "chunked" in self.headers.get("transfer-encoding", "").lower()

    async def read_small(self) -> None:
        """Read a body that is short and of known length, so that it is complete or this fails."""
        if self.length is not None and self.length <= SMALL_BYTES:
            self._whole = b"".join([piece async for piece in self.pieces()])
            await self.close()

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body; raises UpstreamFailed when it ends before its end."""
        if self._whole is not None:
            yield self._whole
            return
        try:
            async for piece in self._response.aiter_stream():
                yield piece
        except Exception as error:
            raise _translated(self._name, error) from error

    async def read(self, most_bytes: int) -> bytes:
        """Return a body that must not be long; raises UpstreamFailed if it is."""
        found = b""
        async for piece in self.pieces():
            found += piece
            if len(found) > most_bytes:
                raise UpstreamFailed(f"The server {self._name!r} answers more than was to be expected.")
        return found

    async def close(self) -> None:
        """Let the connection go: to the pool if the body was read, else for good."""
        await self._response.aclose()


class UpstreamClient:
    """Asks one upstream. Redirects are not followed, and nothing is asked that was not said here."""

    def __init__(
        self,
        upstream: Upstream,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random,
        pause: Callable[[float], None] | None = None,
        breaker: Breaker | None = None,
        counted: Callable[[str], None] = lambda _outcome: None,
    ) -> None:
        """Tell `counted` what becomes of each attempt."""
        self.upstream = upstream
        self.breaker = Breaker(clock) if breaker is None else breaker
        self._counted = counted
        self._chance = chance
        self._pause = pause
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=_tls(upstream),
            max_connections=upstream.connections,
            max_keepalive_connections=upstream.connections,
            keepalive_expiry=30.0,
            network_backend=CheckedBackend(allow_private=upstream.allow_private),
        )
        self._timeouts = {
            "connect": upstream.connect_s,
            "read": upstream.read_s,
            "write": upstream.read_s,
            "pool": upstream.read_s,
        }

    async def get(self, url: str, headers: Mapping[str, str]) -> Answer:
        """GET, again if it failed for a moment; raises UpstreamError."""
        wait_s = self.breaker.wait_s()
        if wait_s:
            raise UpstreamUnavailable(
                f"The server {self.upstream.name!r} failed again and again; it is asked again in a while.",
                max(1, round(wait_s)),
            )
        for attempt in range(self.upstream.retries + 1):
            is_last = attempt == self.upstream.retries
            try:
                answer = await self.send("GET", url, headers)
                if (pause_s := _worth_waiting(answer, attempt)) is None or is_last:
                    await self._complete(answer)
                    return answer
                await answer.close()
            except (UpstreamFailed, UpstreamTimeout):
                if is_last:
                    self.breaker.failed()
                    raise
                pause_s = _pause_s(attempt)
            await self._wait(pause_s * (0.5 + self._chance()))
        raise AssertionError("the last attempt returns or raises")

    async def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | AsyncIterator[bytes] | None = None,
    ) -> Answer:
        """Send one request, once; raises UpstreamError when there is no answer."""
        request = httpcore.Request(
            method,
            _url(url),
            headers=[(b"Host", _host(url)), *((n.encode(), v.encode("latin-1")) for n, v in headers.items())],
            content=content,
            extensions={"timeout": self._timeouts},
        )
        try:
            answer = Answer(self.upstream.name, await self._pool.handle_async_request(request))
        except Exception as error:
            translated = _translated(self.upstream.name, error)
            self._counted(_OUTCOMES.get(type(translated), "failed"))
            raise translated from error
        self._counted(str(answer.status))
        return answer

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.aclose()
        self.breaker.close()

    async def _complete(self, answer: Answer) -> None:
        if answer.status in _FAULTS:
            self.breaker.failed()
            return
        try:
            await answer.read_small()
        except UpstreamError:
            await answer.close()
            raise
        self.breaker.succeeded()

    async def _wait(self, seconds: float) -> None:
        if self._pause is None:
            await asyncio.sleep(seconds)
        else:
            self._pause(seconds)


def _worth_waiting(answer: Answer, attempt: int) -> float | None:
    """Return how long to wait before asking again, None when that is of no use."""
    if answer.status in _FAULTS:
        return _pause_s(attempt)
    if answer.status == _TOO_MANY:
        after_s = retry_after_s(answer, 0)
        return max(after_s, _FIRST_PAUSE_S) if after_s <= LONGEST_PAUSE_S else None
    return None


def _pause_s(attempt: int) -> float:
    return float(_FIRST_PAUSE_S * 4**attempt)


def retry_after_s(answer: Answer, default: int) -> int:
    """Return the seconds that an answer asks to wait; dates are passed over."""
    text = answer.headers.get("retry-after", "").strip()
    return int(text) if text.isdecimal() and len(text) < 7 else default


def _translated(name: str, error: Exception) -> UpstreamError:
    if isinstance(error, UpstreamError):
        return error
    if isinstance(error, httpcore.PoolTimeout):
        return UpstreamUnavailable(f"All connections to the server {name!r} are in use.")
    if isinstance(error, httpcore.TimeoutException):
        return UpstreamTimeout(f"The server {name!r} did not answer in time.")
    if isinstance(error, httpcore.ConnectError):
        return UpstreamFailed(f"The server {name!r} cannot be reached.")
    if isinstance(error, httpcore.NetworkError | httpcore.ProtocolError | OSError):
        return UpstreamFailed(f"The connection to the server {name!r} broke, or it does not speak HTTP.")
    raise error


def _tls(upstream: Upstream) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(upstream.ca_file) if upstream.ca_file else None)


def _url(text: str) -> httpcore.URL:
    parts = urlsplit(text)
    assert parts.hostname is not None
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return httpcore.URL(
        scheme=parts.scheme.encode(),
        host=parts.hostname.encode("idna"),
        port=parts.port,
        target=target.encode("ascii"),
    )


def _host(text: str) -> bytes:
    return urlsplit(text).netloc.encode("idna" if not urlsplit(text).netloc.isascii() else "ascii")
