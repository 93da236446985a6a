"""The limiter of every HTTP request, whatever its path or method: 404, 405 and OPTIONS too. Plain ASGI.

On entry one atomic step counts the request, also as one of its kind of costly route, and looks at the byte
buckets. A client that is over its own
limit is held until it is its turn, for viewers do not retry, and is refused with 429 only if that would
take too long; when all clients together are, new requests get 503 and started answers go on slowly. Bytes
are charged as they go out (exchange.py). A started body is slowed down, and cut only if all clients together
have used up what there is, and it had its time to end.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager

from app.throttle.accounts import Account
from app.throttle.budget import REFUSAL_BYTES, Budget
from app.throttle.clients import Clients
from app.throttle.exchange import ClientGone, Exchange, Message, Receive, Send, Sleep
from app.throttle.policy import RouteKind
from app.throttle.refusals import Refuse, refuse
from app.throttle.seating import SeatQueues
from app.throttle.verdicts import Refusal

App = Callable[[Message, Receive, Send], Awaitable[None]]

RECORD = "dermzoo.budget"  # where the request's Exchange stands in the scope
ABORT = "dermzoo.abort"  # what ends the connection at once
# Ways to hand a file to the server that would pass us by.
BYPASSES = frozenset({"http.response.pathsend", "http.response.zerocopysend"})


class Throttle:
    """ASGI middleware; `cheap_paths` are answered even when bytes have run out; their requests count.

    `inside_paths` are answered to our own people whatever the balances: who ends a server that does not
    answer in time must not end it for being asked too much.
    """

    def __init__(
        self,
        app: App,
        budget: Budget,
        clients: Clients,
        *,
        cheap_paths: Collection[str] = ("/livez", "/readyz", "/quota"),
        inside_paths: Collection[str] = ("/livez", "/readyz", "/metrics"),
        kind_of: Callable[[str, str], RouteKind | None] = lambda _method, _path: None,
        sleep: Sleep = asyncio.sleep,
        refuse: Refuse = refuse,
    ) -> None:
        """`kind_of` tells from method and path of which kind of costly route a request is."""
        self._app, self._budget, self._clients, self._answer = app, budget, clients, refuse
        self._cheap_paths, self._sleep = frozenset(cheap_paths), sleep
        self._inside_paths, self._kind_of = frozenset(inside_paths), kind_of
        self._held: Counter[str] = Counter()  # requests waiting in this process, by client
        self._seats = SeatQueues(budget.now)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Admit, hold or refuse one request, and charge what it sends."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        account = self._budget.account(self._clients.identify(scope))
        method, path = scope["method"], scope["path"]
        is_inside = path in self._inside_paths and self._is_inside(account)
        is_cheap = is_inside or path in self._cheap_paths
        exchange = Exchange(
            self._budget, account, receive, send, self._sleep, is_cheap=is_cheap, is_head=method == "HEAD"
        )
        exchange.kind = self._kind_of(method, path)
        scope[RECORD] = exchange
        _close_bypasses(scope)
        try:
            if is_inside:
                exchange.is_free = not await self._budget.soon(self._budget.counting(account))
                await self._app(scope, exchange.receive, exchange.send)
            else:
                await self._serve(exchange, scope, send, is_cheap=is_cheap)
        except Exception as error:
            # Whatever the application makes of the exception that told it to stop, nobody is left to hear it.
            if not _comes_from_gone_client(error):
                raise
        finally:
            exchange.finish()

    async def _serve(self, exchange: Exchange, scope: Message, send: Send, *, is_cheap: bool) -> None:
        budget, account, wait_s = self._budget, exchange.account, 0.0
        key = account.client.key
        if is_cheap or self._seats.has(key) or not budget.may_enter(account, exchange.kind):
            admission = await self._admit(exchange, is_cheap=is_cheap)
            if isinstance(admission, Refusal):
                await self._refuse(exchange, admission, scope, send)
                return
            wait_s = admission
        try:
            if wait_s:
                await self._hold(exchange, wait_s)
            await self._app(scope, exchange.receive, exchange.send)
        finally:
            if not is_cheap:
                budget.leave(account)
                self._seats.wake(key)

    def _is_inside(self, account: Account) -> bool:
        return account.treatment == "unlimited" or (
            account.treatment == "limited" and self._clients.is_inside(account.client)
        )

    async def _admit(self, exchange: Exchange, *, is_cheap: bool) -> float | Refusal:
        """Ask the budget, and wait for the end of another request if only that is in the way."""
        budget, account, kind = self._budget, exchange.account, exchange.kind
        if is_cheap:
            return await budget.soon(budget.admitting_cheap(account))
        key, hold = account.client.key, budget.policy.hold
        may_wait = self._held.get(key, 0) < hold.requests_per_client

        async def ask() -> float | Refusal:
            if budget.may_enter(account, kind):
                return 0.0
            return await budget.soon(budget.admitting(account, kind, may_wait=may_wait))

        has_queue = may_wait and self._seats.has(key)
        if not has_queue:
            admission = await ask()
        if has_queue or (may_wait and isinstance(admission, Refusal) and admission.is_for_seats):
            with self._holding(key):
                admission = await self._seats.wait(exchange, ask, hold.longest_s)
        if isinstance(admission, Refusal) and admission.is_for_seats:
            budget.later(budget.owing(account, REFUSAL_BYTES))
        return admission

    async def _hold(self, exchange: Exchange, seconds: float) -> None:
        with self._holding(exchange.account.client.key):
            try:
                await exchange.wait(seconds)
            except ClientGone:
                budget, kinds = self._budget, {None, exchange.kind}
                budget.later(budget.withdrawing(exchange.account, *kinds))
                raise

    @contextmanager
    def _holding(self, key: str) -> Iterator[None]:
        self._held[key] += 1
        try:
            yield
        finally:
            self._held[key] -= 1
            if not self._held[key]:
                del self._held[key]

    async def _refuse(self, exchange: Exchange, refusal: Refusal, scope: Message, send: Send) -> None:
        exchange.refused = refusal
        budget, delay_s = self._budget, refusal.delay_s
        if refusal.is_denied:
            debt = await budget.soon(budget.owing(exchange.account, REFUSAL_BYTES))
            delay_s = debt.wait_s
        if delay_s > budget.policy.hold.longest_s and ABORT in scope:
            budget.later(budget.owing(exchange.account, -REFUSAL_BYTES))
            await _hang_up(exchange, scope)
            return
        if refusal.delay_s:
            try:
                await exchange.wait(refusal.delay_s)
            except ClientGone:
                budget.later(budget.owing(exchange.account, -REFUSAL_BYTES))
                raise
        text = self._budget.policy.refusal
        answer = self._answer(refusal, exchange.account.client, scope["headers"], text)
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": answer.body})


def _close_bypasses(scope: Message) -> None:
    extensions = scope.get("extensions")
    if extensions and not BYPASSES.isdisjoint(extensions):
        scope["extensions"] = {k: v for k, v in extensions.items() if k not in BYPASSES}


async def _hang_up(exchange: Exchange, scope: Message) -> None:
    """End the connection without an answer: it would have to wait for its bytes too long."""
    exchange.is_hung_up = True
    scope[ABORT]()
    while (await exchange.receive())["type"] != "http.disconnect":
        pass


def _comes_from_gone_client(error: BaseException) -> bool:
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, ClientGone):
        seen = seen.__cause__ or seen.__context__
    return seen is not None
