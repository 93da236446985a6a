"""What a process remembers of the searches it has answered; forgotten when the catalogue changes."""

from array import array
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field


@dataclass
class PageMemory:
    """Where pages began, so that a deep `offset` is a short read, and what slow searches found."""

    size: int = 4096
    searches: int = 512  # whose rows are kept
    rows: int = 1_000_000  # of all these searches together, 8 bytes each
    _known: OrderedDict[Hashable, int] = field(default_factory=OrderedDict)
    _found: OrderedDict[Hashable, "array[int]"] = field(default_factory=OrderedDict)

    def get(self, key: Hashable) -> int | None:
        """Return what is remembered under a key."""
        return self._known.get(key)

    def put(self, key: Hashable, value: int) -> int:
        """Remember a value; the oldest is forgotten when there are too many."""
        self._known[key] = value
        if len(self._known) > self.size:
            self._known.popitem(last=False)
        return value

    def found(self, key: Hashable) -> "array[int] | None":
        """Return the rows that a search found."""
        return self._found.get(key)

    def put_found(self, key: Hashable, rows: "array[int]") -> None:
        """Remember the rows that a search found; the oldest are forgotten when there are too many."""
        self._found[key] = rows
        while len(self._found) > self.searches or sum(map(len, list(self._found.values()))) > self.rows:
            self._found.popitem(last=False)
