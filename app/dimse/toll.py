"""What a caller on the DICOM network has left of the budget: the buckets of its address, as over HTTP."""

import threading
from collections.abc import Callable

from app.throttle.budget import Account, Budget, Refusal
from app.throttle.clients import Client, network_key, parse_address

_LONGEST_STEP_S = 1.0


class Toll:
    """The budget of one association; without a budget everything passes."""

    def __init__(self, budget: Budget | None, address: str, stopping: threading.Event) -> None:
        self._budget = budget
        self._stopping = stopping
        self._account: Account | None = None
        self.waited_s = 0.0
        if budget is not None:
            parsed = parse_address(address)
            self._account = budget.account(Client(network_key(parsed) if parsed else "local"))

    def refusal(self) -> Refusal | None:
        """Count one request, waiting its turn; return why it may not be answered."""
        if self._budget is None or self._account is None:
            return None
        admitted = self._budget.admit(self._account)
        if isinstance(admitted, Refusal):
            return admitted
        self._wait(admitted, self._stopping.is_set)
        return None

    def pay(self, size: int) -> None:
        """Charge bytes that are about to be sent, and wait until they may be."""
        if self._budget is None or self._account is None or self._budget.spend(self._account, size):
            return
        self._wait(self._budget.owe(self._account, size), self._stopping.is_set)

    def _wait(self, seconds: float, is_over: Callable[[], bool]) -> None:
        while seconds > 0 and not is_over():
            step = min(seconds, _LONGEST_STEP_S)
            self._stopping.wait(step)
            self.waited_s += step
            seconds -= step


def comment_on(refusal: Refusal) -> str:
    """Return an Error Comment (0000,0902), at most 64 characters."""
    whose = "The budget of all callers" if refusal.is_shared else "Your budget"
    return f"{whose} is used up; ask again in {refusal.retry_after_s} s"
