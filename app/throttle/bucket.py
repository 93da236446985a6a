"""The arithmetic of a token bucket with debt; no clock, no state, no lock.

A bucket holds up to `burst` tokens and gains `per_second` of them every second. One token is one request
or one byte. The balance may be negative: what was promised beyond it is a debt, and time pays it off.
Whoever takes n tokens when b are left may act `seconds_until(b - n, 0, per_second)` later: a queue needs
no more than a number.

Over any T seconds nobody is given more than `burst + per_second * T`.

A quota is a bucket that is filled at once, when a day or month of the calendar begins.
"""

from typing import NamedTuple

# A time stamp this far ahead of the clock, or a debt this old, was not written by us: the state is damaged.
PLAUSIBLE_SKEW_S = 60.0
PLAUSIBLE_DEBT_S = 3600.0
PLAUSIBLE_TOKENS = 1e18


class Bucket(NamedTuple):
    """Which bucket, and how fast and deep it is; the balance is kept by a store."""

    key: int  # 64 bits, from BucketStore.key()
    per_second: float
    burst: float
    pinned: bool = False  # never evicted: the buckets that everybody shares
    # A quota is full at the start of its day or month and gains nothing until the end of it, both in seconds
    # of the store's clock; `per_second` is what it comes to on average.
    since: float = 0.0
    until: float = 0.0  # 0: not a quota


class Draw(NamedTuple):
    """Take `amount` tokens out of a bucket, on condition that it holds `least` before."""

    bucket: Bucket
    amount: float
    least: float


def refill(tokens: float, updated_at: float, per_second: float, burst: float, now: float) -> float:
    """Return the balance at `now` (seconds of the clock that gave `updated_at`).

    A clock that steps back adds nothing. State that is not a plausible number counts as an empty bucket:
    neither a gift of a burst nor a debt that never ends.
    """
    deepest = -burst - PLAUSIBLE_DEBT_S * per_second
    if not (updated_at <= now + PLAUSIBLE_SKEW_S and deepest <= tokens <= PLAUSIBLE_TOKENS):  # so is NaN
        return 0.0
    if now > updated_at:
        tokens += (now - updated_at) * per_second
    return burst if tokens > burst else tokens  # noqa: FURB136 - a call of min() would cost more than the rest


def left_of_quota(tokens: float, updated_at: float, bucket: Bucket, now: float) -> float:
    """Return what is left of a quota: all of it where the last change was before its period."""
    if updated_at < bucket.since:
        return bucket.burst
    is_plausible = updated_at <= now + PLAUSIBLE_SKEW_S and -PLAUSIBLE_TOKENS <= tokens <= PLAUSIBLE_TOKENS
    return min(tokens, bucket.burst) if is_plausible else 0.0


def seconds_to(bucket: Bucket, balance: float, wanted: float, now: float) -> float:
    """Return how long until a bucket or quota with `balance` holds `wanted`; 0 if it does already."""
    if bucket.until:
        return 0.0 if balance >= wanted else max(0.0, bucket.until - now)
    return seconds_until(balance, wanted, bucket.per_second)


def seconds_until(balance: float, wanted: float, per_second: float) -> float:
    """Return how long a bucket with `balance` takes to hold `wanted`; 0 if it does already."""
    return max(0.0, (wanted - balance) / per_second)


def whole_seconds(seconds: float) -> int:
    """Return a number for Retry-After: whole, at least 1, and later than `seconds`, never earlier."""
    return int(seconds) + 1
