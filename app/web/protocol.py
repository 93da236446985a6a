"""HTTP/1.1 for the open internet: uvicorn's httptools protocol, and how long a client may keep us waiting.

httptools alone takes header bytes without end, and waits for ever: for a head, for a body, for a reader. Each
connection is looked at once a second. What we make the client wait for does not count: the budget's pauses, a
body that we do not read yet, an answer that is not made yet.
"""

import asyncio
import logging
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any, Self

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.settings import Settings
from app.throttle.middleware import ABORT

APP_STATE = "deadlines"  # where the application's lifespan leaves them for the connections

# struct tcp_info of linux/tcp.h: what the other end has acknowledged.
_TCP_INFO_BYTES = 128
_BYTES_ACKED = slice(120, 128)

logger = logging.getLogger("dermzoo.http")


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How slow a client may be, and how large what it says before a body."""

    head_bytes: int  # one read may go beyond it before it is noticed
    head_s: float
    body_s: float  # in any such stretch of waiting for it, a body arrives at …
    body_bytes_per_second: float
    reader_s: float  # in any such stretch of waiting for the reader, it takes …
    reader_bytes_per_second: float
    idle_s: float  # between an answer and the next request
    look_s: float = 1

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return those of the settings."""
        named = (field.name for field in fields(cls) if field.name != "look_s")
        return cls(**{name: getattr(settings, f"http_{name}") for name in named})


DEADLINES = Deadlines.of(Settings.model_construct())  # unless the settings say otherwise


def _refusal(status: bytes, text: bytes) -> bytes:
    return (
        b"HTTP/1.1 %b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
        b"Connection: close\r\n\r\n%b" % (status, len(text), text)
    )


def _too_large(most_bytes: int, *, is_target: bool) -> bytes:
    if is_target:
        return _refusal(
            b"414 URI Too Long",
            b"The URI is too long: the request line and headers may have %d bytes. Ask for less at once.\n"
            % most_bytes,
        )
    return _refusal(
        b"431 Request Header Fields Too Large",
        b"The request line and headers are larger than %d bytes.\n" % most_bytes,
    )


_TOO_SLOW = _refusal(b"408 Request Timeout", b"The request did not arrive fast enough. Send it again.\n")


class BoundedHttpProtocol(HttpToolsProtocol):
    """Closes a connection whose request is too large or too slow, or whose answer nobody reads.

    Time is counted in looks: when this process itself was too busy to look, no client pays for it.
    """

    def __init__(self, *args: Any, deadlines: Deadlines = DEADLINES, **kwargs: Any) -> None:  # noqa: ANN401 as uvicorn gives them
        """Heed those that the application's lifespan has left, or else these."""
        super().__init__(*args, **kwargs)
        deadlines = self.app_state.get(APP_STATE, deadlines)
        self._deadlines = deadlines
        self.timeout_keep_alive = deadlines.idle_s  # type: ignore[assignment] # a timer takes any number
        self._looking: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._in_head = self._awaits_head = True
        self._head_looks = 0
        self._in_body = False
        self._body_looks = self._body_bytes = 0
        self._reader_looks = self._taken_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._look_later()

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count the bytes of the head, then hand on."""
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        most_bytes = self._deadlines.head_bytes
        if self._in_head and self._head_bytes > most_bytes and not self.transport.is_closing():
            self.transport.write(_too_large(most_bytes, is_target=len(self.url) > most_bytes // 2))
            self.transport.close()
        if self._in_head and not self._is_answering():
            # Empty lines before a request line begin no message, and yet end the keep-alive pause.
            self._awaits_head = True

    def on_message_begin(self) -> None:
        """Note that a head begins; after a keep-alive pause the wait begins with it."""
        super().on_message_begin()
        self.scope[ABORT] = self.transport.abort  # type: ignore[literal-required]
        self._in_head = self._awaits_head = True
        self._head_looks = 0

    def on_headers_complete(self) -> None:
        """Note that the head is here, and that a body may follow."""
        self._in_head = self._awaits_head = False
        self._head_bytes = 0
        self._in_body = True
        self._body_looks = self._body_bytes = 0
        if not self.url.startswith(b"/") and b"://" in self.url:
            # RFC 9112 3.2.2: a target that names a host is meant, whatever Host says.
            others = [field for field in self.headers if field[0] != b"host"]
            self.headers[:] = [(b"host", self.url.split(b"/", 3)[2]), *others]
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Count what arrives of a body."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that the body is here."""
        self._in_body = False
        self._in_head = True
        self._head_looks = 0
        super().on_message_complete()

    def _look_later(self) -> None:
        self._looking = self.loop.call_later(self._deadlines.look_s, self._look)

    def _look(self) -> None:
        """See whether the client has kept us waiting too long; look again later if it has not."""
        if self._is_unread_too_long():
            self._tell_of("the answer is not read")
            _forget_unsent(self.transport)
            self.transport.abort()
        elif self._is_head_late():
            self._end("the head of a request is late", is_begun=self._head_bytes > 0)
        elif self._is_body_late():
            self._end("the body of a request is late", is_begun=True)
        self._look_later()

    def _is_head_late(self) -> bool:
        if not self._awaits_head or self._is_answering() or self.transport.is_closing():
            return False
        self._head_looks += 1
        return self._head_looks * self._deadlines.look_s > self._deadlines.head_s

    def _is_body_late(self) -> bool:
        if not self._in_body or self.flow.read_paused or self.transport.is_closing():
            return False
        if self.cycle.waiting_for_100_continue:
            return False
        waited_s, least = self._deadlines.body_s, self._deadlines.body_bytes_per_second
        self._body_looks += 1
        if self._body_looks * self._deadlines.look_s <= waited_s:
            return False
        is_late = self._body_bytes < waited_s * least
        self._body_looks = self._body_bytes = 0
        return is_late

    def _is_unread_too_long(self) -> bool:
        """Say whether the reader takes too little of what lies here; after `close()` too, which waits."""
        unsent_bytes = self.transport.get_write_buffer_size()
        if not unsent_bytes:
            self._reader_looks = 0
            return False
        if not self._reader_looks:
            self._taken_bytes = _taken_bytes(self.transport, unsent_bytes)
        self._reader_looks += 1
        waited_s, least = self._deadlines.reader_s, self._deadlines.reader_bytes_per_second
        if self._reader_looks * self._deadlines.look_s <= waited_s:
            return False
        taken_bytes = _taken_bytes(self.transport, unsent_bytes) - self._taken_bytes
        self._reader_looks = 0
        return taken_bytes < waited_s * least

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _end(self, why: str, *, is_begun: bool) -> None:
        """End the connection, with an answer where there is a request and its answer has not begun."""
        self._tell_of(why)
        if self._is_answering():
            is_begun = not self.cycle.response_started
            self.cycle.disconnected = True  # the application must not answer as well
            self.cycle.message_event.set()
        if is_begun:
            self.transport.write(_TOO_SLOW)
        self.transport.close()

    def _tell_of(self, why: str) -> None:
        client = self.client[0] if self.client else ""
        logger.info("connection ended", extra={"facts": {"client": client, "reason": why}})


def _taken_bytes(transport: asyncio.Transport, unsent_bytes: int) -> int:
    """Return a number that grows by what the reader takes."""
    try:
        connection = transport.get_extra_info("socket")
        told: bytes = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        return int.from_bytes(told[_BYTES_ACKED], "little")
    except (OSError, AttributeError):  # no TCP: what is no longer here has been taken
        return -unsent_bytes


def _forget_unsent(transport: asyncio.Transport) -> None:
    """Have the kernel drop what it holds for the reader when the connection ends."""
    with suppress(OSError, AttributeError):
        linger = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
