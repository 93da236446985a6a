"""The budget: what a client may have now, through whichever door.

Nothing here waits for a turn: callers are told how long they must. Every rule is steps (steps.py): a thread
makes them at once, by the methods with short names; an event loop makes them `soon`, for where the store is
another server an answer may take 50 ms.
"""

import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from app.throttle.accounts import Account, Book, Route
from app.throttle.admission import Ask, ahead_of, ask_of, draw_upstream, giving_back, room
from app.throttle.batches import Batches
from app.throttle.bucket import Draw, seconds_to
from app.throttle.calendar import periods_at
from app.throttle.clients import Client
from app.throttle.leases import BYTES, Leases, draw_bytes_ahead
from app.throttle.ledger import Ledger, Month
from app.throttle.policy import ROUTE_KINDS, Policy, RouteKind
from app.throttle.steps import Look, Steps, run_steps
from app.throttle.stores import BucketStore, RemoteStore
from app.throttle.verdicts import DENIED, Debt, Refusal, Standing, debt_of, standing_of

REFUSAL_BYTES = 1024  # a refusal is sent too, and somebody pays for it

T = TypeVar("T")


class Budget:
    """Every byte and request out, checked and charged in one atomic step each."""

    def __init__(
        self,
        policy: Policy,
        store: BucketStore,
        clock: Callable[[], float] | None = None,
        wall: Callable[[], float] = time.time,
        ledger: Ledger | None = None,
    ) -> None:
        self._store, self._clock, self._wall = store, clock or store.clock, wall
        self._ledger = ledger
        self._note: Callable[[int], None] = ledger.add if ledger else lambda _: None
        self._leases = Leases()
        self._batches = Batches(store) if isinstance(store, RemoteStore) else None
        self._renewing = threading.Lock()
        self.renew(policy)

    @property
    def policy(self) -> Policy:
        """The rates in force."""
        return self._book.policy

    @property
    def is_remote(self) -> bool:
        """Whether a step may take longer than an event loop can spare."""
        return self._batches is not None

    def now(self) -> float:
        """Return the time by the store's clock."""
        return self._clock()

    def renew(self, policy: Policy | None = None) -> None:
        """Take another policy, or begin another day; balances stay as they are."""
        with self._renewing:
            now = self._clock()
            self._book = Book(policy or self.policy, self._store.key, periods_at(self._wall(), now))
            if self._ledger is not None:
                self._ledger.cost = self.policy.cost
            # Looked up with each request, so not through the book.
            self.account: Callable[[Client], Account] = self._book.account

    def renew_if_due(self) -> None:
        """Begin another day when it has begun."""
        if self._clock() >= self._book.periods.day.until:
            self.renew()

    def run(self, steps: Steps[T]) -> T:
        """Make steps at once."""
        return run_steps(steps, self._store, self._clock)

    async def soon(self, steps: Steps[T]) -> T:
        """Make steps without keeping an event loop waiting."""
        return self.run(steps) if self._batches is None else await self._batches.make(steps)

    def later(self, steps: Steps[object]) -> None:
        """Make a single step whose decision nobody waits for."""
        if self._batches is None:
            self.run(steps)
        else:
            self._batches.ask_later(next(steps))

    def may_enter(self, account: Account, kind: RouteKind | None = None) -> bool:
        """Count one request that was charged ahead; say whether it was. No store is waited for."""
        is_entered = self._leases.enter(account.lease, kind)
        if is_entered and self._batches is not None and account.lease.is_low(kind):
            self._batches.in_background(self._taking_ahead(account, self._route(account, kind), None))
        return is_entered

    def admit(
        self, account: Account, kind: RouteKind | None = None, *, may_wait: bool = True
    ) -> float | Refusal:
        """Count one request; return how long it must wait before it is served, or why it may not be.

        For whom it admits, `leave` is to be called. Who waits has its place already, in every process.
        """
        if self._leases.enter(account.lease, kind):
            return 0.0
        return self.run(self.admitting(account, kind, may_wait=may_wait))

    def admitting(
        self, account: Account, kind: RouteKind | None = None, *, may_wait: bool = True
    ) -> Steps[float | Refusal]:
        """Count one request, also as one of a kind of costly route: all in one step, or nothing."""
        if account.treatment == "denied":
            return DENIED
        route = self._route(account, kind)
        lease = account.lease
        has_seat = account.seat is not None and self._leases.sit_again(lease)
        ask, now = ask_of(account, route, may_wait=may_wait, has_seat=has_seat), self._clock()
        granted, balances = yield ask.draws
        if not granted:
            if has_seat:
                self._leases.rise(lease, lease.seats)
            return (yield from self._refusing(account, ask, balances, now))
        if account.seat is not None and not has_seat:
            self._leases.sit(lease)
        if not (wait_s := ask.wait_s(balances, now)):
            yield from self._taking_ahead(account, route, balances)
        return wait_s

    def admitting_cheap(self, account: Account) -> Steps[float | Refusal]:
        """Count one request that may be served while bytes have run out, and that takes no seat."""
        if account.treatment == "denied":
            return DENIED
        now = self._clock()
        ask = Ask(account.cheap_lines, account.cheap)
        granted, balances = yield ask.draws
        if not granted and ask.short(balances) == (self._book.rate_for_all,):
            ask = Ask(account.last_lines, account.last)
            granted, balances = yield ask.draws
        if not granted:
            return (yield from self._refusing(account, ask, balances, now))
        return Ask(ask.lines[:-1], ask.draws[:-1]).wait_s(balances[:-1], now)

    def counting(self, account: Account) -> Steps[bool]:
        """Count a request of our own people, which is answered in any case; say whether it was counted."""
        granted, _ = yield account.cheap
        return granted

    def leave(self, account: Account) -> None:
        """Note the end of a request that was admitted."""
        if account.seat is not None:
            spare = self._leases.rise(account.lease, account.seats_kept)
            if spare:
                self.later(giving_back(account.seat, spare))

    def admit_route(self, account: Account, kind: RouteKind) -> float | Refusal:
        """Count a request as one of a kind that was not known when it was admitted."""
        return 0.0 if self.is_leased(account, kind) else self.run(self.admitting_route(account, kind))

    def admitting_route(self, account: Account, kind: RouteKind) -> Steps[float | Refusal]:
        """Count a request as one of a kind; return its wait, or the refusal."""
        route, now = self._route(account, kind), self._clock()
        if route is None:
            return 0.0
        granted, [balance] = yield (route.queued,)
        if not granted:
            return Refusal((route.line,), seconds_to(route.line.bucket, balance, 1, now), is_shared=False)
        requests = room(route.ahead, balance, 0)
        if route.ahead and requests and (yield [route.ahead._replace(amount=requests)])[0]:
            self._leases.add(account.lease, 0, 0, kind, requests)
        return seconds_to(route.line.bucket, balance, 0, now)

    def is_leased(self, account: Account, kind: RouteKind) -> bool:
        """Count one request to a costly route if it was charged ahead; say whether."""
        return self._leases.spend_route(account.lease, kind)

    def refusing_route(self, account: Account, kind: RouteKind) -> Steps[Refusal]:
        """Return the refusal of a request to a costly route, as of now."""
        line, now = self._book.route(account.client, kind).line, self._clock()
        _, [balance] = yield Look((line.bucket,))
        return Refusal((line,), seconds_to(line.bucket, balance, 1, now), is_shared=False)

    def withdrawing(self, account: Account, *kinds: RouteKind | None) -> Steps[None]:
        """Give back places of a client that left before its turn; None is that of all requests."""
        lines = [self._book.route(account.client, kind).line if kind else account.lines[0] for kind in kinds]
        yield [Draw(line.bucket, -1, -math.inf) for line in lines if line.unit == "requests"]

    def spend_ahead(self, account: Account, size: int) -> bool:
        """Spend bytes that were charged ahead, if there are so many. No store is asked."""
        if is_spent := self._leases.spend(account.lease, size):
            self._note(size)
        return is_spent

    def spend(self, account: Account, size: int) -> bool:
        """Charge bytes about to be sent, if all balances cover them."""
        return self.spend_ahead(account, size) or self.run(self.spending(account, size))

    def spending(self, account: Account, size: int) -> Steps[bool]:
        """Charge bytes about to be sent, if all balances cover them; far from limits with more ahead."""
        room_bytes = BYTES - account.lease.bytes if account.ahead and size <= BYTES else 0
        is_spent = False
        if room_bytes:
            ahead = [draw_bytes_ahead(line.bucket, size + room_bytes) for line in account.paying]
            is_spent, _ = yield ahead
            if is_spent:
                self._leases.add(account.lease, 0, room_bytes)
        if not is_spent:
            is_spent, _ = yield [Draw(line.bucket, size, size) for line in account.paying]
        if is_spent:
            self._note(size)
        return is_spent

    def owe(self, account: Account, size: int) -> Debt:
        """Charge bytes whatever the balances."""
        return self.run(self.owing(account, size))

    def owing(self, account: Account, size: int) -> Steps[Debt]:
        """Charge bytes whatever the balances; return when they may be sent.

        A negative size gives back what was not sent after all.
        """
        self._note(size)
        now = self._clock()
        _, balances = yield [Draw(line.bucket, size, -math.inf) for line in account.paying]
        return debt_of(account.paying, balances, size, now)

    def through(self, account: Account, upstream: str) -> Account:
        """Return an account whose bytes an upstream's bucket pays for too; to be charged and not admitted."""
        return self._book.through(account, upstream)

    def drawing_upstream(self, name: str, *, requests: int = 0, size: int = 0) -> Steps[float | Refusal]:
        """Count requests to an archive behind the proxy and bytes from it; return the wait, or the refusal.

        Bytes that are here already are a debt, which the next request waits for.
        """
        lines = self._book.upstream(name)
        return draw_upstream(lines, requests, size, self.policy.hold.longest_s, self._clock())

    def telling(self, account: Account) -> Steps[list[Standing]]:
        """Return how the caller's own buckets stand; nobody else's, and none that it shares."""
        routes = [self._book.route(account.client, kind).line for kind in ROUTE_KINDS]
        own = [line for line in account.lines if not line.is_shared and line.name != "subnet-bytes"]
        lines = [*own, *routes] if account.treatment == "limited" else []
        now = self._clock()
        _, balances = yield Look([line.bucket for line in lines])
        return [standing_of(line, balance, now) for line, balance in zip(lines, balances, strict=True)]

    def telling_shared(self) -> Steps[float]:
        """Return the bytes that all clients have left, for the operator's metrics."""
        _, [balance] = yield Look([self._book.rate_for_all.bucket])
        return balance

    def month(self) -> Month | None:
        """Return what has been sent this month; None where nobody keeps count."""
        return None if self._ledger is None else self._ledger.month()

    def close(self) -> None:
        """Let go of the store."""
        if self._batches is not None:
            self._batches.close()
        self._store.close()
        if self._ledger is not None:
            self._ledger.close()

    def _route(self, account: Account, kind: RouteKind | None) -> Route | None:
        is_limited = kind is not None and account.treatment == "limited"
        return self._book.route(account.client, kind) if kind and is_limited else None

    def _taking_ahead(
        self, account: Account, route: Route | None, balances: Sequence[float] | None
    ) -> Steps[None]:
        lease, ahead = account.lease, ahead_of(account, route, balances)
        if lease.is_filling or ahead is None:
            return
        lease.is_filling = True
        try:
            if (yield ahead.draws)[0]:
                self._leases.add(lease, ahead.requests, ahead.size, route and route.kind, ahead.of_route)
        finally:
            lease.is_filling = False

    def _refusing(self, account: Account, ask: Ask, held: Sequence[float], now: float) -> Steps[Refusal]:
        """Charge the bytes of the refusal first, so that its Retry-After is still true after it was sent."""
        short = ask.short(held)
        after, delay_s = dict(zip(ask.lines, held, strict=True)), 0.0
        if not Refusal(short, 0.0, is_shared=False).is_for_seats:
            self._note(REFUSAL_BYTES)
            _, held_after = yield [Draw(line.bucket, REFUSAL_BYTES, -math.inf) for line in account.paying]
            after |= dict(zip(account.paying, held_after, strict=True))
            shared = self._book.rate_for_all
            if shared in after:
                delay_s = seconds_to(shared.bucket, after[shared], -self._book.reserve_bytes, now)
        wait_s = max(seconds_to(line.bucket, after[line], 1, now) for line in ask.lines)
        own = tuple(line for line in short if not line.is_shared)
        return Refusal(own or short, wait_s, is_shared=not own, delay_s=delay_s)
