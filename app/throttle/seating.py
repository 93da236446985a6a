"""Requests that wait until another one of the same client ends, in the order they came; viewers do not retry.

Who is first in this process asks again when a request here ends, and every so often, for one may have ended
in another process.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from app.throttle.exchange import Exchange
from app.throttle.verdicts import Refusal

ASK_AGAIN_S = 0.1

Ask = Callable[[], Awaitable[float | Refusal]]


class _Place:
    """A place in the queue of one client."""

    def __init__(self) -> None:
        self.woken = asyncio.get_running_loop().create_future()

    def wake(self) -> None:
        if not self.woken.done():
            self.woken.set_result(None)

    def sleep_on(self) -> asyncio.Future[None]:
        if self.woken.done():
            self.woken = asyncio.get_running_loop().create_future()
        return self.woken


class SeatQueues:
    """The queues of one process, by client."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._queues: dict[str, deque[_Place]] = {}

    def has(self, key: str) -> bool:
        """Whether somebody of a client waits."""
        return key in self._queues

    def wake(self, key: str) -> None:
        """Let the first of a client ask again."""
        queue = self._queues.get(key)
        if queue:
            queue[0].wake()

    async def wait(self, exchange: Exchange, ask: Ask, longest_s: float) -> float | Refusal:
        """Wait for a seat; return what was answered last."""
        key, place = exchange.account.client.key, _Place()
        queue = self._queues.setdefault(key, deque())
        queue.append(place)
        began = now = self._clock()
        try:
            while True:
                left_s = began + longest_s - now
                if queue[0] is place or left_s <= 0:
                    admission = await ask()
                    if left_s <= 0 or not (isinstance(admission, Refusal) and admission.is_for_seats):
                        return admission
                step_s = min(left_s, ASK_AGAIN_S) if queue[0] is place else left_s
                await exchange.wait(step_s, place.sleep_on())
                now = self._clock()
        finally:
            exchange.waited_s += self._clock() - began
            queue.remove(place)
            if queue:
                queue[0].wake()
            else:
                self._queues.pop(key, None)
