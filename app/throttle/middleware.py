"""The limiter of every HTTP request, whatever its path or method: 404, 405 and OPTIONS too. Plain ASGI.

On entry one atomic step counts the request and looks at the byte buckets. A client that is over its own
limit is held until it is its turn, for viewers do not retry, and is refused with 429 only if that would
take too long; when all clients together are, new requests get 503 and started answers go on slowly. Bytes
are charged as they go out (exchange.py). A started body is slowed down, and cut only if all clients together
have used up what there is, and it had its time to end.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial

from app.throttle.budget import REFUSAL_BYTES, Budget
from app.throttle.clients import Clients
from app.throttle.exchange import ClientGone, Exchange, Message, Receive, Send, Sleep
from app.throttle.refusals import Refuse, refuse
from app.throttle.seating import SeatQueues
from app.throttle.verdicts import Refusal

App = Callable[[Message, Receive, Send], Awaitable[None]]

RECORD = "dermzoo.budget"  # where the request's Exchange stands in the scope
ABORT = "dermzoo.abort"  # what ends the connection at once
# Ways to hand a file to the server that would pass us by.
BYPASSES = frozenset({"http.response.pathsend", "http.response.zerocopysend"})


class Throttle:
    """ASGI middleware; `cheap_paths` are answered even when bytes have run out; their requests count."""

    def __init__(
        self,
        app: App,
        budget: Budget,
        clients: Clients,
        *,
        cheap_paths: Collection[str] = ("/livez", "/readyz", "/quota"),
        sleep: Sleep = asyncio.sleep,
        refuse: Refuse = refuse,
    ) -> None:
        self._app, self._budget, self._clients, self._answer = app, budget, clients, refuse
        self._cheap_paths, self._sleep = frozenset(cheap_paths), sleep
        self._held: Counter[str] = Counter()  # requests waiting in this process, by client
        self._seats = SeatQueues(budget.now)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Admit, hold or refuse one request, and charge what it sends."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        budget = self._budget
        account = budget.account(self._clients.identify(scope))
        is_cheap = scope["path"] in self._cheap_paths
        exchange = Exchange(
            budget,
            account,
            receive,
            send,
            self._sleep,
            is_cheap=is_cheap,
            is_head=scope["method"] == "HEAD",
        )
        scope[RECORD] = exchange
        _close_bypasses(scope)
        is_seated, wait_s = False, 0.0
        try:
            if is_cheap or self._seats.has(account.client.key) or not budget.may_enter(account):
                admission = await self._admit(exchange, is_cheap=is_cheap)
                if isinstance(admission, Refusal):
                    await self._refuse(exchange, admission, scope, send)
                    return
                wait_s = admission
            is_seated = not is_cheap
            if wait_s:
                await self._hold(exchange, wait_s)
            await self._app(scope, exchange.receive, exchange.send)
        except Exception as error:
            # Whatever the application makes of the exception that told it to stop, nobody is left to hear it.
            if not _comes_from_gone_client(error):
                raise
        finally:
            exchange.finish()
            if is_seated:
                budget.leave(account)
                self._seats.wake(account.client.key)

    async def _admit(self, exchange: Exchange, *, is_cheap: bool) -> float | Refusal:
        """Ask the budget, and wait for the end of another request if only that is in the way."""
        budget, account = self._budget, exchange.account
        key, hold = account.client.key, budget.policy.hold
        may_wait = self._held.get(key, 0) < hold.requests_per_client
        ask = partial(budget.apart, partial(budget.admit, account, may_wait=may_wait, cheap=is_cheap))
        has_queue = may_wait and not is_cheap and self._seats.has(key)
        if not has_queue:
            admission = await ask()
        if has_queue or (may_wait and isinstance(admission, Refusal) and admission.is_for_seats):
            with self._holding(key):
                admission = await self._seats.wait(exchange, ask, hold.longest_s)
        if isinstance(admission, Refusal) and admission.is_for_seats:
            budget.later(partial(budget.owe, account, REFUSAL_BYTES))
        return admission

    async def _hold(self, exchange: Exchange, seconds: float) -> None:
        with self._holding(exchange.account.client.key):
            try:
                await exchange.wait(seconds)
            except ClientGone:
                self._budget.later(partial(self._budget.withdraw, exchange.account))
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
            debt = await budget.apart(partial(budget.owe, exchange.account, REFUSAL_BYTES))
            delay_s = debt.wait_s
        if delay_s > budget.policy.hold.longest_s and ABORT in scope:
            budget.later(partial(budget.owe, exchange.account, -REFUSAL_BYTES))
            await _hang_up(exchange, scope)
            return
        if refusal.delay_s:
            try:
                await exchange.wait(refusal.delay_s)
            except ClientGone:
                self._budget.later(partial(self._budget.owe, exchange.account, -REFUSAL_BYTES))
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
