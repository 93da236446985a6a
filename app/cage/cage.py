"""The cage: tasks from any thread, each given to a free child process, in the order they came."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from queue import SimpleQueue
from time import monotonic
from typing import Any, TypeVar

from app.cage.child import Child, ChildLost, Limits
from app.cage.messages import Answer, Arguments, Kind
from app.errors import ArchiveError, CagedFailure

A = TypeVar("A")
T = TypeVar("T")

_CHUNKS_IN_FLIGHT = 64
_ENDING = "the file was not read: the program is ending"


class Cage:
    """Runs functions on files from strangers in child processes with limits; safe to use from many threads.

    Nothing is started before the first task. A child that was idle for `idle_s` is ended.
    """

    def __init__(
        self, processes: int, memory_bytes: int, cpu_s: int, wall_s: float = 20, idle_s: float = 30
    ) -> None:
        limits = Limits(memory_bytes, cpu_s, wall_s)
        self._children = [Child(limits) for _ in range(processes)]
        self._free = list(self._children)
        self._waiting: deque[SimpleQueue[Child | None]] = deque()
        self._idle_s = idle_s
        self._changed = threading.Condition()
        self._closed = False
        self._retiring = False

    def run(
        self,
        function: Callable[..., T],
        *arguments: Any,  # noqa: ANN401 - whatever the function takes
        meanwhile: Callable[[], None] | None = None,
    ) -> T:
        """Call a module-level function in a child and return what it returns; blocks.

        `meanwhile` is done here while the child works: two that wait cost a thread less.

        An ArchiveError raised there is raised here. A crash, any other exception, or more memory or time than
        allowed is a CagedFailure; the child is replaced and other callers notice nothing.
        """
        (outcome,) = self._outcomes(function, [arguments], meanwhile)
        if isinstance(outcome, ArchiveError):
            raise outcome
        return outcome

    def map(
        self, function: Callable[[A], T], items: Iterable[A], chunk_size: int = 32
    ) -> Iterator[tuple[A, T | ArchiveError]]:
        """Call the function on each item, all children busy; yield each item with its outcome, in order.

        Items travel `chunk_size` at a time, and only so many chunks are taken ahead of the reader. One that
        crashes its child costs one error: those of its chunk without an answer then go to a fresh child, each
        alone, perhaps for the second time.
        """
        stop = threading.Event()
        source = iter(items)
        pending: deque[tuple[list[A], Future[list[T | ArchiveError]]]] = deque()
        with ThreadPoolExecutor(len(self._children), "cage-map") as threads:
            try:
                while chunk := list(islice(source, chunk_size)):
                    pending.append((chunk, threads.submit(self._chunk, function, chunk, stop)))
                    while pending and (len(pending) >= _CHUNKS_IN_FLIGHT or pending[0][1].done()):
                        done, outcomes = pending.popleft()
                        yield from zip(done, outcomes.result(), strict=True)
                while pending:
                    done, outcomes = pending.popleft()
                    yield from zip(done, outcomes.result(), strict=True)
            finally:  # the reader left early, or the source failed: start nothing more
                stop.set()
                for _, outcomes in pending:
                    outcomes.cancel()

    def close(self) -> None:
        """End every child and wait until it is gone; tasks that run or wait end in a CagedFailure."""
        with self._changed:
            self._closed = True
            while self._waiting:
                self._waiting.popleft().put(None)
            for child in self._children:
                child.kill()
            while len(self._free) < len(self._children):
                self._changed.wait()
            for child in self._children:
                child.end()
            self._changed.notify_all()

    def _chunk(
        self, function: Callable[[A], T], items: Sequence[A], stop: threading.Event
    ) -> list[T | ArchiveError]:
        results: list[T | ArchiveError] = []
        try:
            with closing(self._outcomes(function, [(item,) for item in items])) as outcomes:
                for outcome in outcomes:
                    results.append(outcome)
                    if stop.is_set():
                        break
        except ArchiveError as error:
            results += [error] * (len(items) - len(results))
        return results

    def _outcomes(
        self,
        function: Callable[..., T],
        batch: Sequence[Arguments],
        meanwhile: Callable[[], None] | None = None,
    ) -> Generator[T | ArchiveError, None, None]:
        child = self._take()
        left = together = len(batch)
        try:
            while left:
                if self._closed:
                    raise CagedFailure(_ENDING)
                due = min(left, together)
                child.send(function, batch[len(batch) - left :][:due])
                if meanwhile is not None:
                    meanwhile()
                while due and child.process_id:
                    try:
                        answers = child.receive(due)
                    except ChildLost as lost:
                        if due > 1:  # which of them it was shows when each has its turn alone
                            together = 1
                            break
                        answers = [Answer(Kind.FAILED, str(lost))]
                    for answer in answers:
                        left, due = left - 1, due - 1
                        yield self._outcome(answer)
        finally:
            if left:  # the reader left, and answers nobody waits for must not meet the next task
                child.end()
            self._give_back(child)

    def _outcome(self, answer: Answer) -> Any:  # noqa: ANN401 - whatever the function returned
        if self._closed and answer.kind != Kind.VALUE:
            return CagedFailure(_ENDING)
        if answer.kind in {Kind.VALUE, Kind.REFUSED}:
            return answer.content
        return CagedFailure(f"the file could not be read: {answer.content}")

    def _take(self) -> Child:
        """Wait for a free child; who came first gets the first, handed over so that nobody can push in."""
        with self._changed:
            if self._closed:
                raise CagedFailure(_ENDING)
            if self._free:
                return self._free.pop()  # the one used last: the others may grow idle
            turn: SimpleQueue[Child | None] = SimpleQueue()
            self._waiting.append(turn)
        child = turn.get()
        if child is None:
            raise CagedFailure(_ENDING)
        return child

    def _give_back(self, child: Child) -> None:
        with self._changed:
            if self._waiting:
                self._waiting.popleft().put(child)
                return
            child.idle_since = monotonic()
            self._free.append(child)
            if self._closed:
                child.end()
                self._changed.notify_all()
            elif not self._retiring and child.process_id:
                self._retiring = True
                threading.Thread(target=self._retire_idle, name="cage-idle", daemon=True).start()

    def _retire_idle(self) -> None:
        """End children nobody needed for a while, then end too: a quiet program keeps none of either."""
        with self._changed:
            while not self._closed and any(child.process_id for child in self._children):
                now = monotonic()
                for child in self._free:
                    if now - child.idle_since >= self._idle_s:
                        child.end()
                self._changed.wait(self._idle_s / 4)
            self._retiring = False
