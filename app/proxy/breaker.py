"""When to leave a server alone: after failures in a row, for a while, then one request tries."""

from collections.abc import Callable

FAILURES = 5
PAUSE_S = 10.0


class Breaker:
    """The circuit breaker of one upstream, in one process; `clock` in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._open_until_s = 0.0

    def wait_s(self) -> float:
        """Return for how long the server is to be left alone, 0 when a request may go.

        The first that may go after a pause tries for all: until it is back, the others wait as before.
        """
        if self._failures < FAILURES:
            return 0.0
        left_s = self._open_until_s - self._clock()
        if left_s > 0:
            return left_s
        self._open_until_s = self._clock() + PAUSE_S
        return 0.0

    def succeeded(self) -> None:
        """Note an answer that the server stands by, whatever it says."""
        self._failures = 0

    def failed(self) -> None:
        """Note a failure."""
        self._failures += 1
        if self._failures >= FAILURES:
            self._open_until_s = self._clock() + PAUSE_S
