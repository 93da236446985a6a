"""Which buckets a client draws from: opened once for a policy and a day, kept ready for use."""

from collections.abc import Callable
from functools import lru_cache
from typing import Literal, NamedTuple

from app.throttle.bucket import Bucket, Draw
from app.throttle.calendar import Period, Periods
from app.throttle.classes import Treatment, class_of, subnet_of
from app.throttle.clients import Client
from app.throttle.cost import reserve_bytes
from app.throttle.leases import Lease, draw_ahead
from app.throttle.policy import Allowance, Policy, RouteKind

REMEMBERED_ACCOUNTS = 8192
REMEMBERED_UPSTREAMS = 256
SHARED_NAME = "global-bytes"
# A process that dies gives no seat back. So seats also come back by themselves, all in so many seconds.
SEATS_RETURN_S = 600.0
CHEAP_BYTES = 4096  # an answer to a health check, or of /quota, is smaller
LAST_PART = 10  # of the rate of all, for these when nothing else is left
# When all is used up it is shared by as many answers as get 64 KiB a second each: so much debt do they make
# who pay for such a slice at a time. More are refused; with fewer, those under way would shut all others out.
SHARED_QUEUE_S = 1.0
SEATS_KEPT = 8  # by a process, for a client that is far from its limit
MANY_SEATS = 32
Unit = Literal["requests", "content-bytes", "concurrent-requests"]


class Line(NamedTuple):
    """One bucket of an account, with what a caller may be told of it."""

    name: str
    unit: Unit
    bucket: Bucket
    is_shared: bool = False  # by more than this client


class Account(NamedTuple):
    """The buckets of one client and the shared ones."""

    client: Client
    treatment: Treatment
    lines: tuple[Line, ...]  # of an admission, in the order of its draws
    queued: tuple[Draw, ...]  # admission that may wait
    at_once: tuple[Draw, ...]  # admission that may not
    cheap_lines: tuple[Line, ...]  # of what is answered even without bytes, in the order of its draws
    cheap: tuple[Draw, ...]
    last_lines: tuple[Line, ...]  # the same when all together are so deep in debt that a reserve must do
    last: tuple[Draw, ...]
    paying: tuple[Line, ...]  # for every byte
    seat: Line | None  # of a request under way
    seats_kept: int
    ahead: Draw | None  # requests for many at once; None where the client never has plenty
    lease: Lease


class Route(NamedTuple):
    """The bucket of one client and a kind of costly route."""

    kind: RouteKind
    line: Line
    queued: Draw  # of a request that may wait
    at_once: Draw  # of one that may not
    ahead: Draw | None


class Upstream(NamedTuple):
    """The buckets of one archive behind the proxy."""

    requests: Line
    content: Line


class Book:
    """All accounts under one policy, in one day."""

    def __init__(self, policy: Policy, key: Callable[[str], int], periods: Periods) -> None:
        self.policy, self.periods = policy, periods
        self._key = key
        shared = policy.shared
        self.rate_for_all = self._line(SHARED_NAME, "content-bytes", "", shared.bytes, 1.0, is_shared=True)
        # Refusals, and answers to health checks, go out although it is empty: until its debt is so deep. What
        # streams owe together may be deeper; then there are the last of the reserve, which fills more slowly.
        self.reserve_bytes = reserve_bytes(shared.bytes.burst)
        last_bytes = self.reserve_bytes / 2 if self.reserve_bytes / 2 >= CHEAP_BYTES else 0.0
        last = Allowance(per_second=shared.bytes.per_second / LAST_PART, burst=max(1.0, last_bytes))
        self.last_for_all = self._line("global-reserve-bytes", "content-bytes", "", last, 1.0, is_shared=True)
        least = 1 - 2 * self.reserve_bytes + last_bytes
        self.cheap_for_all = Draw(self.rate_for_all.bucket, 0, least)
        self.shared = (
            self.rate_for_all,
            *self._quotas("global", "", shared.bytes_per_day, shared.bytes_per_month, is_shared=True),
        )
        self.account: Callable[[Client], Account] = lru_cache(REMEMBERED_ACCOUNTS)(self._open_account)
        self.route: Callable[[Client, RouteKind], Route] = lru_cache(REMEMBERED_ACCOUNTS)(self._open_route)
        self.upstream: Callable[[str], Upstream] = lru_cache(REMEMBERED_UPSTREAMS)(self._open_upstream)

    def through(self, account: Account, upstream: str) -> Account:
        """Return an account whose bytes an upstream's bucket pays for too, in the same step."""
        content = self.upstream(upstream).content
        return account._replace(paying=(*account.paying, content), ahead=None, lease=Lease())

    def _open_account(self, client: Client) -> Account:
        treatment, factor = self._terms(client)
        requests = seat = None
        own: tuple[Line, ...] = ()
        if treatment == "limited":
            requests, seat, own = self._own_lines(client, factor)
        paying = (*own, *self.shared)
        lines = tuple(line for line in (requests, seat, *paying) if line is not None)
        own_requests = () if requests is None else (requests,)
        own_draws = self._admission(own_requests, self.policy.hold.longest_s)
        ahead = draw_ahead(requests.bucket) if requests else None
        seats = int(seat.bucket.burst) if seat else 0
        return Account(
            client,
            treatment,
            lines,
            queued=self._admission(lines, self.policy.hold.longest_s),
            at_once=self._admission(lines, 0),
            cheap_lines=(*own_requests, self.rate_for_all),
            cheap=(*own_draws, self.cheap_for_all),
            last_lines=(*own_requests, self.last_for_all),
            last=(*own_draws, Draw(self.last_for_all.bucket, CHEAP_BYTES, CHEAP_BYTES)),
            paying=paying,
            seat=seat,
            seats_kept=min(SEATS_KEPT, seats // MANY_SEATS),
            ahead=ahead,
            lease=Lease(),
        )

    def _own_lines(self, client: Client, factor: float) -> tuple[Line, Line, tuple[Line, ...]]:
        allowed, owner = self.policy.client, client.key
        requests = self._line("client-requests", "requests", owner, allowed.requests, factor)
        seats = max(1.0, allowed.concurrent_requests * factor)
        seating = Allowance(per_second=seats / SEATS_RETURN_S, burst=seats)
        seat = self._line("client-concurrent-requests", "concurrent-requests", owner, seating, 1.0)
        own = [self._line("client-bytes", "content-bytes", owner, allowed.bytes, factor)]
        subnet = subnet_of(client)
        if subnet is not None:
            # A class with more than others does not raise it for its neighbours, nor one with less lower it.
            more = self.policy.subnet.factor * max(1.0, factor)
            own.append(self._line("subnet-bytes", "content-bytes", f"{subnet} {more}", allowed.bytes, more))
        quotas = allowed.bytes_per_day * factor, allowed.bytes_per_month * factor
        return requests, seat, (*own, *self._quotas("client", owner, *quotas))

    def _admission(self, lines: tuple[Line, ...], longest_s: float) -> tuple[Draw, ...]:
        return tuple(self._admit(line, longest_s) for line in lines)

    def _admit(self, line: Line, longest_s: float) -> Draw:
        bucket = line.bucket
        # A place in the queue is a debt; the longest wait bounds it. Quotas and seats have no queue.
        least = 1.0
        if line == self.rate_for_all:
            least -= min(self.reserve_bytes, min(longest_s, SHARED_QUEUE_S) * bucket.per_second)
        elif not (bucket.pinned or bucket.until or line.unit == "concurrent-requests"):
            least -= longest_s * bucket.per_second
        return Draw(bucket, 0 if line.unit == "content-bytes" else 1, least)

    def _terms(self, client: Client) -> tuple[Treatment, float]:
        """Return how a client is treated, and what its buckets are multiplied by."""
        factor = self.policy.token.factor if client.has_token else 1.0
        found = class_of(client, self.policy.classes)
        return ("limited", factor) if found is None else (found.treatment, factor * found.factor)

    def _open_route(self, client: Client, kind: RouteKind) -> Route:
        name, allowance = f"{kind}-requests", self.policy.route(kind)
        line = self._line(name, "requests", client.key, allowance, self._terms(client)[1])
        queued, at_once = (self._admit(line, wait_s) for wait_s in (self.policy.hold.longest_s, 0))
        return Route(kind, line, queued, at_once, draw_ahead(line.bucket))

    def _open_upstream(self, name: str) -> Upstream:
        allowed = self.policy.upstream_named(name)
        return Upstream(
            self._line("upstream-requests", "requests", name, allowed.requests, 1.0, is_shared=True),
            self._line("upstream-bytes", "content-bytes", name, allowed.bytes, 1.0, is_shared=True),
        )

    def _quotas(
        self, whose: str, owner: str, per_day: float, per_month: float, *, is_shared: bool = False
    ) -> tuple[Line, ...]:
        day, month = self.periods
        wanted = (("day", per_day, day), ("month", per_month, month))
        return tuple(
            self._quota(f"{whose}-bytes-{name}", owner, amount, period, is_shared=is_shared)
            for name, amount, period in wanted
            if amount
        )

    def _quota(self, name: str, owner: str, amount: float, period: Period, *, is_shared: bool) -> Line:
        per_second = amount / (period.until - period.since)
        bucket = Bucket(self._key(f"{name} {owner}"), per_second, amount, is_shared, *period)
        return Line(name, "content-bytes", bucket, is_shared)

    def _line(
        self,
        name: str,
        unit: Unit,
        owner: str,
        allowance: Allowance,
        factor: float,
        *,
        is_shared: bool = False,
    ) -> Line:
        key = self._key(f"{name} {owner}")
        bucket = Bucket(key, allowance.per_second * factor, max(1.0, allowance.burst * factor), is_shared)
        return Line(name, unit, bucket, is_shared)
