"""What a caller on the DICOM network has left of the budget: the buckets of its address, as over HTTP."""

import random
import threading
from collections.abc import Callable

from app.throttle.accounts import Account
from app.throttle.budget import Budget
from app.throttle.clients import Client, network_key, parse_address
from app.throttle.exchange import SLICE_BYTES
from app.throttle.policy import RouteKind
from app.throttle.refusals import told_to_wait_s
from app.throttle.verdicts import Refusal

_LONGEST_STEP_S = 1.0
_ASK_AGAIN_S = 0.1


class Toll:
    """The budget of one association; without a budget everything passes.

    A message holds a seat among the client's requests under way until the next message, or the end.
    """

    def __init__(
        self,
        budget: Budget | None,
        address: str,
        stopping: threading.Event,
        chance: Callable[[], float] = random.random,
        is_closing: Callable[[], bool] = lambda: False,
    ) -> None:
        """Open that of an address; `chance` gives numbers from 0 to 1.

        `stopping` ends every wait; `is_closing`, when nothing more is begun, that of those who are refused.
        """
        self._budget, self._stopping, self._chance = budget, stopping, chance
        self._is_closing = is_closing
        parsed = parse_address(address)
        self._client = Client(network_key(parsed) if parsed else "local")
        self._seated: Account | None = None
        self._floor_s = 0.0  # how long the buckets of all have held the request under way back
        self.waited_s = 0.0

    @property
    def had_its_time(self) -> bool:
        """Whether all together have nothing left, and what is under way had its time to end."""
        return self._budget is not None and self._floor_s > self._budget.policy.shared.finish_s

    def refusal(self, kind: RouteKind | None = None) -> Refusal | None:
        """Count one request, of a costly kind or none, and wait its turn; return why it may not pass."""
        if self._budget is None:
            return None
        self.close()
        account = self._budget.account(self._client)
        admitted = self._admit(account, kind)
        if isinstance(admitted, Refusal):
            self._hold_back(admitted)
            return admitted
        self._seated, self._floor_s = account, 0.0
        self._wait(admitted, self._stopping.is_set)
        return None

    def refusal_of(self, kind: RouteKind) -> Refusal | None:
        """Count the costly kind of a request that is counted already."""
        if self._budget is None:
            return None
        admitted = self._budget.admit_route(self._budget.account(self._client), kind)
        if isinstance(admitted, Refusal):
            return admitted
        self._wait(admitted, self._stopping.is_set)
        return None

    def pay(self, size: int) -> int:
        """Charge bytes that are about to be sent, and wait until they may be; return how many that are.

        Who must wait does so for a slice at a time, as over HTTP: debts are paid in the order they are made.
        """
        if self._budget is None:
            return size
        account = self._budget.account(self._client)
        if not self._budget.spend(account, size):
            size = min(size, SLICE_BYTES)
            debt = self._budget.owe(account, size)
            self._floor_s += debt.floor_s
            self._wait(debt.wait_s, self._stopping.is_set)
        return size

    def close(self) -> None:
        """Give up the seat of what was asked last."""
        if self._budget is not None and self._seated is not None:
            self._budget.leave(self._seated)
        self._seated = None

    def _admit(self, account: Account, kind: RouteKind | None) -> float | Refusal:
        """Ask the budget, and again while only other requests of the client are in the way."""
        assert self._budget is not None
        left_s = self._budget.policy.hold.longest_s
        while True:
            admitted = self._budget.admit(account, kind)
            is_full = isinstance(admitted, Refusal) and admitted.is_for_seats
            if not is_full or left_s <= 0 or self._stopping.is_set():
                return admitted
            self._wait(_ASK_AGAIN_S, self._stopping.is_set)
            left_s -= _ASK_AGAIN_S

    def _hold_back(self, refusal: Refusal) -> None:
        """Let the caller wait as long as over HTTP it would be told to, when all together have nothing left.

        Nothing in DIMSE tells it to, and whoever asks most often gets what there is from moment to moment.
        """
        if refusal.is_shared and self._budget is not None:
            longest_s = self._budget.policy.hold.longest_s
            wait_s = min(longest_s, told_to_wait_s(refusal, self._chance))
            self._wait(wait_s, lambda: self._is_closing() or self._stopping.is_set())

    def _wait(self, seconds: float, is_over: Callable[[], bool]) -> None:
        while seconds > 0 and not is_over():
            step = min(seconds, _LONGEST_STEP_S)
            self._stopping.wait(step)
            self.waited_s += step
            seconds -= step


def comment_on(refusal: Refusal) -> str:
    """Return an Error Comment (0000,0902), at most 64 characters."""
    if refusal.is_denied:
        return "This archive does not answer your network"
    whose = "The budget of all callers" if refusal.is_shared else "Your budget"
    return f"{whose} is used up; ask again in {refusal.retry_after_s} s"
