"""What an admission asks for and what its answer means; no store, no clock.

Whatever is known of a request when it comes is one list of draws, which is taken whole or not at all: the
request itself, a seat, the kind of costly route, and a look at every balance of bytes.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from app.throttle.accounts import Account, Line, Route, Upstream
from app.throttle.bucket import Draw, seconds_to
from app.throttle.leases import BYTES, REQUESTS, draw_bytes_ahead
from app.throttle.steps import Steps
from app.throttle.verdicts import Refusal


class Ask(NamedTuple):
    """The draws of one admission, and the lines that they are of."""

    lines: tuple[Line, ...]
    draws: tuple[Draw, ...]

    def short(self, balances: Sequence[float]) -> tuple[Line, ...]:
        """Return the lines that were short, by the balances of an admission that was not granted."""
        every = zip(self.lines, self.draws, balances, strict=True)
        return tuple(line for line, draw, balance in every if balance < draw.least)

    def wait_s(self, balances: Sequence[float], now: float) -> float:
        """Return when an admitted request is served: no debt of requests, a byte in each bucket of its own.

        For what all together have its bytes wait themselves, so that those behind it see that they do.
        """
        wait_s = 0.0
        for line, balance in zip(self.lines, balances, strict=True):
            if line.is_shared:
                continue
            wanted = 1 if line.unit == "content-bytes" else 0
            if balance < wanted:
                wait_s = max(wait_s, seconds_to(line.bucket, balance, wanted, now))
        return wait_s


class Ahead(NamedTuple):
    """What a process takes ahead for the next requests of a client, and the draws of it."""

    draws: tuple[Draw, ...]
    requests: int
    size: int
    of_route: int


def ask_of(account: Account, route: Route | None, *, may_wait: bool, has_seat: bool) -> Ask:
    """Return what an ordinary request asks for; who has a seat already needs none."""
    lines, draws = account.lines, account.queued if may_wait else account.at_once
    if has_seat:
        draws = (draws[0], Draw(draws[1].bucket, 0, -math.inf), *draws[2:])
    if route is None:
        return Ask(lines, draws)
    return Ask((*lines, route.line), (*draws, route.queued if may_wait else route.at_once))


def ahead_of(account: Account, route: Route | None, balances: Sequence[float] | None) -> Ahead | None:
    """Return what to take ahead for a client whose balances are far from every limit; None near one.

    Without balances the store finds out whether they are.
    """
    lease, ahead = account.lease, account.ahead
    requests = room(ahead, balances[0] if balances else math.inf, lease.requests)
    left = lease.routes.get(route.kind, 0) if route else 0
    route_requests = room(route.ahead, balances[-1] if balances else math.inf, left) if route else 0
    size = max(0, BYTES - lease.bytes)
    if not (requests or route_requests) and size < BYTES // 2:
        return None
    paying = [draw_bytes_ahead(line.bucket, size) for line in account.paying]
    end = len(account.lines)
    held = balances[end - len(paying) : end] if balances else [math.inf] * len(paying)
    if any(balance < draw.least for balance, draw in zip(held, paying, strict=True)):
        return None
    if ahead and requests:
        paying.append(ahead._replace(amount=requests))
    if route and route.ahead and route_requests:
        paying.append(route.ahead._replace(amount=route_requests))
    return Ahead(tuple(paying), requests, size, route_requests)


def room(ahead: Draw | None, balance: float, left: int) -> int:
    """Return how many requests to take ahead from a bucket with this balance, when so many are left."""
    if ahead is None or balance < ahead.least:
        return 0
    return max(0, min(int(ahead.amount), REQUESTS - left))


def giving_back(seat: Line, count: int) -> Steps[None]:
    """Give back seats."""
    yield [Draw(seat.bucket, -count, -math.inf)]


def draw_upstream(
    lines: Upstream, requests: int, size: int, longest_s: float, now: float
) -> Steps[float | Refusal]:
    """Draw from the buckets of an upstream, bytes whatever the balance; return the wait, or the refusal."""
    leasts = [requests - longest_s * line.bucket.per_second if requests else -math.inf for line in lines]
    ask = Ask(lines, tuple(map(Draw, (line.bucket for line in lines), (requests, size), leasts)))
    granted, balances = yield ask.draws
    waits = [seconds_to(line.bucket, held, 0, now) for line, held in zip(lines, balances, strict=True)]
    return max(waits) if granted else Refusal(ask.short(balances), max(waits) + 1, is_shared=True)
