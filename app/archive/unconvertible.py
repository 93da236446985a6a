"""Conversions that were tried and cannot be done: the next answer leaves them out before it begins."""

from collections import OrderedDict

MOST = 4096


class Unconvertible:
    """Remembers files, by their hash, with the form that they cannot be had in; of too many, the oldest go.

    A conversion that failed for want of time or memory is not remembered: it may succeed another time.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._known: OrderedDict[tuple[bytes, str], None] = OrderedDict()

    def note(self, sha256: bytes, form: str) -> None:
        """Remember that a file cannot be had in a form."""
        self._known[sha256, form] = None
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def knows(self, sha256: bytes, form: str) -> bool:
        """Whether a file is known not to be had in a form."""
        return (sha256, form) in self._known
