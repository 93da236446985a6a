"""An event loop in a thread of its own, for blocking code that needs what is asynchronous."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from concurrent.futures import wait
from typing import Any, TypeVar

T = TypeVar("T")

Heed = Callable[[], None]  # is called while somebody waits, and raises what ends the waiting

LOOK_AROUND_S = 0.25
_LONGEST_END_S = 5.0


class EventLoop:
    """Runs coroutines for other threads."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T], heed: Heed) -> T:
        """Return what a coroutine returns; it is cancelled when `heed` raises."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            while not wait([future], LOOK_AROUND_S).done:
                heed()
            return future.result()
        finally:
            future.cancel()

    def each(self, source: AsyncGenerator[T], heed: Heed) -> Iterator[T]:
        """Yield what a generator yields, one asked for at a time."""
        try:
            while True:
                try:
                    yield self.call(_next(source), heed)
                except StopAsyncIteration:
                    return
        finally:
            self.call(_close(source), lambda: None)

    def close(self) -> None:
        """Stop; what is under way should have ended before."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_LONGEST_END_S)
        if not self._thread.is_alive():
            self._loop.close()


async def _next(source: AsyncGenerator[T]) -> T:
    return await anext(source)


async def _close(source: AsyncGenerator[T]) -> None:
    await source.aclose()
