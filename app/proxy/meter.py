"""What is drawn from an upstream, charged to the budget that all processes share (config/throttle.toml)."""

import asyncio

from app.throttle.budget import Budget
from app.throttle.limits import RouteRefused
from app.throttle.verdicts import Refusal

_CHARGED_BYTES = 2**20  # at a time


class Meter:
    """Counts requests to one upstream and bytes from it; without a budget nothing."""

    def __init__(self, budget: Budget | None, name: str) -> None:
        self._budget, self._name = budget, name
        self._uncharged_bytes = 0

    async def admit(self) -> None:
        """Count a request, and wait for its turn; raises RouteRefused when that would take too long."""
        if self._budget is None:
            return
        wait_s = await self._budget.soon(self._budget.drawing_upstream(self._name, requests=1))
        if isinstance(wait_s, Refusal):
            raise RouteRefused(wait_s)
        if wait_s:
            await asyncio.sleep(wait_s)

    def charge(self, size: int) -> None:
        """Count bytes that came; the next request waits for those that were too many."""
        self._uncharged_bytes += size
        if self._budget is not None and self._uncharged_bytes >= _CHARGED_BYTES:
            self.settle()

    def settle(self) -> None:
        """Charge what is not charged yet."""
        size, self._uncharged_bytes = self._uncharged_bytes, 0
        if self._budget is not None and size:
            self._budget.later(self._budget.drawing_upstream(self._name, size=size))
