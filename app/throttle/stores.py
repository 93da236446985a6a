"""Where balances live: one interface; here the store of one process. The store of several is mmap_store."""

import secrets
import time
from collections.abc import Sequence
from hashlib import blake2b
from threading import Lock
from typing import Protocol, runtime_checkable

from app.throttle.bucket import Bucket, Draw
from app.throttle.slots import SlotTable, table_bytes

# Five buckets for each of 13,000 clients at once; 2 MiB.
DEFAULT_SLOTS = 65536
SALT_BYTES = 16

Taken = tuple[bool, list[float]]  # whether the draws were made, and the balances after that


class BucketStore(Protocol):
    """Balances of buckets; safe from any thread. A call takes microseconds, of a remote store up to 50 ms."""

    def clock(self) -> float:
        """Return the time for `now`, in seconds."""

    def key(self, name: str) -> int:
        """Return the 64 bits that stand for a bucket's name in this store."""

    def take(self, draws: Sequence[Draw], now: float) -> Taken:
        """Take every draw or none, in one atomic step.

        Each bucket may occur once. `now` is a reading of the clock. Returns whether the draws were
        made, and the balances after that.
        """

    def peek(self, buckets: Sequence[Bucket], now: float) -> list[float]:
        """Return the balances, and change nothing."""

    def close(self) -> None:
        """Let go of files and memory."""


@runtime_checkable
class RemoteStore(BucketStore, Protocol):
    """A store that is another server: it takes many at once, and need not answer."""

    def ask_many(self, asked: Sequence[Sequence[Draw]], now: float) -> list[Taken]:
        """Take for each of those who ask every draw or none, in one call; for all, or it stands in."""

    def stand_in(self, draws: Sequence[Draw]) -> Taken | None:
        """Take from the part of this process while the server is left alone; None when it is to be asked."""

    def give_up(self, draws: Sequence[Draw]) -> Taken:
        """Take from the part of this process, and leave the server alone for a while."""


def salted_key(salt: bytes, name: str) -> int:
    """Return 64 bits for a name, never 0; without the salt nobody can choose names whose slots collide."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8, key=salt).digest(), "little") | 1


class MemoryStore:
    """Balances of one process, forgotten when it ends."""

    def __init__(self, slots: int = DEFAULT_SLOTS) -> None:
        self._table = SlotTable(memoryview(bytearray(table_bytes(slots))))
        self._salt = secrets.token_bytes(SALT_BYTES)
        self._lock = Lock()

    def clock(self) -> float:
        """Return the time."""
        return time.monotonic()

    def key(self, name: str) -> int:
        """Return the 64 bits that stand for a bucket's name."""
        return salted_key(self._salt, name)

    def take(self, draws: Sequence[Draw], now: float) -> Taken:
        """Take every draw or none; return whether, and the balances."""
        with self._lock:
            return self._table.take(draws, now)

    def peek(self, buckets: Sequence[Bucket], now: float) -> list[float]:
        """Return the balances."""
        with self._lock:
            return self._table.peek(buckets, now)

    def close(self) -> None:
        """Nothing to let go of."""
