"""Who runs a server hears from it, however much it is asked; and /quota tells strangers where they stand."""

import pytest

from app.throttle.accounts import CHEAP_BYTES
from app.throttle.classes import ClientClass
from app.throttle.clients import Client
from app.throttle.cost import reserve_bytes
from app.throttle.middleware import ABORT
from tests.throttle.virtual import VirtualTime, Visit, answering, make_budget, throttled

RATE, BURST = 1000.0, 200_000.0
SHARED = {"bytes": {"per_second": RATE, "burst": BURST}}
STRANGER = "198.51.100.7"


@pytest.fixture
def time():
    return VirtualTime()


def deep_in_debt(time, **sections):
    """A budget whose streams owe more than any reserve."""
    budget = make_budget(time, shared=SHARED, hold={"longest_s": 0}, **sections)
    budget.owe(budget.account(Client("ip:203.0.113.200")), 3 * int(BURST))
    return budget


def ask(time, budget, count=1, **visit):
    app = throttled(answering(b"x" * 300), budget, time)
    asked = [Visit(time, **visit) for _ in range(count)]
    for each in asked:
        each.scope[ABORT] = each.leave  # a refusal that would wait too long for its bytes is not sent
    time.run(*(each.ask(app) for each in asked))
    return asked


INSIDE = ["127.0.0.1", "10.1.2.3", "172.20.0.1", "192.168.7.7", "100.64.0.9", "::1", "fd00::5", "unix"]


@pytest.mark.parametrize("host", INSIDE)
@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_our_own_people_are_answered_whatever_the_balances(time, path, host):
    budget = deep_in_debt(time, client={"requests": {"per_second": 1e-9, "burst": 1}})
    asked = ask(time, budget, 50, path=path, host=host)
    assert {visit.status for visit in asked} == {200}
    assert {visit.started_s for visit in asked} == {0.0}
    assert all(len(visit.content) == 300 for visit in asked)


def test_they_are_counted_as_long_as_there_is_something_to_count(time):
    budget = make_budget(time, shared={"bytes": {"per_second": 1e-9, "burst": BURST}})
    [asked] = ask(time, budget, path="/livez", host="127.0.0.1")
    assert asked.record.bytes_charged == 400
    assert budget.run(budget.telling_shared()) == pytest.approx(BURST - 400)


def test_all_else_they_ask_for_is_refused_as_it_is_to_others(time):
    assert [visit.status for visit in ask(time, deep_in_debt(time), path="/", host="127.0.0.1")] == [0]


@pytest.mark.parametrize("forged", ["127.0.0.1", "10.0.0.1, 127.0.0.1"])
def test_nobody_becomes_one_of_them_by_what_he_writes(time, forged):
    headers = [(b"x-forwarded-for", forged.encode()), (b"forwarded", b"for=127.0.0.1")]
    budget = deep_in_debt(time)
    asked = ask(time, budget, 300, path="/livez", host=STRANGER, headers=headers)
    assert 0 in {visit.status for visit in asked}
    through_proxy = [(b"x-forwarded-for", STRANGER.encode())]
    asked = ask(time, budget, path="/livez", host="10.0.0.1", headers=through_proxy)
    assert [visit.status for visit in asked] == [0]


@pytest.mark.parametrize(("treatment", "statuses"), [("unlimited", {200}), ("denied", {0})])
def test_a_class_says_who_else_is_one_of_them_and_who_is_not(time, treatment, statuses):
    budget = deep_in_debt(time)
    networks = [f"{STRANGER}/32"]
    told = ClientClass.model_validate({"name": "health", "treatment": treatment, "networks": networks})
    budget.renew(budget.policy.model_copy(update={"classes": (told,)}))
    asked = ask(time, budget, 30, path="/livez", host=STRANGER)
    assert {visit.status for visit in asked} == statuses


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/quota"])
def test_a_stranger_is_answered_from_the_last_of_the_reserve_however_deep_the_debt(time, path):
    budget = deep_in_debt(time)
    [asked] = ask(time, budget, path=path, host=STRANGER)
    assert asked.status == 200
    assert ask(time, budget, path="/", host=STRANGER)[0].status == 0


def test_the_last_of_the_reserve_bounds_what_a_flood_is_sent_and_fills_again(time):
    """O1: what goes out although all is used up is half the reserve, and then a tenth of the rate."""
    budget = deep_in_debt(time)
    last = reserve_bytes(BURST) / 2
    asked = [ask(time, budget, path="/quota", host=f"198.51.100.{number % 250}")[0] for number in range(60)]
    answered = [visit for visit in asked if visit.status == 200]
    assert len(answered) == last // CHEAP_BYTES
    assert sum(visit.record.bytes_charged for visit in answered) <= last
    assert time.elapsed_s == 0
    time.now_s += CHEAP_BYTES / (RATE / 10) + 0.1
    assert [visit.status for visit in ask(time, budget, 2, path="/quota", host=STRANGER)] == [200, 0]


def test_a_client_without_requests_left_is_refused_and_takes_nothing_of_it(time):
    budget = deep_in_debt(time, client={"requests": {"per_second": 1e-9, "burst": 1}})
    asked = ask(time, budget, 5, path="/quota", host=STRANGER)
    assert [visit.status for visit in asked] == [200] + [0] * 4
    assert ask(time, budget, path="/quota", host="198.51.100.8")[0].status == 200
