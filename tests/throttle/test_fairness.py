"""Whom the defaults serve, and how evenly (R5, R6, R9); in simulated time."""

import asyncio
import random

import pytest
from starlette.requests import Request

from app.throttle.budget import Budget
from app.throttle.clients import Client, Clients
from app.throttle.limits import RouteLimits
from app.throttle.policy import Policy
from app.throttle.refusals import refuse
from app.throttle.stores import MemoryStore
from app.throttle.verdicts import Refusal
from tests.throttle.virtual import VirtualTime, Visit, answering, make_budget, throttled


@pytest.fixture
def time():
    return VirtualTime()


def jain(shares):
    """1 if all have the same, 1 / n if one has all."""
    return sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares))


def test_r5_fifty_connections_get_no_more_than_one(time):
    """R5: Jain's index of the clients' bytes is at least 0.95."""
    budget = make_budget(time, client={"bytes": {"per_second": 1e6, "burst": 1e6}})
    app = throttled(answering(*[bytes(2**16)] * 4000), budget, time)
    asked = [Visit(time, host=f"192.0.{number}.1") for number in [0] * 50 + list(range(1, 10))]

    async def some_time():
        tasks = [asyncio.ensure_future(visit.ask(app)) for visit in asked]
        await time.sleep(6)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    time.run(some_time())
    shares = [sum(len(v.content) for v in asked if v.host == host) for host in {v.host for v in asked}]
    assert jain(shares) >= 0.95
    assert sum(shares) >= 10 * 6e6 * 0.95


def test_r6_waiting_retry_after_succeeds(time):
    """R6: 1000 random limits; who waits as long as it is told is served."""
    chance = random.Random(6)
    for _ in range(1000):
        budget = make_budget(
            time,
            client={
                "requests": {"per_second": 10 ** chance.uniform(-2, 2), "burst": chance.randint(1, 40)},
                "bytes": {"per_second": 10 ** chance.uniform(2, 6), "burst": 10 ** chance.uniform(3, 6)},
            },
            shared={"bytes": {"per_second": 10 ** chance.uniform(2, 6), "burst": 10 ** chance.uniform(4, 6)}},
            routes={"search": {"per_second": 10 ** chance.uniform(-2, 2), "burst": chance.randint(1, 40)}},
            hold={"longest_s": chance.choice([0, 1])},
        )
        kind = chance.choice([None, "search"])
        account, admission = budget.account(Client("ip:192.0.2.1")), 0.0
        while not isinstance(admission, Refusal):
            budget.owe(account, chance.randint(1, 9000))
            admission = budget.admit(account, kind)
        answer = refuse(admission, account.client)
        wait_s = int(dict(answer.headers)[b"retry-after"])
        assert dict(answer.headers)[b"ratelimit"].endswith(b"t=%d" % wait_s)
        time.now_s += wait_s
        assert not isinstance(budget.admit(account, kind), Refusal)


@pytest.mark.parametrize(("connections", "opened"), [(6, 3), (500, 2)])
def test_r9_a_page_of_500_thumbnails_meets_no_429_at_the_defaults(time, connections, opened):
    """R9: by a browser, and by a client that asks for all at once; opened again and again."""
    budget = Budget(Policy(), MemoryStore(), time.clock)
    limits = RouteLimits(budget, Clients(), sleep=time.sleep)

    async def thumbnail(scope, receive, send):
        await limits.admit(Request(scope), "render")
        await time.sleep(0.02)
        await answering(bytes(12_000))(scope, receive, send)

    app = throttled(thumbnail, budget, time)
    asked = [Visit(time, path=f"/thumbnail/{number}") for number in range(500 * opened)]
    waiting = iter(asked)

    async def connection():
        for visit in waiting:
            await visit.ask(app)

    time.run(*(connection() for _ in range(connections)))
    assert {visit.status for visit in asked} == {200}
