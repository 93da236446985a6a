"""The budget: what a client may have now, through whichever door.

Ordinary blocking calls of a few microseconds; nothing here waits: callers are told how long they must.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

from app.errors import SettingsError
from app.settings import Settings
from app.throttle.bucket import Bucket, Draw, seconds_until, whole_seconds
from app.throttle.clients import Client
from app.throttle.leases import BYTES, Lease, Leases, draw_ahead, draw_bytes_ahead
from app.throttle.mmap_store import MmapStore
from app.throttle.policy import ROUTE_KINDS, Allowance, Policy, RouteKind, load_policy
from app.throttle.stores import BucketStore, MemoryStore

REMEMBERED_ACCOUNTS = 8192
REFUSAL_BYTES = 1024  # a refusal is sent too, and somebody pays for it
SHARED_NAME = "global-bytes"
Unit = Literal["requests", "content-bytes"]


class Line(NamedTuple):
    """One bucket of an account, with what a caller may be told of it."""

    name: str
    unit: Unit
    bucket: Bucket


class Account(NamedTuple):
    """The buckets of one client and the shared one; made once, kept ready for use."""

    client: Client
    requests: Line
    content: Line
    shared: Line
    queued: tuple[Draw, ...]  # admission that may wait
    at_once: tuple[Draw, ...]  # admission that may not
    ahead: tuple[Draw, ...]  # admission of many; empty where the client never has plenty
    lease: Lease


class Route(NamedTuple):
    """The bucket of one client and a kind of costly route."""

    line: Line
    one: tuple[Draw, ...]
    ahead: tuple[Draw, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Which buckets were short, and after how long they will not be."""

    short: tuple[Line, ...]
    wait_s: float
    is_shared: bool  # the client is within its own limits

    @property
    def retry_after_s(self) -> int:
        """Whole seconds after which the same request passes, if nobody else asks meanwhile."""
        return whole_seconds(self.wait_s)


@dataclass(frozen=True, slots=True)
class Standing:
    """How one of the caller's own buckets stands."""

    policy: str
    unit: Unit
    per_second: float
    capacity: int
    remaining: int  # 0 while in debt
    seconds_to_full: int


class Budget:
    """Every byte and request out, checked and charged in one atomic step each."""

    def __init__(
        self, policy: Policy, store: BucketStore, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.policy = policy
        self._store, self._clock = store, clock
        self._leases = Leases()
        self._shared = self._line(SHARED_NAME, "content-bytes", "", policy.shared.bytes, 1.0, pinned=True)
        self.account: Callable[[Client], Account] = lru_cache(REMEMBERED_ACCOUNTS)(self._open_account)
        self._route: Callable[[Client, RouteKind], Route] = lru_cache(REMEMBERED_ACCOUNTS)(self._open_route)

    def admit(self, account: Account, *, may_wait: bool = True, cheap: bool = False) -> float | Refusal:
        """Count one request; return how long it must wait before it is served, or why it may not be.

        A `cheap` one may be served while the byte buckets are empty. Waiting is by turn: each request that
        waits has its place already, whichever process it is in.
        """
        if not cheap and self._leases.spend(account.lease, 1, 0):
            return 0.0
        draws = account.queued if may_wait else account.at_once
        if cheap:
            draws = draws[:1]
        granted, balances = self._store.take(draws, self._clock())
        if not granted:
            return self._refuse(account, draws, balances)
        after = balances[0]
        if after >= 0 and (cheap or balances[1] >= 1):
            if not cheap:
                self._take_lease(account, balances)
            return 0.0
        wait_s = seconds_until(after, 0, account.requests.bucket.per_second)
        if not cheap:
            wait_s = max(wait_s, seconds_until(balances[1], 1, account.content.bucket.per_second))
        return wait_s

    def admit_route(self, account: Account, kind: RouteKind) -> float | Refusal:
        """Count one request to a costly route; return its wait, or the refusal."""
        if self.is_leased(account, kind):
            return 0.0
        route = self._route(account.client, kind)
        granted, balances = self._store.take(route.one, self._clock())
        if not granted:
            return self.route_refusal(account, kind)
        if self._takes(route.ahead, balances):
            self._leases.add_route(account.lease, kind, int(route.ahead[0].amount))
        return seconds_until(balances[0], 0, route.line.bucket.per_second)

    def is_leased(self, account: Account, kind: RouteKind) -> bool:
        """Count one request to a costly route if it was charged ahead; say whether."""
        return self._leases.spend_route(account.lease, kind)

    def route_refusal(self, account: Account, kind: RouteKind) -> Refusal:
        """Return the refusal of a request to a costly route, as of now."""
        line = self._route(account.client, kind).line
        [balance] = self._store.peek((line.bucket,), self._clock())
        return Refusal((line,), seconds_until(balance, 1, line.bucket.per_second), is_shared=False)

    def withdraw(self, account: Account, kind: RouteKind | None = None) -> None:
        """Give back the place in a queue of a client that left before its turn."""
        line = self._route(account.client, kind).line if kind else account.requests
        self._take(Draw(line.bucket, -1, -math.inf))

    def spend(self, account: Account, size: int) -> bool:
        """Charge bytes about to be sent, if both balances cover them all."""
        if self._leases.spend(account.lease, 0, size):
            return True
        draws = (Draw(account.content.bucket, size, size), Draw(account.shared.bucket, size, size))
        return self._store.take(draws, self._clock())[0]

    def owe(self, account: Account, size: int) -> float:
        """Charge bytes whatever the balances; return after how many seconds they may be sent.

        A negative size gives back what was not sent after all.
        """
        content, shared = account.content.bucket, account.shared.bucket
        balances = self._take(Draw(content, size, -math.inf), Draw(shared, size, -math.inf))
        return max(
            seconds_until(balances[0], 0, content.per_second),
            seconds_until(balances[1], 0, shared.per_second),
        )

    def standing(self, account: Account) -> list[Standing]:
        """Return how the caller's own buckets stand; nobody else's, and not the shared one."""
        routes = [self._route(account.client, kind).line for kind in ROUTE_KINDS]
        lines = [account.requests, account.content, *routes]
        balances = self._store.peek([line.bucket for line in lines], self._clock())
        return [_standing(line, balance) for line, balance in zip(lines, balances, strict=True)]

    def shared_balance(self) -> float:
        """Return the bytes that all clients have left, for the operator's metrics; negative in debt."""
        return self._store.peek([self._shared.bucket], self._clock())[0]

    def close(self) -> None:
        """Let go of the store."""
        self._store.close()

    def _take_lease(self, account: Account, balances: Sequence[float]) -> None:
        """Take ahead for the next requests of a client that is far from every limit."""
        if self._takes(account.ahead, balances):
            self._leases.add(account.lease, int(account.ahead[0].amount), BYTES)

    def _takes(self, ahead: Sequence[Draw], balances: Sequence[float]) -> bool:
        if not ahead or any(held < draw.least for held, draw in zip(balances, ahead, strict=True)):
            return False
        return self._store.take(ahead, self._clock())[0]

    def _take(self, *draws: Draw) -> list[float]:
        return self._store.take(draws, self._clock())[1]

    def _refuse(self, account: Account, draws: Sequence[Draw], balances: Sequence[float]) -> Refusal:
        """Charge the bytes of the refusal first, so that its Retry-After is still true after it was sent."""
        lines = (account.requests, account.content, account.shared)
        short = tuple(
            line for line, draw, balance in zip(lines, draws, balances, strict=False) if balance < draw.least
        )
        after = [
            balances[0],
            *self._take(*(Draw(line.bucket, REFUSAL_BYTES, -math.inf) for line in lines[1:])),
        ]
        wait_s = max(
            seconds_until(balance, 1, line.bucket.per_second)
            for line, balance in zip(lines[: len(draws)], after, strict=False)
        )
        own = tuple(line for line in short if line is not account.shared)
        return Refusal(own or short, wait_s, is_shared=not own)

    def _open_account(self, client: Client) -> Account:
        allowed, factor = self.policy.client, self._factor(client)
        requests = self._line("client-requests", "requests", client.key, allowed.requests, factor)
        content = self._line("client-bytes", "content-bytes", client.key, allowed.bytes, factor)

        def admission(longest_s: float) -> tuple[Draw, ...]:
            # A place in the queue is a debt; the longest wait bounds it.
            return (
                Draw(requests.bucket, 1, 1 - longest_s * requests.bucket.per_second),
                Draw(content.bucket, 0, 1 - longest_s * content.bucket.per_second),
                Draw(self._shared.bucket, 0, 1),
            )

        first = draw_ahead(requests.bucket)
        rest = (draw_bytes_ahead(content.bucket), draw_bytes_ahead(self._shared.bucket))
        return Account(
            client,
            requests,
            content,
            self._shared,
            queued=admission(self.policy.hold.longest_s),
            at_once=admission(0),
            ahead=(first, *rest) if first else (),
            lease=Lease(),
        )

    def _open_route(self, client: Client, kind: RouteKind) -> Route:
        name, allowance = f"{kind}-requests", self.policy.route(kind)
        line = self._line(name, "requests", client.key, allowance, self._factor(client))
        # A place in the queue is a debt; the longest wait bounds it.
        least = 1 - line.bucket.per_second * self.policy.hold.longest_s
        ahead = draw_ahead(line.bucket)
        return Route(line, (Draw(line.bucket, 1, least),), (ahead,) if ahead else ())

    def _factor(self, client: Client) -> float:
        return self.policy.token.factor if client.has_token else 1.0

    def _line(
        self, name: str, unit: Unit, owner: str, allowance: Allowance, factor: float, *, pinned: bool = False
    ) -> Line:
        key = self._store.key(f"{name} {owner}")
        return Line(name, unit, Bucket(key, allowance.per_second * factor, allowance.burst * factor, pinned))


def _standing(line: Line, balance: float) -> Standing:
    bucket = line.bucket
    return Standing(
        policy=line.name,
        unit=line.unit,
        per_second=bucket.per_second,
        capacity=int(bucket.burst),
        remaining=max(0, int(balance)),
        seconds_to_full=math.ceil(seconds_until(balance, bucket.burst, bucket.per_second)),
    )


def open_store(url: str) -> BucketStore:
    """Open `memory:` (one process) or `mmap:PATH` (all processes of this host).

    Raises SettingsError.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "memory" and not rest.strip("/"):
        return MemoryStore()
    if scheme == "mmap" and rest:
        return MmapStore(Path(rest))
    raise SettingsError(f"DERMZOO_THROTTLE_URL is {url!r}; it must be 'memory:' or 'mmap:PATH'")


def open_budget(settings: Settings) -> Budget:
    """Open the budget that the settings name.

    Raises SettingsError.
    """
    is_chosen = settings.throttle_file != type(settings).model_fields["throttle_file"].default
    if is_chosen and not settings.throttle_file.exists():
        raise SettingsError(f"DERMZOO_THROTTLE_FILE is {settings.throttle_file}, which does not exist")
    processes = settings.workers + (settings.dimse_processes if settings.dimse else 0)
    return Budget(load_policy(settings.throttle_file, processes), open_store(settings.budget_url))
