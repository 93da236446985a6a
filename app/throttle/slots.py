"""Balances in a fixed piece of memory: an open-addressing table in a plain buffer or a shared file.

A slot is four 8-byte words: key, updated_at, tokens, full_at. A key may lie in any of `WAYS` neighbouring
slots that its 64 bits choose; the keys are made with a secret, so nobody can aim at somebody's slot.

What a killed process leaves behind is safe at every point: updated_at is written before tokens (the other
way round a refill would count twice), and a slot that changes hands is nameless until its numbers are in
place.

When the neighbourhood is taken, the slot that is or will be full soonest gives way, and the newcomer
inherits its time to full. So an eviction creates no tokens: however many addresses an attacker owns, all
client buckets together never yield more than `slots * (burst + per_second * T)`, and to win back a spent
bucket he must first have spent all its neighbours deeper. A quota counts here as if it filled evenly: the
more of it was used, the longer it is kept. The shared buckets lie apart and are never evicted.
"""

from collections.abc import Sequence

from app.errors import SettingsError
from app.throttle.bucket import PLAUSIBLE_SKEW_S, Bucket, Draw, left_of_quota, refill

WORDS = 4  # per slot
WAYS = 16
PINNED_SLOTS = 64


def table_bytes(slots: int) -> int:
    """Return the size of the buffer for so many client slots."""
    return (PINNED_SLOTS + slots + WAYS) * WORDS * 8


class SlotTable:
    """Bucket balances in a buffer; the caller holds the lock."""

    def __init__(self, buffer: memoryview, pinned_start: float = 1.0) -> None:
        """Lay the table over `buffer`; a new pinned bucket starts with `pinned_start` times its burst."""
        self._keys = buffer.cast("Q")
        self._numbers = buffer.cast("d")
        self._pinned_start = pinned_start
        self._homes = len(self._keys) // WORDS - PINNED_SLOTS - WAYS
        if self._homes < 1:
            raise SettingsError("the budget needs room for at least one client")

    def take(self, draws: Sequence[Draw], now: float) -> tuple[bool, list[float]]:
        """Take every draw or none; return whether, and the balances after it."""
        keys, numbers = self._keys, self._numbers
        granted = True
        places: list[int] = []
        balances: list[float] = []
        for bucket, _, least in draws:
            key, per_second, burst, pinned, _, until = bucket
            at = 0 if pinned else (PINNED_SLOTS + key % self._homes) * WORDS
            if keys[at] != key:
                at = self._find(bucket, at)
                if at < 0:
                    at = self._claim(bucket, now, places)
            if until:
                balance = left_of_quota(numbers[at + 2], numbers[at + 1], bucket, now)
            else:
                balance = refill(numbers[at + 2], numbers[at + 1], per_second, burst, now)
            if balance == 0.0:  # perhaps because the slot is damaged: time must count again from here
                self._write(at, bucket, 0.0, now)
            if balance < least:
                granted = False
            places.append(at)
            balances.append(balance)
        if granted:
            for index, (bucket, amount, _) in enumerate(draws):
                if amount:
                    tokens = balances[index] - amount
                    balances[index] = tokens = min(tokens, bucket.burst)
                    self._write(places[index], bucket, tokens, now)
        return granted, balances

    def peek(self, buckets: Sequence[Bucket], now: float) -> list[float]:
        """Return the balances, and change nothing; an unknown bucket is full."""
        balances = []
        for bucket in buckets:
            at = self._find(bucket, 0 if bucket.pinned else (PINNED_SLOTS + bucket.key % self._homes) * WORDS)
            if at < 0:
                balances.append(bucket.burst)
                continue
            tokens, updated_at = self._numbers[at + 2], self._numbers[at + 1]
            if bucket.until:
                balances.append(left_of_quota(tokens, updated_at, bucket, now))
            else:
                balances.append(refill(tokens, updated_at, bucket.per_second, bucket.burst, now))
        return balances

    def shift(self, seconds: float, now: float) -> None:
        """Move every time stamp onto another clock; none may lie ahead of `now`."""
        numbers = self._numbers
        for at in range(0, len(self._keys), WORDS):
            if self._keys[at]:
                step = min(seconds, now - numbers[at + 1])
                numbers[at + 1] += step
                numbers[at + 3] += step

    def release(self) -> None:
        """Let go of the buffer, so that it may be closed."""
        self._keys.release()
        self._numbers.release()

    def _find(self, bucket: Bucket, home: int) -> int:
        ways = PINNED_SLOTS if bucket.pinned else WAYS
        for at in range(home, home + ways * WORDS, WORDS):
            if self._keys[at] == bucket.key:
                return at
        return -1

    def _claim(self, bucket: Bucket, now: float, taken: Sequence[int]) -> int:
        """Give the bucket an empty slot, or that of the client who loses least; never one of `taken`."""
        keys, numbers = self._keys, self._numbers
        home = 0 if bucket.pinned else (PINNED_SLOTS + bucket.key % self._homes) * WORDS
        ways = PINNED_SLOTS if bucket.pinned else WAYS
        places = [place for place in range(home, home + ways * WORDS, WORDS) if place not in taken]
        at = next((place for place in places if not keys[place]), -1)
        if at >= 0:
            tokens = bucket.burst * (self._pinned_start if bucket.pinned else 1.0)
        elif bucket.pinned:
            raise SettingsError(f"the budget has room for {PINNED_SLOTS} shared buckets only")
        else:
            at = min(places, key=lambda place: numbers[place + 3])
            owed_s = numbers[at + 3] - now
            tokens = bucket.burst - max(owed_s, 0.0) * bucket.per_second if owed_s == owed_s else 0.0  # noqa: PLR0124
            tokens = max(tokens, 0.0)
            keys[at] = 0
        self._write(at, bucket, tokens, now)
        keys[at] = bucket.key
        return at

    def _write(self, at: int, bucket: Bucket, tokens: float, now: float) -> None:
        numbers = self._numbers
        updated_at = numbers[at + 1]
        if (
            bucket.until and now < bucket.since
        ):  # by a clock that is a little behind: of this period all the same
            now = bucket.since
        # A process that read its clock later may have come first. Turned back, time would refill twice.
        if now > updated_at or not updated_at <= now + PLAUSIBLE_SKEW_S:
            numbers[at + 1] = now
        numbers[at + 2] = tokens
        numbers[at + 3] = now + (bucket.burst - tokens) / bucket.per_second
