"""A policy against the requests of the past: the budget itself, on a clock that goes from event to event.

The same trace and policy give the same result. Clients ask when they did, whatever they are answered now:
nobody comes again after a refusal, and nobody asks later because an answer was slow.
"""

import heapq
import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from app.throttle.accounts import Account
from app.throttle.budget import REFUSAL_BYTES, Budget
from app.throttle.exchange import SLICE_BYTES
from app.throttle.policy import Policy
from app.throttle.stores import SALT_BYTES, MemoryStore
from app.throttle.trace import Asked
from app.throttle.verdicts import Refusal

SLOTS = 2**18


@dataclass
class Fate:
    """What became of the requests of one client, or of all."""

    requests: int = 0
    asked_bytes: int = 0
    delivered_bytes: int = 0
    refused: Counter[int] = field(default_factory=Counter)  # by status
    cut: int = 0
    waited_s: float = 0.0
    longest_wait_s: float = 0.0


@dataclass
class Outcome:
    """The result of a simulation."""

    began_s: float
    ended_s: float = 0.0
    total: Fate = field(default_factory=Fate)
    clients: dict[str, Fate] = field(default_factory=dict)
    asked: list[tuple[float, int]] = field(default_factory=list)  # when, bytes
    delivered: list[tuple[float, int]] = field(default_factory=list)
    months: Counter[str] = field(default_factory=Counter)  # bytes out, refusals too


class _SteadyStore(MemoryStore):
    """The store of one process, with slots that are the same each time."""

    def __init__(self) -> None:
        super().__init__(SLOTS)
        self._salt = bytes(SALT_BYTES)


@dataclass
class _Visit:
    """One request on its way."""

    asked: Asked
    account: Account
    fates: tuple[Fate, Fate]
    waited_s: float = 0.0
    floor_s: float = 0.0
    queued_at_s: float = 0.0


class _World:
    """The budget, the time, and what is going to happen."""

    def __init__(self, policy: Policy, began_s: float) -> None:
        self.now_s = began_s
        self.policy = policy
        self.outcome = Outcome(began_s)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._queues: dict[str, deque[_Visit]] = {}
        self._budget = Budget(policy, _SteadyStore(), lambda: self.now_s, lambda: self.now_s)

    def run(self, requests: Iterable[Asked]) -> Outcome:
        for request in requests:
            self._go_on_until(request.at_s)
            self._arrive(request)
        self._go_on_until(float("inf"))
        self.outcome.ended_s = self.now_s
        return self.outcome

    def _go_on_until(self, moment_s: float) -> None:
        while self._events and self._events[0][0] <= moment_s:
            self.now_s, _, happen = heapq.heappop(self._events)
            self._budget.renew_if_due()
            happen()
        if moment_s != float("inf"):
            self.now_s = max(self.now_s, moment_s)
            self._budget.renew_if_due()

    def _later(self, seconds: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now_s + seconds, next(self._order), happen))

    def _arrive(self, request: Asked) -> None:
        outcome, key = self.outcome, request.client.key
        fates = outcome.clients.setdefault(key, Fate()), outcome.total
        for fate in fates:
            fate.requests += 1
            fate.asked_bytes += request.sent_bytes
        outcome.asked.append((self.now_s, request.sent_bytes))
        visit = _Visit(request, self._budget.account(request.client), fates)
        if key in self._queues:
            self._queue(visit)
        else:
            self._admit(visit, may_queue=True)

    def _admit(self, visit: _Visit, *, may_queue: bool) -> None:
        budget, asked = self._budget, visit.asked
        if asked.is_cheap:
            admission = budget.run(budget.admitting_cheap(visit.account))
        else:
            admission = budget.admit(visit.account, asked.kind)
        if not isinstance(admission, Refusal):
            self._later(admission, lambda: self._send(visit))
            visit.waited_s += admission
        elif may_queue and admission.is_for_seats:
            self._queue(visit)
        else:
            self._refuse(visit, admission)

    def _queue(self, visit: _Visit) -> None:
        """Wait until another request of the client has ended."""
        queue = self._queues.setdefault(visit.asked.client.key, deque())
        queue.append(visit)
        visit.queued_at_s = self.now_s

        def give_up() -> None:
            if visit in queue:
                self._leave_queue(visit)
                self._admit(visit, may_queue=False)

        self._later(self.policy.hold.longest_s, give_up)

    def _leave_queue(self, visit: _Visit) -> None:
        key = visit.asked.client.key
        self._queues[key].remove(visit)
        visit.waited_s += self.now_s - visit.queued_at_s
        if not self._queues[key]:
            del self._queues[key]

    def _send(self, visit: _Visit) -> None:
        size = visit.asked.sent_bytes
        if visit.asked.is_cheap:
            self._budget.owe(visit.account, size)
        elif not self._budget.spend(visit.account, size):
            self._send_slice(visit, size)
            return
        self._deliver(visit, size)
        self._later(visit.asked.lasted_s, lambda: self._end(visit))

    def _send_slice(self, visit: _Visit, left: int) -> None:
        """Send slice by slice, each when it is paid for."""
        size = min(left, SLICE_BYTES)
        debt = self._budget.owe(visit.account, size)
        visit.floor_s += debt.floor_s
        if debt.floor_s and visit.floor_s > self.policy.shared.finish_s:
            self._budget.owe(visit.account, -size)
            for fate in visit.fates:
                fate.cut += 1
            self._end(visit)
            return
        visit.waited_s += debt.wait_s

        def sent() -> None:
            self._deliver(visit, size)
            if left > size:
                self._send_slice(visit, left - size)
            else:
                self._end(visit)

        self._later(debt.wait_s, sent)

    def _deliver(self, visit: _Visit, size: int) -> None:
        for fate in visit.fates:
            fate.delivered_bytes += size
        self.outcome.delivered.append((self.now_s, size))
        self._count(size)

    def _count(self, size: int) -> None:
        self.outcome.months[datetime.fromtimestamp(self.now_s, UTC).strftime("%Y-%m")] += size

    def _refuse(self, visit: _Visit, refusal: Refusal) -> None:
        status = 403 if refusal.is_denied else 503 if refusal.is_shared else 429
        for fate in visit.fates:
            fate.refused[status] += 1
        self._count(REFUSAL_BYTES)
        self._note_wait(visit)

    def _end(self, visit: _Visit) -> None:
        self._note_wait(visit)
        if visit.asked.is_cheap:
            return
        self._budget.leave(visit.account)
        queue = self._queues.get(visit.asked.client.key)
        if queue:
            first = queue[0]
            self._leave_queue(first)
            self._admit(first, may_queue=True)

    def _note_wait(self, visit: _Visit) -> None:
        for fate in visit.fates:
            fate.waited_s += visit.waited_s
            fate.longest_wait_s = max(fate.longest_wait_s, visit.waited_s)
        visit.waited_s = 0.0


def simulate(requests: Sequence[Asked], policy: Policy) -> Outcome:
    """Put requests, in the order of time, to a policy."""
    return _World(policy, requests[0].at_s if requests else 0.0).run(requests)
