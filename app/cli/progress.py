"""How far a long command is: one moving line on a terminal, plain lines now and then elsewhere.

Written to standard error, so that standard output stays the report's.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TextIO

_ON_TERMINAL_S = 0.1
_ELSEWHERE_S = 10.0


class Progress:
    """Counts what is done of `total` (None when that is not known) and says so now and then."""

    def __init__(
        self, total: int | None, label: str, stream: TextIO, now_s: Callable[[], float], done: int = 0
    ) -> None:
        self._total = total
        self._label = label
        self._stream = stream
        self._now_s = now_s
        self._moving = stream.isatty()
        self._every_s = _ON_TERMINAL_S if self._moving else _ELSEWHERE_S
        self._started_s = self._last_s = now_s()
        self._before = self.done = done

    def advance(self, count: int = 1) -> None:
        """Say that `count` more are done."""
        self.done += count
        now_s = self._now_s()
        if now_s - self._last_s >= self._every_s:
            self._last_s = now_s
            self._write(now_s)

    def finish(self) -> None:
        """Write the last line."""
        self._write(self._now_s())
        if self._moving:
            self._stream.write("\n")
            self._stream.flush()

    def _write(self, now_s: float) -> None:
        elapsed_s = now_s - self._started_s
        rate = f", {(self.done - self._before) / elapsed_s:.0f}/s" if elapsed_s >= 1 else ""
        share = f" of {self._total} ({self.done * 100 // self._total} %)" if self._total else ""
        line = f"{self._label}: {self.done}{share}{rate}"
        # ESC [ K clears what a longer line before it left.
        self._stream.write(f"\r{line}\x1b[K" if self._moving else f"{line}\n")
        self._stream.flush()


@contextmanager
def progress(
    total: int | None,
    label: str,
    stream: TextIO | None = None,
    now_s: Callable[[], float] = monotonic,
    *,
    done: int = 0,
) -> Iterator[Progress]:
    """Show the progress of a block, whose work calls `advance`; the last line is written even if it fails.

    `done` is what an earlier run did.
    """
    shown = Progress(total, label, stream or sys.stderr, now_s, done)
    try:
        yield shown
    finally:
        shown.finish()
