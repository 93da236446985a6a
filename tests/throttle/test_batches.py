"""A store elsewhere is asked once for all who ask meanwhile, and an event loop waits for nobody's thread."""

import asyncio
import threading

import pytest

from app.throttle import batches
from app.throttle.batches import MOST, Batches
from app.throttle.bucket import Bucket, Draw
from app.throttle.budget import Budget
from app.throttle.clients import Client
from app.throttle.steps import Look
from app.throttle.stores import MemoryStore
from tests.throttle.virtual import policy

EVERYTHING = Bucket(1, 1e-9, 1e9)


class Elsewhere(MemoryStore):
    """A store that answers when it is let, and notes how many were asked for in each call."""

    def __init__(self):
        super().__init__(1024)
        self.calls, self.gave_up = [], 0
        self.lets, self.is_asked = threading.Event(), threading.Event()
        self.lets.set()

    def ask_many(self, asked, now):
        self.calls.append(len(asked))
        self.is_asked.set()
        self.lets.wait()
        return [self.take(draws, now) for draws in asked]

    def stand_in(self, draws):
        return None if draws else (True, [])

    def give_up(self, draws):
        self.gave_up += 1
        return True, [0.0] * len(draws)


@pytest.fixture
def store():
    return Elsewhere()


@pytest.fixture
def way(store):
    way = Batches(store)
    yield way
    store.lets.set()
    way.close()


def taking(amount=1.0):
    granted, [balance] = yield [Draw(EVERYTHING, amount, amount)]
    return granted, balance


async def asked_while_the_first_waits(store, way, count):
    store.lets.clear()
    first = asyncio.ensure_future(way.make(taking()))
    await asyncio.to_thread(store.is_asked.wait)
    others = [asyncio.ensure_future(way.make(taking())) for _ in range(count)]
    await asyncio.sleep(0)
    store.lets.set()
    return await asyncio.gather(first, *others)


def test_who_asks_while_a_call_is_under_way_is_in_the_next_one(store, way, monkeypatch):
    """R7: under load the server is called less often than it is asked."""
    monkeypatch.setattr(batches, "PATIENCE_S", 60.0)
    answers = asyncio.run(asked_while_the_first_waits(store, way, 20))
    assert store.calls == [1, 20]
    assert sorted(balance for _, balance in answers) == [1e9 - number for number in range(21, 0, -1)]


def test_a_call_is_for_no_more_than_so_many(store, way, monkeypatch):
    monkeypatch.setattr(batches, "PATIENCE_S", 60.0)
    asyncio.run(asked_while_the_first_waits(store, way, 2 * MOST + 3))
    assert store.calls == [1, MOST, MOST, 3]


def test_a_thread_that_does_not_come_back_is_given_up(store, way, monkeypatch):
    """R8: looking up the server's name, for one, has no limit of its own."""
    monkeypatch.setattr(batches, "PATIENCE_S", 0.0)
    store.lets.clear()
    assert asyncio.run(way.make(taking())) == (True, 0.0)
    assert store.gave_up == 1


def test_what_nobody_waits_for_is_asked_before_the_end(store):
    way = Batches(store)
    store.lets.clear()
    for _ in range(5):
        way.ask_later([Draw(EVERYTHING, 10, -1e18)])
    store.lets.set()
    way.close()
    assert store.peek([EVERYTHING], store.clock()) == [pytest.approx(1e9 - 50)]


def test_a_fault_in_the_thread_is_not_its_end(store, way, monkeypatch):
    failing = iter([ValueError("a bug")])

    def fail_once(asked, now):
        for error in failing:
            raise error
        return [store.take(draws, now) for draws in asked]

    monkeypatch.setattr(store, "ask_many", fail_once)
    monkeypatch.setattr(batches, "PATIENCE_S", 0.5)
    assert asyncio.run(way.make(taking())) == (True, 0.0)  # given up
    assert asyncio.run(way.make(taking()))[0]


def test_looking_takes_nothing(store, way):
    def looking():
        _, balances = yield Look([EVERYTHING])
        return balances

    assert asyncio.run(way.make(looking())) == [1e9]


def test_a_client_far_from_its_limits_waits_for_the_store_once(store):
    """R7: more is asked for before what was taken is used up."""
    budget = Budget(policy(), store, lambda: 1000.0)
    account = budget.account(Client("ip:192.0.2.1"))

    async def ask(times):
        waited = 0
        for _ in range(times):
            if not budget.may_enter(account, "search"):
                waited += 1
                await budget.soon(budget.admitting(account, "search"))
            budget.leave(account)
            while account.lease.is_filling or budget._batches._tasks:  # noqa: ASYNC110 it is under way
                await asyncio.sleep(0)
        return waited

    assert asyncio.run(ask(1000)) == 1
    assert len(store.calls) <= 1000 / 16
    budget.close()
