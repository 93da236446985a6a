"""What is drawn from an upstream is counted and charged; who copies waits, who asks is refused."""

import asyncio

import pytest

from app.observability.upstreams import UpstreamMetrics
from app.proxy.meter import Meter
from app.throttle.budget import Budget
from app.throttle.limits import RouteRefused
from app.throttle.stores import MemoryStore
from tests.throttle.virtual import VirtualTime, policy

NARROW = {
    "upstreams": {
        "up": {"requests": {"per_second": 1, "burst": 2}, "bytes": {"per_second": 1e6, "burst": 2e6}}
    },
    "hold": {"longest_s": 2},
}


@pytest.fixture
def time():
    return VirtualTime()


def meter(time, **chosen):
    return Meter(Budget(policy(**NARROW), MemoryStore(64), time.clock), "up", sleep=time.sleep, **chosen)


async def admit(meter, times):
    for _ in range(times):
        await meter.admit()


def test_requests_take_their_turn(time):
    time.run(admit(meter(time), 4))
    assert time.elapsed_s == pytest.approx(2)


def test_who_asks_too_much_at_once_is_refused(time):
    upstream = meter(time)

    async def all_at_once():
        return await asyncio.gather(*(upstream.admit() for _ in range(8)), return_exceptions=True)

    [outcomes] = time.run(all_at_once())
    assert [isinstance(each, RouteRefused) for each in outcomes] == [False] * 4 + [True] * 4


def test_who_is_patient_waits_instead_and_all_are_served_at_the_rate(time):
    upstream = meter(time, is_patient=True)
    time.run(*(upstream.admit() for _ in range(40)))
    assert 38 <= time.elapsed_s <= 48  # burst 2, then one a second; who was early waits a little more


def test_bytes_that_came_are_paid_for_before_the_next_request(time):
    upstream = meter(time, is_patient=True)

    async def copy():
        for _ in range(3):
            await upstream.admit()
            upstream.charge(10 * 10**6)
        upstream.settle()

    time.run(copy())
    assert time.elapsed_s >= 2 * 10 - 2


def test_it_is_counted_without_a_budget_too():
    metrics = UpstreamMetrics()
    upstream = Meter(None, "up", metrics)
    upstream.charge(3 * 2**20)
    upstream.answered("hit")
    upstream.asked("503")
    asyncio.run(upstream.admit())
    told = {
        (sample.name, *sample.labels.values()): sample.value
        for metric in metrics.registry.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    }
    assert told == {
        ("dermzoo_upstream_received_bytes_total", "up"): 3 * 2**20,
        ("dermzoo_proxy_answers_total", "up", "hit"): 1,
        ("dermzoo_upstream_requests_total", "up", "503"): 1,
    }
