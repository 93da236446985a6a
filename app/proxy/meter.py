"""What is drawn from an upstream, charged to the budget that all processes share (config/throttle.toml)."""

import asyncio
from collections.abc import Awaitable, Callable

from app.observability.upstreams import UpstreamMetrics
from app.throttle.budget import Budget
from app.throttle.limits import RouteRefused
from app.throttle.verdicts import Refusal

_CHARGED_BYTES = 2**20  # at a time


class Meter:
    """Counts requests to one upstream and bytes from it, and charges them where there is a budget."""

    def __init__(
        self,
        budget: Budget | None,
        name: str,
        metrics: UpstreamMetrics | None = None,
        *,
        is_patient: bool = False,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Who `is_patient` waits for his turn as long as it takes."""
        self._budget, self._name, self._is_patient, self._sleep = budget, name, is_patient, sleep
        self._metrics = UpstreamMetrics() if metrics is None else metrics
        self._received = self._metrics.received.labels(name)
        self._uncharged_bytes = 0

    async def admit(self) -> None:
        """Count a request, and wait for its turn; raises RouteRefused when that would take too long."""
        if self._budget is None:
            return
        while True:
            drawn = await self._budget.soon(self._budget.drawing_upstream(self._name, requests=1))
            if not isinstance(drawn, Refusal):
                break
            if not self._is_patient:
                raise RouteRefused(drawn)
            await self._sleep(drawn.wait_s)
        if drawn:
            await self._sleep(drawn)

    def answered(self, cache: str) -> None:
        """Count an answer that is given on, by what the cache did for it."""
        self._metrics.answers.labels(self._name, cache).inc()

    def asked(self, outcome: str) -> None:
        """Count an attempt to ask, by what became of it."""
        self._metrics.requests.labels(self._name, outcome).inc()

    def charge(self, size: int) -> None:
        """Count bytes that came; the next request waits for those that were too many."""
        self._received.inc(size)
        self._uncharged_bytes += size
        if self._uncharged_bytes >= _CHARGED_BYTES:
            self.settle()

    def settle(self) -> None:
        """Charge what is not charged yet."""
        size, self._uncharged_bytes = self._uncharged_bytes, 0
        if self._budget is not None and size:
            self._budget.later(self._budget.drawing_upstream(self._name, size=size))
