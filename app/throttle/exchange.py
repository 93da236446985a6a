"""One request in progress: its bytes are charged as they go out, and stop when the client has gone.

A server's `receive` is a mailbox with one reader. To notice a client that leaves while we wait or stream,
somebody must read it although the application may want to as well; so there is one reader here, and what
it finds is kept for the application. It never reads further than one piece of an unread request body:
back-pressure holds.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from app.throttle.accounts import Account
from app.throttle.budget import Budget
from app.throttle.policy import RouteKind
from app.throttle.steps import Steps
from app.throttle.verdicts import Debt, Refusal

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


class CutShort(ClientGone):
    """All clients together have nothing left, and this answer had its time to end: to be broken off."""


class Exchange:
    """The budget's view of one request; the layers outside read its figures for logs and metrics.

    One is made for every request: what begins the same for all stands in the class.
    """

    bytes_charged = 0
    waited_s = 0.0
    refused: Refusal | None = None
    is_gone = False  # the client left before the answer was complete
    is_hung_up = False  # the connection was ended without an answer
    kind: RouteKind | None = None  # of costly route, as which it was counted
    is_free = False  # of our own people, answered although nobody pays
    _header_bytes = 0
    _body_bytes: int | None = None  # as the application announced
    _reserved_bytes = 0  # charged, and not sent yet
    _floor_s = 0.0  # how long the buckets of all have held this answer back
    _unlooked_bytes = 0
    _is_complete = False
    _is_reading = False
    _watch: asyncio.Task[None] | None = None
    _kept: tuple[Message, ...] = ()  # read, and not yet asked for by the application

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
        self._budget, self._receive, self._send, self._sleep = budget, receive, send, sleep
        self._is_cheap, self._has_body = is_cheap, not is_head

    async def receive(self) -> Message:
        """Receive, for the application."""
        if self._watch is not None and not self._kept:
            await asyncio.wait({self._watch})
            self._watch.result()
        if self._kept:
            first = self._kept[0]
            if first["type"] != "http.disconnect":
                self._kept = self._kept[1:]
            return first
        self._is_reading = True
        try:
            message = await self._receive()
        finally:
            self._is_reading = False
        self._note(message)
        return message

    def send(self, message: Message) -> Awaitable[None]:
        """Send, for the application; raises ClientGone when nobody listens any more.

        An ordinary answer is charged here, and handed on without a coroutine of our own.
        """
        if self.is_gone:
            raise ClientGone("the client has gone")
        kind = message["type"]
        if kind == "http.response.body" and not self.is_free:
            if self._budget.is_remote:
                return self._send_apart(message)
            more = message.get("more_body", False)
            size = self._charge_ahead(message) or self._budget.run(self._charging(message))
            if size < 0:
                return self._send_paced(message["body"], more=more)
            self.bytes_charged += size
            self._is_complete = not more
            return self._send_piece(message, size) if more else self._send(message)
        if kind == "http.response.start":
            # Charged together with the first piece of the body.
            size = STATUS_LINE_BYTES
            for name, value in message.get("headers", ()):
                size += len(name) + len(value) + 4
                if name == b"content-length":
                    self._body_bytes = int(value)
            self._header_bytes = size
            if message["status"] in BODILESS:
                self._has_body = False
        return self._send(message)

    async def wait(self, seconds: float, woken: asyncio.Future[None] | None = None) -> None:
        """Wait, in steps, and notice a client that leaves meanwhile: then raise ClientGone.

        Who is woken waits no longer; and counts the time himself.
        """
        while seconds > 0 and not (woken and woken.done()):
            step = min(seconds, LONGEST_STEP_S)
            await self._pause(step, woken)
            if woken is None:
                self.waited_s += step
            seconds -= step
            if self.is_gone:
                raise ClientGone("the client has gone")

    def finish(self) -> None:
        """Give back what was reserved, end the watch over the mailbox, and let go of the connection.

        It leads back here through the scope: every request would be left to the collector of cycles.
        """
        del self._receive, self._send
        if self._reserved_bytes > 0:
            self._budget.later(self._budget.owing(self.account, -self._reserved_bytes))
        if self._watch is None:
            return
        if not self._watch.done():
            self._watch.cancel()
        elif not self._watch.cancelled():
            self._watch.exception()  # retrieved: the application had no use for it

    def _charging(self, message: Message) -> Steps[int]:
        """Charge a piece of the body and its head; return how many bytes, -1 when it must be paced."""
        body_size = len(message.get("body", b"")) if self._has_body else 0
        size = body_size + self._header_bytes
        if not body_size or self._is_cheap:
            if size:
                yield from self._budget.owing(self.account, size)
        elif not (yield from self._reserving(message, size)):
            is_spent = yield from self._budget.spending(self.account, size)
            if not is_spent:
                return -1
        self._header_bytes = 0
        return size

    def _reserving(self, message: Message, size: int) -> Steps[bool]:
        """Charge all of an answer whose length is known with its first piece, if the balances cover it."""
        if self._body_bytes is None or not message.get("more_body", False):
            return False
        whole = self._body_bytes + size - len(message["body"])
        self._body_bytes = None
        if whole <= size or not (yield from self._budget.spending(self.account, whole)):
            return False
        self._reserved_bytes = whole - size
        return True

    async def _send_apart(self, message: Message) -> None:
        """Send, charging off the event loop what was not charged ahead."""
        more, size = message.get("more_body", False), self._charge_ahead(message)
        if not size:
            size = await self._budget.soon(self._charging(message))
        if size < 0:
            await self._send_paced(message["body"], more=more)
            return
        self.bytes_charged += size
        self._is_complete = not more
        await self._send_piece(message, size)

    def _charge_ahead(self, message: Message) -> int:
        """Charge a piece without asking a store; return how many bytes, 0 if it cannot be."""
        if self._is_cheap:
            return 0
        body_size = len(message.get("body", b"")) if self._has_body else 0
        size = body_size + self._header_bytes
        if size <= self._reserved_bytes:
            self._reserved_bytes -= size
        elif not self._budget.spend_ahead(self.account, size):
            return 0
        elif self._body_bytes is not None:
            self._body_bytes -= body_size
        self._header_bytes = 0
        return size

    async def _send_piece(self, message: Message, size: int) -> None:
        await self._send(message)
        await self._look_around(size)

    async def _send_paced(self, body: bytes, *, more: bool) -> None:
        """Send slice by slice, each when it is paid for."""
        for offset in range(0, len(body), SLICE_BYTES):
            piece = body[offset : offset + SLICE_BYTES]
            size, self._header_bytes = len(piece) + self._header_bytes, 0
            wait_s = await self._pay(size)
            self.bytes_charged += size
            more_slices = offset + SLICE_BYTES < len(body)
            self._is_complete = not more and not more_slices
            await self._send({"type": "http.response.body", "body": piece, "more_body": more or more_slices})
            if not wait_s and (more or more_slices):
                await self._look_around(size)

    async def _pay(self, size: int) -> float:
        """Charge bytes whatever the balances, and wait until they may be sent; return how long that was."""
        debt = await self._budget.soon(self._budget.owing(self.account, size))
        if not debt.wait_s:
            return 0.0
        try:
            await self._wait_out(debt)
        except BaseException:
            self._budget.later(self._budget.owing(self.account, -size))  # not sent after all
            raise
        return debt.wait_s

    async def _wait_out(self, debt: Debt) -> None:
        self._floor_s += debt.floor_s
        if self._floor_s > self._budget.policy.shared.finish_s:
            raise CutShort("the budget of all clients is used up")
        await self.wait(debt.wait_s)

    async def _look_around(self, size: int) -> None:
        """Let the event loop tell whether the client has gone; servers drop its bytes in silence."""
        self._unlooked_bytes += size
        if self._unlooked_bytes >= YIELD_BYTES:
            self._unlooked_bytes = 0
            self._start_watch()
            await asyncio.sleep(0)

    async def _pause(self, seconds: float, woken: asyncio.Future[None] | None = None) -> None:
        self._start_watch()
        others = [each for each in (self._watch, woken) if each is not None and not each.done()]
        if not others:
            await self._sleep(seconds)
            return
        sleeping = asyncio.ensure_future(self._sleep(seconds))
        try:
            pending: set[asyncio.Future[None]] = {sleeping, *others}
            while not (sleeping.done() or self.is_gone or (woken and woken.done())):
                _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
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
            self._kept += (message,)
            has_more = message.get("more_body", False)
            if message["type"] == "http.disconnect":
                return

    def _note(self, message: Message) -> None:
        if message["type"] == "http.disconnect" and not self._is_complete:
            self.is_gone = True
