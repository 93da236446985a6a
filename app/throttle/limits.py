"""The limits of costly routes: slowapi's decorator on our own token bucket, shared by all processes.

Of slowapi only `shared_limit` and its exception are used. Its middlewares pass over included routers and
break streams. Its other traps are kept shut here: `shared_limit` with an explicit scope, so that not
every UID has a bucket of its own; a key that is never empty, for which it would skip the limit; a store
that never blocks; a name of its own for each endpoint, for it adds up the limits of endpoints that share
one; and a switch in the environment (RATELIMIT_ENABLED) that would turn it off.
"""

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Literal, cast

from limits import RateLimitItem
from limits.storage import Storage
from limits.strategies import STRATEGIES, RateLimiter
from limits.util import WindowStats
from slowapi import Limiter
from slowapi.errors import RateLimitExceeded
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from app.errors import SettingsError
from app.throttle.accounts import Account
from app.throttle.budget import Budget
from app.throttle.clients import Client, Clients
from app.throttle.exchange import ClientGone, Exchange, Sleep
from app.throttle.middleware import RECORD
from app.throttle.policy import RouteKind
from app.throttle.refusals import Refuse, refuse
from app.throttle.routes import KindsByPath, placed_routes, unlimited_routes
from app.throttle.verdicts import Refusal

STRATEGY = "token-bucket"
SCHEME = "dermzoo"

Endpoint = Callable[..., Awaitable[Any]]
# From our question to slowapi's check, and on to the endpoint that it guards: at once, in the same task.
_admission: ContextVar[float | Refusal | None] = ContextVar("admission", default=None)
_wait_s: ContextVar[float] = ContextVar("wait_s", default=0.0)


class RouteRefused(Exception):
    """The caller's limit on a kind of route is spent; RouteLimits.exceeded_response answers it."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(", ".join(line.name for line in refusal.short))
        self.refusal = refusal


class BudgetStorage(Storage):
    """What slowapi takes for a storage: the way to our budget."""

    STORAGE_SCHEME = [SCHEME]  # noqa: RUF012 - the library's own declaration
    base_exceptions = ()

    def __init__(self, uri: str | None = None, *, budget: Budget) -> None:
        super().__init__(uri)
        self.budget = budget

    def check(self) -> bool:
        """Say that the store is well: it lives in memory."""
        return True

    def _counter(self, *_: object, **__: object) -> int:
        raise NotImplementedError("there are no counters here, only token buckets")

    incr = get = get_expiry = reset = clear = _counter  # type: ignore[assignment]


class TokenBucketStrategy(RateLimiter):
    """`limits` has windows only; this is a token bucket, with rates from the policy and a queue."""

    def hit(self, item: RateLimitItem, *identifiers: str, cost: int = 1) -> bool:
        """Say what the budget has answered already; the endpoint finds its wait in _wait_s."""
        del item, cost
        admission = _admission.get()
        _admission.set(None)
        if admission is None:
            admission = self._budget.admit_route(*self._of(*identifiers))
        if isinstance(admission, Refusal):
            return False
        if admission:
            _wait_s.set(admission)
        return True

    def test(self, item: RateLimitItem, *identifiers: str, cost: int = 1) -> bool:
        """Say whether a request would be served at once."""
        del item, cost
        return not self._refusal(*identifiers).wait_s

    def get_window_stats(self, item: RateLimitItem, *identifiers: str) -> WindowStats:
        """Return when a request passes again, and what is left at least; slowapi's headers, off here, ask."""
        del item
        wait_s = self._refusal(*identifiers).wait_s
        return WindowStats(wait_s, 0 if wait_s else 1)

    @property
    def _budget(self) -> Budget:
        return cast("BudgetStorage", self.storage).budget

    def _refusal(self, *identifiers: str) -> Refusal:
        return self._budget.run(self._budget.refusing_route(*self._of(*identifiers)))

    def _of(self, key: str, kind: str) -> tuple[Account, RouteKind]:
        return self._budget.account(Client(key, key.startswith("token:"))), cast("RouteKind", kind)


class RouteLimits:
    """Gives every endpoint its limit, and knows which ones have one."""

    def __init__(
        self,
        budget: Budget | None,
        clients: Clients,
        *,
        sleep: Sleep = asyncio.sleep,
        refuse: Refuse = refuse,
    ) -> None:
        """`budget` None keeps the books without limiting: for a server that runs with the throttle off."""
        self._budget, self._clients, self._sleep, self._answer = budget, clients, sleep, refuse
        self._limited: dict[tuple[object, str], Endpoint] = {}
        self._known: dict[object, str] = {}
        self._kinds = KindsByPath((), {})
        self._limiter = None if budget is None else _slowapi(budget, self._key())

    def limited(self, endpoint: Endpoint, kind: RouteKind | Literal["cheap"]) -> Endpoint:
        """Return the endpoint with its limit; `cheap` ones have only that of all requests (the middleware's).

        The same endpoint twice is the same wrapped one, so a router mounted twice counts once per request.
        """
        made = self._limited.get((endpoint, kind))
        if made is None:
            if self._known.get(endpoint, kind) != kind:
                raise SettingsError(f"{endpoint!r} is limited as {self._known[endpoint]!r} already")
            made = endpoint
            if self._budget is not None and kind != "cheap":
                # slowapi costs more than a whole search does, so searches ask the budget themselves.
                made = self._ask(endpoint, kind) if kind == "search" else self._wrap(endpoint, kind)
            self._limited[endpoint, kind] = self._limited[made, kind] = made
            self._known[endpoint] = self._known[made] = kind
        return made

    async def exceeded_response(self, request: Request, error: Exception) -> Response:
        """Answer a spent limit with the same 429 as the middleware; to be registered as the handler."""
        if isinstance(error, RouteRefused):
            return self._refused(request, error.refusal)
        if self._budget is None or not isinstance(error, RateLimitExceeded):
            raise error
        assert error.limit is not None
        kind = cast("RouteKind", error.limit.scope)
        steps = self._budget.refusing_route(self._account(request), kind)
        return self._refused(request, await self._budget.soon(steps))

    def _refused(self, request: Request, refusal: Refusal) -> Response:
        record = request.scope.get(RECORD)
        if isinstance(record, Exchange):
            record.refused = refusal
        assert self._budget is not None
        text = self._budget.policy.refusal
        status, headers, body = self._answer(refusal, self._identify(request), request.headers.raw, text)
        response = Response(body, status)
        response.raw_headers = headers
        return response

    def check_routes(self, app: Starlette) -> None:
        """Raise SettingsError naming every route of the app, mounted ones too, that has no limit.

        From then on `kind_of` knows the costly ones.
        """
        found = list(unlimited_routes(app, self._known.__contains__))
        if found:
            raise SettingsError(f"routes without a limit: {', '.join(found)}")
        self._kinds = KindsByPath(placed_routes(app), self._known)

    def kind_of(self, method: str, path: str) -> RouteKind | None:
        """Return of which kind of costly route a request is, as far as method and path tell."""
        return self._kinds.of(method, path)

    async def admit(self, request: Request, kind: RouteKind) -> None:
        """Count one request of a kind, and wait for its turn; raises RouteRefused."""
        if self._budget is None:
            return
        admission = await self._verdict(request, kind)
        if isinstance(admission, Refusal):
            raise RouteRefused(admission)
        if admission:
            await self._wait(request, kind, admission)

    async def _verdict(self, request: Request, kind: RouteKind) -> float | Refusal:
        """Return what the admission said; where the kind was not known then, ask in a step of its own."""
        assert self._budget is not None
        record = request.scope.get(RECORD)
        if isinstance(record, Exchange) and record.kind == kind:
            return 0.0
        account = self._account(request)
        if self._budget.is_leased(account, kind):
            return 0.0
        return await self._budget.soon(self._budget.admitting_route(account, kind))

    def _ask(self, endpoint: Endpoint, kind: RouteKind) -> Endpoint:
        @functools.wraps(endpoint)
        async def in_turn(request: Request) -> Any:  # noqa: ANN401 - whatever the endpoint has
            record = request.scope.get(RECORD)
            if not (isinstance(record, Exchange) and record.kind == kind):
                try:
                    await self.admit(request, kind)
                except RouteRefused as error:
                    return self._refused(request, error.refusal)
            return await endpoint(request)

        return in_turn

    def _wrap(self, endpoint: Endpoint, kind: RouteKind) -> Endpoint:
        assert self._limiter is not None

        @functools.wraps(endpoint)
        async def in_turn(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - whatever the endpoint has
            wait_s = _wait_s.get()
            if wait_s:
                _wait_s.set(0.0)
                await self._wait(kwargs["request"] if "request" in kwargs else args[0], kind, wait_s)
            return await endpoint(*args, **kwargs)

        in_turn.__name__ = f"{endpoint.__name__}-{len(self._limited)}"
        limited: Endpoint = self._limiter.shared_limit("1/second", scope=kind)(in_turn)

        @functools.wraps(endpoint)
        async def asked_first(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - whatever the endpoint has
            request = kwargs["request"] if "request" in kwargs else args[0]
            _admission.set(await self._verdict(request, kind))
            return await limited(*args, **kwargs)

        return asked_first

    async def _wait(self, request: Request, kind: RouteKind, wait_s: float) -> None:
        record = request.scope.get(RECORD)
        if not isinstance(record, Exchange):
            await self._sleep(wait_s)
            return
        try:
            await record.wait(wait_s)
        except ClientGone:
            assert self._budget is not None
            self._budget.later(self._budget.withdrawing(record.account, kind))
            raise

    def _key(self) -> Callable[[Request], str]:
        def key(request: Request) -> str:
            return self._identify(request).key

        # slowapi asks for the signature at every request; found here, it costs little.
        key.__signature__ = inspect.signature(key)  # type: ignore[attr-defined]
        return key

    def _account(self, request: Request) -> Account:
        assert self._budget is not None
        return self._budget.account(self._identify(request))

    def _identify(self, request: Request) -> Client:
        record = request.scope.get(RECORD)
        return (
            record.account.client if isinstance(record, Exchange) else self._clients.identify(request.scope)
        )


def _slowapi(budget: Budget, key: Callable[[Request], str]) -> Limiter:
    STRATEGIES[STRATEGY] = TokenBucketStrategy  # type: ignore[assignment]
    limiter = Limiter(
        key_func=key,
        strategy=STRATEGY,
        storage_uri=f"{SCHEME}://",
        storage_options={"budget": budget},  # type: ignore[dict-item]
        key_style="endpoint",
        headers_enabled=False,
    )
    limiter.enabled = True
    return limiter
