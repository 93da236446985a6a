"""Conversions that were tried and failed: the next answers leave them out before they begin."""

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

MOST = 4096
LASTING_S = 3600.0  # a conversion may have failed for want of time or memory: it is tried again


class Unconvertible:
    """Remembers files, by hash, with the form that they cannot be had in; of too many the oldest go."""

    def __init__(self, most: int = MOST, clock: Callable[[], float] = monotonic) -> None:
        self._most = most
        self._clock = clock
        self._until_s: OrderedDict[tuple[bytes, str], float] = OrderedDict()

    def note(self, sha256: bytes, form: str) -> None:
        """Remember that a file cannot be had in a form."""
        self._until_s[sha256, form] = self._clock() + LASTING_S
        self._until_s.move_to_end((sha256, form))
        if len(self._until_s) > self._most:
            self._until_s.popitem(last=False)

    def knows(self, sha256: bytes, form: str) -> bool:
        """Whether a file is known not to be had in a form."""
        until_s = self._until_s.get((sha256, form))
        return until_s is not None and self._clock() < until_s
