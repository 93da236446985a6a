"""When to leave a server alone: after failures in a row, for a while, then one request tries.

All processes of a host count together, in a file of 16 bytes: a server that fails is left alone by all of
them after five failures, not after five for each, and one request tries for all.
"""

import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from app.throttle.file_lock import locked_within

FAILURES = 5
PAUSE_S = 10.0
_STATE = struct.Struct("<qd")


class State(NamedTuple):
    """Failures in a row, and until when the server is left alone."""

    failures: int = 0
    open_until_s: float = 0.0


class Breaker:
    """The circuit breaker of one upstream; all who share the file at `path` have the same `clock`."""

    def __init__(self, clock: Callable[[], float], path: Path | None = None) -> None:
        """Without a path it is that of one process."""
        self._clock = clock
        self._known = State()
        self._file = -1
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def wait_s(self) -> float:
        """Return for how long the server is to be left alone, 0 when a request may go.

        The first that may go after a pause tries for all: until it is back, the others wait as before.
        """
        if self._read().failures < FAILURES:
            return 0.0
        with self._held():
            left_s = self.left_alone_s()  # if somebody else tries, that long again
            if left_s <= 0:
                self._write(State(self._read().failures, self._clock() + PAUSE_S))
            return left_s

    def left_alone_s(self) -> float:
        """Return for how long the server is still left alone; 0 if it is not."""
        state = self._read()
        left_s = state.open_until_s - self._clock() if state.failures >= FAILURES else 0.0
        return left_s if 0 < left_s <= PAUSE_S else 0.0  # later than that was before the computer started

    def succeeded(self) -> None:
        """Note an answer that the server stands by, whatever it says."""
        if self._read().failures:
            with self._held():
                self._write(State())

    def failed(self) -> None:
        """Note a failure."""
        with self._held() as state:
            failures = state.failures + 1
            pause_s = PAUSE_S if failures >= FAILURES else 0.0
            self._write(State(failures, self._clock() + pause_s))

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    @contextmanager
    def _held(self) -> Iterator[State]:
        """Hold the file if nobody else does: what two write at the same moment says the same."""
        is_held = self._file >= 0 and locked_within(self._file, 0.0)
        try:
            yield self._read()
        finally:
            if is_held:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def _read(self) -> State:
        if self._file < 0:
            return self._known
        told = os.pread(self._file, _STATE.size, 0)
        return State(*_STATE.unpack(told)) if len(told) == _STATE.size else State()

    def _write(self, state: State) -> None:
        self._known = state
        if self._file >= 0:
            os.pwrite(self._file, _STATE.pack(*state), 0)
