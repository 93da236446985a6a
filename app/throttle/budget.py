"""The budget: what a client may have now, through whichever door.

Ordinary blocking calls of a few microseconds; nothing here waits: callers are told how long they must.
Where the store is another server a call may take 50 ms, and a door with an event loop makes it `apart`.
"""

import asyncio
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from app.throttle.accounts import Account, Book, Line
from app.throttle.bucket import Draw, seconds_to
from app.throttle.calendar import periods_at
from app.throttle.clients import Client
from app.throttle.leases import BYTES, REQUESTS, Leases, draw_bytes_ahead
from app.throttle.ledger import Ledger, Month
from app.throttle.policy import ROUTE_KINDS, Policy, RouteKind
from app.throttle.stores import BucketStore
from app.throttle.verdicts import DENIED, Debt, Refusal, Standing, standing_of

REFUSAL_BYTES = 1024  # a refusal is sent too, and somebody pays for it
FLOOR_BYTES_PER_S = 64 * 1024.0  # of an answer that has begun when a quota ends
THREADS = 8  # that wait for a store elsewhere

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
        self._threads = ThreadPoolExecutor(THREADS, "budget") if store.is_remote else None
        self._renewing = threading.Lock()
        self.renew(policy)

    @property
    def policy(self) -> Policy:
        """The rates in force."""
        return self._book.policy

    @property
    def is_remote(self) -> bool:
        """Whether a call may take longer than an event loop can spare."""
        return self._threads is not None

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

    async def apart(self, call: Callable[[], T]) -> T:
        """Make a call off the event loop, where the store is elsewhere."""
        if self._threads is None:
            return call()
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def later(self, call: Callable[[], object]) -> None:
        """Make a call whose result nobody waits for."""
        if self._threads is None:
            call()
        else:
            self._threads.submit(call)

    def admit(self, account: Account, *, may_wait: bool = True, cheap: bool = False) -> float | Refusal:
        """Count one request; return how long it must wait before it is served, or why it may not be.

        A `cheap` one may be served while the byte buckets are empty, and takes no seat; for any other that
        is admitted `leave` is to be called. Who waits has its place already, whichever process it is in.
        """
        if not cheap and self._leases.enter(account.lease):
            return 0.0
        if account.treatment == "denied":
            return DENIED
        draws = account.cheap if cheap else account.queued if may_wait else account.at_once
        lines = account.cheap_lines if cheap else account.lines
        has_seat = account.seat is not None and not cheap and self._leases.sit_again(account.lease)
        if has_seat:
            draws = (draws[0], Draw(draws[1].bucket, 0, -math.inf), *draws[2:])
        now = self._clock()
        granted, balances = self._store.take(draws, now)
        if not granted:
            if has_seat:
                self._leases.rise(account.lease, account.lease.seats)
            return self._refuse(account, lines, draws, balances, now)
        if cheap:
            return self._wait(lines[:-1], balances, now)
        if account.seat is not None and not has_seat:
            self._leases.sit(account.lease)
        wait_s = self._wait(account.lines, balances, now)
        if not wait_s:
            self._take_ahead(account, balances)
        return wait_s

    def may_enter(self, account: Account) -> bool:
        """Count one request that was charged ahead; say whether it was. No store is asked."""
        return self._leases.enter(account.lease)

    def leave(self, account: Account) -> None:
        """Note the end of a request that was admitted."""
        if account.seat is not None:
            spare = self._leases.rise(account.lease, account.seats_kept)
            if spare:
                back = (Draw(account.seat.bucket, -spare, -math.inf),)
                self.later(lambda: self._store.take(back, self._clock()))

    def admit_route(self, account: Account, kind: RouteKind) -> float | Refusal:
        """Count one request to a costly route; return its wait, or the refusal."""
        if account.treatment != "limited" or self.is_leased(account, kind):
            return 0.0
        route, now = self._book.route(account.client, kind), self._clock()
        granted, balances = self._store.take(route.one, now)
        if not granted:
            return self.route_refusal(account, kind)
        if route.ahead and balances[0] >= route.ahead[0].least and self._store.take(route.ahead, now)[0]:
            self._leases.add_route(account.lease, kind, int(route.ahead[0].amount))
        return seconds_to(route.line.bucket, balances[0], 0, now)

    def is_leased(self, account: Account, kind: RouteKind) -> bool:
        """Count one request to a costly route if it was charged ahead; say whether."""
        return self._leases.spend_route(account.lease, kind)

    def route_refusal(self, account: Account, kind: RouteKind) -> Refusal:
        """Return the refusal of a request to a costly route, as of now."""
        line, now = self._book.route(account.client, kind).line, self._clock()
        [balance] = self._store.peek((line.bucket,), now)
        return Refusal((line,), seconds_to(line.bucket, balance, 1, now), is_shared=False)

    def withdraw(self, account: Account, kind: RouteKind | None = None) -> None:
        """Give back the place in a queue of a client that left before its turn."""
        line = self._book.route(account.client, kind).line if kind else account.lines[0]
        if line.unit == "requests":
            self._store.take((Draw(line.bucket, -1, -math.inf),), self._clock())

    def spend_ahead(self, account: Account, size: int) -> bool:
        """Spend bytes that were charged ahead, if there are so many. No store is asked."""
        if is_spent := self._leases.spend(account.lease, size):
            self._note(size)
        return is_spent

    def spend(self, account: Account, size: int) -> bool:
        """Charge bytes about to be sent, if all balances cover them; far from limits with more ahead."""
        if self.spend_ahead(account, size):
            return True
        room = BYTES - account.lease.bytes if account.ahead and size <= BYTES else 0
        ahead = [draw_bytes_ahead(line.bucket, size + room) for line in account.paying] if room else []
        if is_spent := bool(ahead) and self._store.take(ahead, self._clock())[0]:
            self._leases.add(account.lease, 0, room)
        else:
            draws = [Draw(line.bucket, size, size) for line in account.paying]
            is_spent = self._store.take(draws, self._clock())[0]
        if is_spent:
            self._note(size)
        return is_spent

    def owe(self, account: Account, size: int) -> Debt:
        """Charge bytes whatever the balances; return when they may be sent.

        A negative size gives back what was not sent after all.
        """
        self._note(size)
        now = self._clock()
        draws = [Draw(line.bucket, size, -math.inf) for line in account.paying]
        _, balances = self._store.take(draws, now)
        wait_s = floor_s = 0.0
        for line, balance in zip(account.paying, balances, strict=True):
            if balance >= 0:
                continue
            if line.bucket.until:  # nobody waits for tomorrow with half an answer
                floor_s = max(floor_s, size / FLOOR_BYTES_PER_S)
            else:
                line_wait_s = seconds_to(line.bucket, balance, 0, now)
                wait_s = max(wait_s, line_wait_s)
                if line.is_shared:
                    floor_s = max(floor_s, line_wait_s)
        return Debt(max(wait_s, floor_s), floor_s)

    def through(self, account: Account, upstream: str) -> Account:
        """Return an account whose bytes an upstream's bucket pays for too; to be charged and not admitted."""
        return self._book.through(account, upstream)

    def draw_upstream(self, name: str, *, requests: int = 0, size: int = 0) -> float | Refusal:
        """Count requests to an archive behind the proxy and bytes from it; return the wait, or the refusal.

        Bytes that are here already are a debt, which the next request waits for.
        """
        lines, now = self._book.upstream(name), self._clock()
        longest_s = self.policy.hold.longest_s
        leasts = [requests - longest_s * line.bucket.per_second if requests else -math.inf for line in lines]
        draws = list(map(Draw, (line.bucket for line in lines), (requests, size), leasts))
        granted, balances = self._store.take(draws, now)
        waits = [seconds_to(line.bucket, held, 0, now) for line, held in zip(lines, balances, strict=True)]
        if granted:
            return max(waits)
        short = [n for n, (held, least) in enumerate(zip(balances, leasts, strict=True)) if held < least]
        return Refusal(tuple(lines[n] for n in short), max(waits) + 1, is_shared=True)

    def standing(self, account: Account) -> list[Standing]:
        """Return how the caller's own buckets stand; nobody else's, and none that it shares."""
        routes = [self._book.route(account.client, kind).line for kind in ROUTE_KINDS]
        own = [line for line in account.lines if not line.is_shared and line.name != "subnet-bytes"]
        lines = [*own, *routes] if account.treatment == "limited" else []
        now = self._clock()
        balances = self._store.peek([line.bucket for line in lines], now)
        return [standing_of(line, balance, now) for line, balance in zip(lines, balances, strict=True)]

    def shared_balance(self) -> float:
        """Return the bytes that all clients have left, for the operator's metrics; negative in debt."""
        return self._store.peek([self._book.rate_for_all.bucket], self._clock())[0]

    def month(self) -> Month | None:
        """Return what has been sent this month; None where nobody keeps count."""
        return None if self._ledger is None else self._ledger.month()

    def close(self) -> None:
        """Let go of the store."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
        self._store.close()
        if self._ledger is not None:
            self._ledger.close()

    def _take_ahead(self, account: Account, balances: Sequence[float]) -> None:
        """Take ahead for the next requests of a client that is far from every limit."""
        lease, ahead = account.lease, account.ahead
        is_far = ahead and balances[0] >= ahead.least
        requests = min(int(ahead.amount), REQUESTS - lease.requests) if ahead and is_far else 0
        size = max(0, BYTES - lease.bytes)
        if not requests and size < BYTES // 2:
            return
        draws = [draw_bytes_ahead(line.bucket, size) for line in account.paying]
        held = balances[len(balances) - len(draws) :]
        if any(balance < draw.least for balance, draw in zip(held, draws, strict=True)):
            return
        if ahead and requests:
            draws.append(ahead._replace(amount=requests))
        if self._store.take(draws, self._clock())[0]:
            self._leases.add(lease, requests, size)

    def _wait(self, lines: Sequence[Line], balances: Sequence[float], now: float) -> float:
        """Return when an admitted request is served: without debt of requests, a byte in every bucket."""
        wait_s = 0.0
        for line, balance in zip(lines, balances, strict=False):
            wanted = 1 if line.unit == "content-bytes" else 0
            if balance < wanted:
                wait_s = max(wait_s, seconds_to(line.bucket, balance, wanted, now))
        return wait_s

    def _refuse(
        self,
        account: Account,
        lines: Sequence[Line],
        draws: Sequence[Draw],
        held: Sequence[float],
        now: float,
    ) -> Refusal:
        """Charge the bytes of the refusal first, so that its Retry-After is still true after it was sent."""
        short = tuple(
            line for line, draw, balance in zip(lines, draws, held, strict=True) if balance < draw.least
        )
        after, delay_s = dict(zip(lines, held, strict=True)), 0.0
        if not Refusal(short, 0.0, is_shared=False).is_for_seats:
            self._note(REFUSAL_BYTES)
            charged = [Draw(line.bucket, REFUSAL_BYTES, -math.inf) for line in account.paying]
            _, held_after = self._store.take(charged, now)
            after |= dict(zip(account.paying, held_after, strict=True))
            shared = self._book.rate_for_all
            if shared in after:
                delay_s = seconds_to(shared.bucket, after[shared], -self._book.reserve_bytes, now)
        wait_s = max(seconds_to(line.bucket, after[line], 1, now) for line in lines)
        own = tuple(line for line in short if not line.is_shared)
        return Refusal(own or short, wait_s, is_shared=not own, delay_s=delay_s)
