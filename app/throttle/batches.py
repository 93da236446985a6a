"""Asks a store that is another server for all who ask at the same time: one thread, one call for many.

The thread asks; whoever asks in an event loop goes on. While a call is under way the next ones gather, so
under load the server is asked no more often than it can answer, and a process pays once for many.
"""

import asyncio
import logging
import math
from collections.abc import Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import NamedTuple, TypeVar

from app.throttle.bucket import Draw
from app.throttle.steps import Look, Steps, Wanted
from app.throttle.stores import RemoteStore, Taken

MOST = 64  # in one call: what the server does for it, others wait for
PATIENCE_S = 0.1  # of an event loop with the thread: looking up the server's name has no limit of its own

T = TypeVar("T")
Loop = asyncio.AbstractEventLoop
logger = logging.getLogger("dermzoo.budget")


class _Ask(NamedTuple):
    draws: Sequence[Draw]
    loop: Loop | None = None  # of who waits
    waiting: "asyncio.Future[Taken] | None" = None


class Batches:
    """The way of one process to a store elsewhere."""

    def __init__(self, store: RemoteStore) -> None:
        self._store = store
        self._asked: SimpleQueue[_Ask | None] = SimpleQueue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = Thread(target=self._run, name="budget", daemon=True)
        self._thread.start()

    async def make(self, steps: Steps[T]) -> T:
        """Make steps; return the decision."""
        try:
            wanted = next(steps)
            while True:
                wanted = steps.send(await self._ask(wanted))
        except StopIteration as end:
            decision: T = end.value
            return decision

    def in_background(self, steps: Steps[None]) -> None:
        """Make steps that nobody waits for."""
        task = asyncio.ensure_future(self.make(steps))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, wanted: Wanted) -> Taken:
        """Return the store's answer, or that of the part of this process where it does not come."""
        draws = _draws(wanted)
        answer = self._store.stand_in(draws)
        if answer is not None:
            return answer
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[Taken] = loop.create_future()
        self._asked.put(_Ask(draws, loop, waiting))
        late = loop.call_later(PATIENCE_S, self._give_up, draws, waiting)
        try:
            return await waiting
        finally:
            late.cancel()

    def ask_later(self, wanted: Wanted) -> None:
        """Ask for what nobody waits for."""
        self._asked.put(_Ask(_draws(wanted)))

    def close(self) -> None:
        """Ask for what is left, and end."""
        self._asked.put(None)
        self._thread.join()

    def _give_up(self, draws: Sequence[Draw], waiting: "asyncio.Future[Taken]") -> None:
        if not waiting.done():
            waiting.set_result(self._store.give_up(draws))

    def _run(self) -> None:
        while (first := self._asked.get()) is not None:
            asked: list[_Ask] = [first]
            is_last = False
            with suppress(Empty):
                while len(asked) < MOST and not is_last:
                    more = self._asked.get_nowait()
                    if more is None:
                        is_last = True
                    else:
                        asked.append(more)
            self._answer(asked)
            if is_last:
                return

    def _answer(self, asked: Sequence[_Ask]) -> None:
        try:
            answers = self._store.ask_many([each.draws for each in asked], self._store.clock())
        except Exception:  # the thread must live; whoever waits gives up in time
            logger.exception("the budget's server cannot be asked")
            return
        by_loop: dict[Loop, list[tuple[asyncio.Future[Taken], Taken]]] = {}
        for each, answer in zip(asked, answers, strict=True):
            if each.loop is not None and each.waiting is not None:
                by_loop.setdefault(each.loop, []).append((each.waiting, answer))
        for loop, answered in by_loop.items():
            with suppress(RuntimeError):  # a loop that has ended meanwhile
                loop.call_soon_threadsafe(_hand_out, answered)


def _hand_out(answered: Sequence[tuple["asyncio.Future[Taken]", Taken]]) -> None:
    for waiting, answer in answered:
        if not waiting.done():
            waiting.set_result(answer)


def _draws(wanted: Wanted) -> Sequence[Draw]:
    if isinstance(wanted, Look):
        return [Draw(bucket, 0, -math.inf) for bucket in wanted.buckets]
    return wanted
