"""What the budget answers: a refusal, a debt, how a caller stands."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from app.throttle.accounts import Line, Unit
from app.throttle.bucket import seconds_to, whole_seconds

FLOOR_BYTES_PER_S = 64 * 1024.0  # of an answer that has begun when a quota ends


@dataclass(frozen=True, slots=True)
class Refusal:
    """Which buckets were short, and after how long they will not be."""

    short: tuple[Line, ...]
    wait_s: float
    is_shared: bool  # the client is within its own limits
    is_denied: bool = False  # this client is never answered
    delay_s: float = 0.0  # before the refusal itself is paid for

    @property
    def is_for_seats(self) -> bool:
        """Whether only other requests under way are in the way; nothing was charged for this answer yet."""
        return bool(self.short) and all(line.unit == "concurrent-requests" for line in self.short)

    @property
    def retry_after_s(self) -> int:
        """Whole seconds after which the same request passes, if nobody else asks meanwhile."""
        return whole_seconds(self.wait_s)


DENIED = Refusal((), 0.0, is_shared=False, is_denied=True)


class Debt(NamedTuple):
    """What was charged beyond a balance: when it may be sent, and how long of that is everybody's fault."""

    wait_s: float
    floor_s: float  # counts against the time in which answers that have begun may end


def debt_of(lines: Sequence[Line], balances: Sequence[float], size: int, now: float) -> Debt:
    """Return when so many bytes may be sent that have brought lines to these balances."""
    wait_s = floor_s = 0.0
    for line, balance in zip(lines, balances, strict=True):
        if balance >= 0:
            continue
        if line.bucket.until:  # nobody waits for tomorrow with half an answer
            floor_s = max(floor_s, size / FLOOR_BYTES_PER_S)
            continue
        line_wait_s = seconds_to(line.bucket, balance, 0, now)
        wait_s = max(wait_s, line_wait_s)
        if line.is_shared:
            floor_s = max(floor_s, line_wait_s)
    return Debt(max(wait_s, floor_s), floor_s)


@dataclass(frozen=True, slots=True)
class Standing:
    """How one of the caller's own buckets stands."""

    policy: str
    unit: Unit
    per_second: float
    capacity: int
    remaining: int  # 0 while in debt
    seconds_to_full: int


def standing_of(line: Line, balance: float, now: float) -> Standing:
    """Return how a bucket with this balance stands."""
    bucket = line.bucket
    return Standing(
        policy=line.name,
        unit=line.unit,
        per_second=bucket.per_second,
        capacity=int(bucket.burst),
        remaining=max(0, int(balance)),
        seconds_to_full=math.ceil(seconds_to(bucket, balance, bucket.burst, now)),
    )
