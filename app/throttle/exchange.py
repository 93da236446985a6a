"""One request in progress: its bytes are charged as they go out, and stop when the client has gone.

A server's `receive` is a mailbox with one reader. To notice a client that leaves while we wait or stream,
somebody must read it although the application may want to as well; so there is one reader here, and what
it finds is kept for the application. It never reads further than one piece of an unread request body:
back-pressure holds.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from app.throttle.budget import Account, Budget, Refusal

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Sleep = Callable[[float], Awaitable[None]]

SLICE_BYTES = 64 * 1024
LONGEST_STEP_S = 5.0
YIELD_BYTES = 2**20  # a server may take bytes without ever waiting: look around after so many
STATUS_LINE_BYTES = 100  # with what servers add: Date, Server, Connection
BODILESS = frozenset({204, 304})


class ClientGone(ConnectionResetError):
    """The client left before its answer was complete."""


class Exchange:
    """The budget's view of one request; the layers outside read its figures for logs and metrics."""

    def __init__(
        self,
        budget: Budget,
        account: Account,
        receive: Receive,
        send: Send,
        sleep: Sleep,
        *,
        is_cheap: bool,
        is_head: bool,
    ) -> None:
        self.account = account
        self.bytes_charged = 0
        self.waited_s = 0.0
        self.refused: Refusal | None = None
        self.is_gone = False  # the client left before the answer was complete
        self._budget, self._receive, self._send, self._sleep = budget, receive, send, sleep
        self._is_cheap, self._has_body = is_cheap, not is_head
        self._header_bytes = 0
        self._unlooked_bytes = 0
        self._is_complete = False
        self._is_reading = False
        self._kept: deque[Message] = deque()
        self._watch: asyncio.Task[None] | None = None

    async def receive(self) -> Message:
        """Receive, for the application."""
        if self._watch is not None and not self._kept:
            await asyncio.wait({self._watch})
            self._watch.result()
        if self._kept:
            is_last = self._kept[0]["type"] == "http.disconnect"
            return self._kept[0] if is_last else self._kept.popleft()
        self._is_reading = True
        try:
            message = await self._receive()
        finally:
            self._is_reading = False
        self._note(message)
        return message

    async def send(self, message: Message) -> None:
        """Send, for the application; raises ClientGone when nobody listens any more."""
        if self.is_gone:
            raise ClientGone("the client has gone")
        if message["type"] == "http.response.body":
            await self._send_body(message)
            return
        if message["type"] == "http.response.start":
            # Charged together with the first piece of the body.
            headers = message.get("headers", ())
            self._header_bytes = STATUS_LINE_BYTES + sum(
                [len(name) + len(value) + 4 for name, value in headers]
            )
            self._has_body = self._has_body and message["status"] not in BODILESS
        await self._send(message)

    async def wait(self, seconds: float) -> None:
        """Wait, in steps, and notice a client that leaves meanwhile: then raise ClientGone."""
        while seconds > 0:
            step = min(seconds, LONGEST_STEP_S)
            await self._pause(step)
            self.waited_s += step
            seconds -= step
            if self.is_gone:
                raise ClientGone("the client has gone")

    def finish(self) -> None:
        """End the watch over the mailbox."""
        if self._watch is None:
            return
        if not self._watch.done():
            self._watch.cancel()
        elif not self._watch.cancelled():
            self._watch.exception()  # retrieved: the application had no use for it

    async def _send_body(self, message: Message) -> None:
        body = message.get("body", b"") if self._has_body else b""
        size, self._header_bytes = len(body) + self._header_bytes, 0
        more = message.get("more_body", False)
        if not body or self._is_cheap:
            if size:
                self._budget.owe(self.account, size)
        elif not self._budget.spend(self.account, size):
            await self._send_paced(body, size - len(body), more=more)
            return
        self.bytes_charged += size
        self._is_complete = not more
        await self._send(message)
        if more:
            await self._look_around(size)

    async def _send_paced(self, body: bytes, header_bytes: int, *, more: bool) -> None:
        """Send slice by slice, each when it is paid for."""
        for offset in range(0, len(body), SLICE_BYTES):
            piece = body[offset : offset + SLICE_BYTES]
            size, header_bytes = len(piece) + header_bytes, 0
            wait_s = self._budget.owe(self.account, size)
            if wait_s:
                try:
                    await self.wait(wait_s)
                except BaseException:
                    self._budget.owe(self.account, -size)  # not sent after all
                    raise
            self.bytes_charged += size
            more_slices = offset + SLICE_BYTES < len(body)
            self._is_complete = not more and not more_slices
            await self._send({"type": "http.response.body", "body": piece, "more_body": more or more_slices})
            if not wait_s and (more or more_slices):
                await self._look_around(size)

    async def _look_around(self, size: int) -> None:
        """Let the event loop tell whether the client has gone; servers drop its bytes in silence."""
        self._unlooked_bytes += size
        if self._unlooked_bytes >= YIELD_BYTES:
            self._unlooked_bytes = 0
            self._start_watch()
            await asyncio.sleep(0)

    async def _pause(self, seconds: float) -> None:
        self._start_watch()
        if self._watch is None or self._watch.done():
            await self._sleep(seconds)
            return
        sleeping = asyncio.ensure_future(self._sleep(seconds))
        try:
            await asyncio.wait({sleeping, self._watch}, return_when=asyncio.FIRST_COMPLETED)
            if not self.is_gone:
                await sleeping
        finally:
            sleeping.cancel()

    def _start_watch(self) -> None:
        is_idle = self._watch is None or self._watch.done()
        if is_idle and not self._kept and not self._is_reading and not self.is_gone:
            self._watch = asyncio.ensure_future(self._read_ahead())

    async def _read_ahead(self) -> None:
        """Read until the client leaves, or until there is a piece of a body with more to follow."""
        has_more = False
        while not has_more and not self.is_gone:
            message = await self._receive()
            self._note(message)
            self._kept.append(message)
            has_more = message.get("more_body", False)
            if message["type"] == "http.disconnect":
                return

    def _note(self, message: Message) -> None:
        if message["type"] == "http.disconnect" and not self._is_complete:
            self.is_gone = True
