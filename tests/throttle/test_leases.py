"""What a process takes ahead is charged first, spent once, and not taken near a limit."""

import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.throttle.budget import Budget
from app.throttle.clients import Client
from app.throttle.leases import BYTES, MOST_CLIENTS, PLENTY, REQUESTS, Lease, Leases
from app.throttle.mmap_store import MmapStore
from app.throttle.verdicts import Refusal
from tests.throttle.virtual import VirtualTime, Visit, answering, make_budget, policy, throttled

SOMEBODY = Client("ip:192.0.2.1")
BURST = 20_000
STILL = 1e-9  # a second: nothing comes back while a test runs


@pytest.fixture
def time():
    return VirtualTime()


def left(budget, name):
    [line] = [each for each in budget.run(budget.telling(budget.account(SOMEBODY))) if each.policy == name]
    return line.remaining


class CountingStore(MmapStore):
    """Counts how often it is asked to take."""

    taken = 0

    def take(self, draws, now):
        self.taken += 1
        return super().take(draws, now)


def test_requests_far_from_every_limit_ask_the_store_once_in_many(time, tmp_path):
    """R7, apart from the clock; `python -m bench --only budget` has it in microseconds."""
    store = CountingStore(tmp_path / "budget", slots=64)
    budget = Budget(policy(), store, time.clock)
    account = budget.account(SOMEBODY)
    for _ in range(10 * REQUESTS):
        assert budget.admit(account) == 0
        assert budget.admit_route(account, "search") == 0
        assert budget.spend(account, 100)
        budget.leave(account)
    assert store.taken <= 2 * 2 * 10 + 10  # and now and then a seat is given back


def test_large_answers_are_charged_with_more_ahead_and_never_less_than_they_are(time, tmp_path):
    store = CountingStore(tmp_path / "budget", slots=64)
    budget = Budget(policy(), store, time.clock)
    account, before = budget.account(SOMEBODY), left(budget, "client-bytes")
    for answers in range(1, 31):
        budget.admit(account)
        asked = store.taken
        assert budget.spend(account, 100 * 1024)
        budget.leave(account)
        assert account.lease.bytes <= BYTES
        assert before - left(budget, "client-bytes") == answers * 100 * 1024 + account.lease.bytes
        assert store.taken - asked <= 1
    assert store.taken <= 30 / 2 + 10


@pytest.mark.parametrize("kind", [None, "search"])
def test_several_processes_together_never_serve_more_than_was_there(time, tmp_path, kind):
    requests = {"per_second": STILL, "burst": BURST}
    sections = {"routes": {kind: requests}} if kind else {"client": {"requests": requests}}
    budgets = [
        Budget(
            policy(hold={"longest_s": 0}, **sections), MmapStore(tmp_path / "budget", slots=64), time.clock
        )
        for _ in range(3)
    ]
    served, refused = 0, 0
    while refused < len(budgets):  # in turns, until every one has refused in a row
        for budget in budgets:
            account = budget.account(SOMEBODY)
            admission = budget.admit_route(account, kind) if kind else budget.admit(account)
            refused = refused + 1 if isinstance(admission, Refusal) else 0
            served += not refused
            if not (kind or refused):
                budget.leave(account)
    assert served == BURST  # and nothing was lost: near the limit nobody takes ahead


def test_what_is_left_never_exceeds_what_was_not_yet_served(time):
    budget = make_budget(time, client={"requests": {"per_second": STILL, "burst": BURST}})
    account = budget.account(SOMEBODY)
    for served in range(1, 2000):
        budget.admit(account)
        assert left(budget, "client-requests") <= BURST - served


def test_near_a_limit_every_request_is_counted_by_itself(time):
    few = PLENTY - 1
    budget = make_budget(time, client={"requests": {"per_second": STILL, "burst": few}})
    account = budget.account(SOMEBODY)
    for served in range(1, few):
        budget.admit(account)
        assert left(budget, "client-requests") == few - served


def lease_with_seats(count):
    lease = Lease()
    lease.seats = count
    return lease


def test_a_lease_whose_bytes_are_spent_admits_no_more():
    leases, lease = Leases(), lease_with_seats(9)
    leases.add(lease, 2, 100)
    assert leases.enter(lease)
    assert not leases.spend(lease, 101)
    assert leases.spend(lease, 100)
    assert not leases.enter(lease)  # a request needs bytes left to be answered with


def test_a_lease_admits_no_more_at_a_time_than_it_has_seats():
    leases, lease = Leases(), lease_with_seats(2)
    leases.add(lease, 10, 100)
    assert [leases.enter(lease) for _ in range(3)] == [True, True, False]
    assert leases.rise(lease, kept=2) == 0
    assert leases.enter(lease)
    assert leases.rise(lease, kept=0) == 1
    assert (lease.seats, lease.seated) == (1, 1)


def test_a_lease_never_holds_more_bytes_than_it_may():
    leases, lease = Leases(), Lease()
    for _ in range(3):
        leases.add(lease, 1, BYTES - 1)
    assert lease.bytes == BYTES


def test_the_oldest_lease_is_forgotten_when_there_are_too_many():
    leases = Leases()
    every = [lease_with_seats(1) for _ in range(MOST_CLIENTS + 1)]
    for lease in every:
        leases.add(lease, 1, BYTES, "search", 1)
    assert not leases.enter(every[0])
    assert not leases.spend(every[0], 1)
    assert not leases.spend_route(every[0], "search")
    assert all(leases.enter(lease) and leases.spend_route(lease, "search") for lease in every[1:])
    assert all(leases.spend(lease, BYTES) for lease in every[1:])


@given(st.lists(st.integers(0, 500), max_size=60), st.integers(0, 5))
def test_never_more_is_spent_than_was_added(wanted, added):
    leases, lease = Leases(), lease_with_seats(10_000)
    for _ in range(added):
        leases.add(lease, 3, 1000)
    entered = sum(leases.enter(lease) for _ in wanted)
    spent = [size for size in wanted if leases.spend(lease, size)]
    assert entered <= 3 * added
    assert sum(spent) <= 1000 * added


def test_a_request_leaves_nothing_to_the_collector_of_cycles(time):
    """A server's receive and send lead to the scope, and the scope to the record of the request."""
    app = throttled(answering(b"ok"), make_budget(time), time)
    visit = Visit(time)
    gc.disable()
    try:
        time.run(visit.ask(app))
        seen = weakref.ref(visit.record)
        del visit
        assert seen() is None
    finally:
        gc.enable()
