"""HTTP/1.1 for the open internet: uvicorn's httptools protocol with bounds on what stands before a request.

httptools alone takes header bytes without end, and waits for them for ever.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 32 * 2**10  # request line and headers; one read may go beyond it before it is noticed
HEAD_DEADLINE_S = 10.0


def _refusal(status: bytes, text: bytes) -> bytes:
    return (
        b"HTTP/1.1 %b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
        b"Connection: close\r\n\r\n%b" % (status, len(text), text)
    )


_HEAD_TOO_LARGE = _refusal(
    b"431 Request Header Fields Too Large",
    b"The request line and headers are larger than %d bytes.\n" % MAX_HEAD_BYTES,
)
_TARGET_TOO_LONG = _refusal(
    b"414 URI Too Long",
    b"The URI is too long: the request line and headers may have %d bytes. Ask for less at once.\n"
    % MAX_HEAD_BYTES,
)


class BoundedHttpProtocol(HttpToolsProtocol):
    """Closes a connection whose request head is too large, or does not arrive in time."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 as uvicorn gives them
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._in_head = True
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count the bytes of the head, then hand on."""
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            is_target = len(self.url) > MAX_HEAD_BYTES // 2
            self.transport.write(_TARGET_TOO_LONG if is_target else _HEAD_TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        """Note that a head begins; after a keep-alive pause the wait begins with it."""
        super().on_message_begin()
        self._in_head = True
        if self._deadline is None:
            self._wait_for_head()

    def on_headers_complete(self) -> None:
        """Note that the head is here."""
        self._in_head = False
        self._head_bytes = 0
        self._stop_waiting()
        super().on_headers_complete()

    def _wait_for_head(self) -> None:
        self._deadline = self.loop.call_later(HEAD_DEADLINE_S, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
