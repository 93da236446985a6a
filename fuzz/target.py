"""What a target is: a function of bytes, what it may raise, and seeds to begin with."""

from collections.abc import Callable
from dataclasses import dataclass

from app.errors import ArchiveError


@dataclass(frozen=True)
class Target:
    """One reader: it returns, or raises one of `refusals`; anything else is a finding."""

    read: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]
    refusals: tuple[type[Exception], ...] = (ArchiveError,)
    few: int = 1000  # inputs of a short run; fewer where each is a file

    def run(self, data: bytes) -> None:
        """Read the bytes; what may not be raised comes through."""
        try:
            self.read(data)
        except self.refusals:
            return


def texts(*texts: str) -> Callable[[], list[bytes]]:
    """Return seeds that are texts."""
    return lambda: [text.encode() for text in texts]
