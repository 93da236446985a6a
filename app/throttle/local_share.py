"""What one process may give while it cannot ask the store that all share: its part of every rate.

Of the buckets that all clients share it gives no more than a lease at once and then its part of the rate, so
all processes together stay within the rate; and it remembers what it gave, to be charged afterwards.
"""

import math
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from threading import Lock

from app.throttle.bucket import Draw
from app.throttle.leases import BYTES
from app.throttle.stores import MemoryStore, Taken

SLOTS = 16384


class LocalShare:
    """Balances of one of so many processes."""

    def __init__(self, processes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._part = 1 / processes
        self._clock = clock
        self._lock = Lock()
        self._given: dict[int, Draw] = {}

    @cached_property
    def _store(self) -> MemoryStore:
        """Made when it is needed, which is seldom."""
        return MemoryStore(SLOTS)

    def take(self, draws: Sequence[Draw]) -> Taken:
        """Take every draw or none; return whether, and the balances."""
        granted, balances = self._store.take([self._of_part(draw) for draw in draws], self._clock())
        if granted:
            self.put_back([draw for draw in draws if draw.bucket.pinned])
        # A debt is told as that of the whole bucket, for its rate is what the caller reckons a wait with.
        return granted, [balance / self._part if balance < 0 else balance for balance in balances]

    def settle(self) -> list[Draw]:
        """Return what was given of the buckets that all share, and forget it."""
        if not self._given:
            return []
        with self._lock:
            given, self._given = self._given, {}
        return list(given.values())

    def put_back(self, draws: Sequence[Draw]) -> None:
        """Remember what was given."""
        with self._lock:
            for bucket, amount, _ in draws:
                before = self._given.get(bucket.key)
                amount += before.amount if before else 0.0  # noqa: PLW2901
                if amount:
                    self._given[bucket.key] = Draw(bucket, amount, -math.inf)

    def _of_part(self, draw: Draw) -> Draw:
        bucket, amount, least = draw
        per_second, burst = bucket.per_second * self._part, max(1.0, bucket.burst * self._part)
        if bucket.pinned:
            # No more at once than what a process may hold ahead anyway; a quota is given at its even rate.
            burst = min(burst, BYTES)
        scaled = bucket._replace(
            per_second=per_second, burst=burst, pinned=bucket.pinned, since=0.0, until=0.0
        )
        return Draw(scaled, amount, least * self._part if least < 0 else least)
