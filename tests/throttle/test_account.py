"""What one client draws from: classes, requests at a time, subnets, quotas, reservations; all in one step."""

import asyncio
import json
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from app.throttle.budget import Budget
from app.throttle.clients import Client
from app.throttle.leases import BYTES
from app.throttle.stores import MemoryStore
from app.throttle.verdicts import Refusal
from tests.throttle.virtual import VirtualTime, Visit, answering, make_budget, policy, throttled

NO_HOLD = {"longest_s": 0}
STILL = 1e-9
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()
DAY_S = 86_400


@pytest.fixture
def time():
    return VirtualTime()


def budget_at_noon(time, **sections):
    """On the last day of a month, at noon."""
    wall = NOON - time.now_s
    return Budget(policy(**sections), MemoryStore(4096), time.clock, wall=lambda: wall + time.now_s)


def visits(time, count, **kind):
    return [Visit(time, **kind) for _ in range(count)]


def ask_all(time, app, asked):
    time.run(*(visit.ask(app) for visit in asked))
    return [visit.status for visit in asked]


def violated(visit):
    return json.loads(visit.content)["violated-policies"]


def taking(time, seconds, most=None):
    """An application that takes so long; `most` notes how many were under way at a time."""
    under_way = [0]

    async def app(scope, receive, send):
        under_way[0] += 1
        if most is not None:
            most.append(under_way[0])
        await time.sleep(seconds)
        under_way[0] -= 1
        await answering(b"ok")(scope, receive, send)

    return app


# Requests at a time


def test_a_client_has_so_many_requests_at_a_time_and_the_others_wait_in_order(time):
    most = []
    budget = make_budget(time, client={"concurrent_requests": 5})
    asked = visits(time, 40)
    assert set(ask_all(time, throttled(taking(time, 1, most), budget, time), asked)) == {200}
    assert max(most) == 5
    starts = [visit.started_s for visit in asked]
    assert starts == sorted(starts)
    assert time.elapsed_s == pytest.approx(8)
    assert asked[-1].record.waited_s == pytest.approx(7)


def test_who_waits_too_long_for_the_others_to_end_is_refused(time):
    budget = make_budget(time, client={"concurrent_requests": 2}, hold={"longest_s": 3})
    asked = visits(time, 10)
    statuses = ask_all(time, throttled(taking(time, 2), budget, time), asked)
    assert statuses == [200] * 4 + [429] * 6
    assert violated(asked[-1]) == ["client-concurrent-requests"]
    assert "requests at a time (2)" in json.loads(asked[-1].content)["detail"]


def test_no_more_wait_for_others_than_may_be_held(time):
    budget = make_budget(time, client={"concurrent_requests": 1}, hold={"requests_per_client": 3})
    assert ask_all(time, throttled(taking(time, 1), budget, time), visits(time, 8)) == [200] * 4 + [429] * 4


def test_a_seat_that_is_given_up_in_another_process_is_noticed(time):
    budget = make_budget(time, client={"concurrent_requests": 1})
    account = budget.account(Client("ip:192.0.2.1"))
    budget.admit(account)
    waiting = Visit(time)

    async def end_elsewhere():
        await time.sleep(2)
        budget.leave(account)

    time.run(waiting.ask(throttled(answering(b""), budget, time)), end_elsewhere())
    assert waiting.status == 200
    assert waiting.started_s == pytest.approx(2, abs=0.11)


@pytest.mark.parametrize("failing", [True, False])
def test_every_end_of_a_request_gives_its_seat_up(time, failing):
    async def app(scope, receive, send):
        if failing:
            raise ValueError("a bug")
        await answering(b"ok")(scope, receive, send)

    limited = throttled(app, make_budget(time, client={"concurrent_requests": 1}, hold=NO_HOLD), time)
    for _ in range(5):
        visit = Visit(time)
        if failing:
            with pytest.raises(ValueError, match="a bug"):
                time.run(visit.ask(limited))
        else:
            assert ask_all(time, limited, [visit]) == [200]


def test_who_leaves_the_queue_for_a_seat_lets_the_next_one_in(time):
    app = throttled(taking(time, 2), make_budget(time, client={"concurrent_requests": 1}), time)
    first, impatient, patient = visits(time, 3)

    async def leave():
        await time.sleep(1)
        impatient.leave()

    time.run(first.ask(app), impatient.ask(app), patient.ask(app), leave())
    assert [visit.status for visit in (first, impatient, patient)] == [200, 0, 200]
    assert patient.started_s == pytest.approx(4)


def test_seats_of_a_process_that_died_come_back(time):
    budget = make_budget(time, client={"concurrent_requests": 10}, hold=NO_HOLD)
    for _ in range(10):
        budget.admit(budget.account(Client("ip:192.0.2.1")))
    survivor = Budget(budget.policy, budget._store, time.clock)
    assert isinstance(survivor.admit(survivor.account(Client("ip:192.0.2.1"))), Refusal)
    time.now_s += 600
    assert survivor.admit(survivor.account(Client("ip:192.0.2.1"))) == 0


def test_health_checks_take_no_seat(time):
    app = throttled(taking(time, 1), make_budget(time, client={"concurrent_requests": 1}, hold=NO_HOLD), time)
    assert ask_all(time, app, [Visit(time), Visit(time, path="/livez"), Visit(time)]) == [200, 200, 429]


# Classes


def classes(*each):
    return [{"name": f"class-{number}", **content} for number, content in enumerate(each)]


def with_classes(*each, **sections):
    whole = policy(**sections).model_dump()
    return {**whole, "classes": classes(*each)}


def test_a_class_has_its_part_of_all_that_is_counted(time):
    requests = {"requests": {"per_second": STILL, "burst": 40}, "concurrent_requests": 8}
    content = with_classes({"networks": ["192.0.2.0/25"], "factor": 0.25}, client=requests, hold=NO_HOLD)
    app = throttled(
        answering(b""), Budget(type(policy()).model_validate(content), MemoryStore(), time.clock), time
    )
    assert ask_all(time, app, visits(time, 50)).count(200) == 10
    assert ask_all(time, app, visits(time, 50, host="192.0.2.200")).count(200) == 40


def test_the_denied_are_told_so_and_nothing_is_charged(time):
    content = with_classes(
        {"networks": ["192.0.2.0/24"], "treatment": "denied"}, {"tokens": ["t"], "treatment": "denied"}
    )
    budget = Budget(type(policy()).model_validate(content), MemoryStore(), time.clock)
    app = throttled(answering(b"secret"), budget, time)
    asked = [
        Visit(time),
        Visit(time, principal=SimpleNamespace(token_id="1", token_name="t")),
        Visit(time, host="::1"),
    ]
    assert ask_all(time, app, asked) == [403, 403, 200]
    assert json.loads(asked[0].content)["status"] == 403
    assert "retry-after" not in asked[0].answer_headers
    assert asked[0].record.refused.is_denied


def test_the_unlimited_have_the_limit_of_all_alone(time):
    content = with_classes(
        {"tokens": ["mirror"], "treatment": "unlimited"},
        client={"requests": {"per_second": STILL, "burst": 1}, "concurrent_requests": 1},
        shared={"bytes": {"per_second": STILL, "burst": 500_000}},
        routes={"search": {"per_second": STILL, "burst": 1}},
        hold=NO_HOLD,
    )
    budget = Budget(type(policy()).model_validate(content), MemoryStore(), time.clock)
    app = throttled(answering(bytes(49_900)), budget, time)
    mirror = SimpleNamespace(token_id="1", token_name="mirror")
    asked = visits(time, 20, principal=mirror)
    assert ask_all(time, app, asked).count(200) == 10
    assert asked[-1].status == 503
    account = asked[0].record.account
    assert [budget.admit_route(account, "search") for _ in range(5)] == [0] * 5
    assert budget.run(budget.telling(account)) == []


# Subnets


@pytest.mark.parametrize(
    ("address", "other"), [("192.0.2.{}", "198.51.100.1"), ("2001:db8:0:{}::1", "2001:db8:1::1")]
)
def test_all_addresses_of_a_network_have_four_times_what_one_has(time, address, other):
    allowed = {"bytes": {"per_second": STILL, "burst": 10_000}}
    budget = make_budget(time, client=allowed, hold=NO_HOLD)
    app = throttled(answering(bytes(9_900)), budget, time)
    asked = [Visit(time, host=address.format(number)) for number in range(1, 8)]
    assert ask_all(time, app, asked) == [200] * 4 + [429] * 3
    assert violated(asked[-1]) == ["subnet-bytes"]
    assert "of the network around it" in json.loads(asked[-1].content)["detail"]
    assert ask_all(time, app, [Visit(time, host=other)]) == [200]


# Quotas


@pytest.mark.parametrize(("who", "status"), [("client", 429), ("shared", 503)])
@pytest.mark.parametrize(("period", "wait_s"), [("day", DAY_S / 2), ("month", DAY_S / 2)])
def test_a_quota_ends_with_its_day_or_month_and_begins_anew(time, who, status, period, wait_s):
    budget = budget_at_noon(time, **{who: {f"bytes_per_{period}": 10_000}})
    app = throttled(answering(bytes(4_900)), budget, time)
    asked = visits(time, 5)
    assert ask_all(time, app, asked) == [200] * 2 + [status] * 3
    whose = "client" if who == "client" else "global"
    assert violated(asked[-1]) == [f"{whose}-bytes-{period}"]
    after_s = int(asked[-1].answer_headers["retry-after"])
    assert after_s == wait_s + 1
    assert asked[-1].answer_headers["ratelimit-policy"].startswith(f'"{whose}-bytes-{period}";q=10000;')
    time.now_s += after_s - 2
    assert ask_all(time, app, [Visit(time)]) == [status]
    time.now_s += 2
    budget.renew_if_due()
    assert ask_all(time, app, visits(time, 3)) == [200] * 2 + [status]


def test_midnight_gives_no_more_at_once_than_the_rate(time):
    rate = {"bytes": {"per_second": 1000, "burst": 20_000}, "bytes_per_day": 50_000}
    budget = budget_at_noon(time, shared=rate)
    account = budget.account(Client("ip:192.0.2.1"))
    given = 0
    while budget.spend(account, 100):
        given += 100
    time.now_s += DAY_S / 2
    budget.renew_if_due()
    account = budget.account(Client("ip:192.0.2.1"))
    after = 0
    while budget.spend(account, 100):
        after += 100
    assert given == after == 20_000


def test_a_quota_is_told_to_whom_it_belongs(time):
    budget = budget_at_noon(time, client={"bytes_per_day": 10_000})
    [line] = [
        line
        for line in budget.run(budget.telling(budget.account(Client("ip:192.0.2.1"))))
        if "day" in line.policy
    ]
    assert (line.policy, line.capacity, line.remaining) == ("client-bytes-day", 10_000, 10_000)
    budget.owe(budget.account(Client("ip:192.0.2.1")), 4_000)
    [line] = [
        line
        for line in budget.run(budget.telling(budget.account(Client("ip:192.0.2.1"))))
        if "day" in line.policy
    ]
    assert (line.remaining, line.seconds_to_full) == (6_000, DAY_S / 2)


# Answers of known size, and those that have begun when all is used up


def announced(size, *chunks):
    return answering(*chunks, headers=[(b"content-length", b"%d" % size)])


def test_an_answer_of_known_size_is_charged_whole_with_its_first_piece(time):
    budget = make_budget(time, shared={"bytes": {"per_second": STILL, "burst": 1e9}})
    charged = []

    async def app(scope, receive, send):
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3000000")]}
        )
        for number in range(3):
            await send({"type": "http.response.body", "body": bytes(10**6), "more_body": number < 2})
            charged.append(1e9 - BYTES - budget.run(budget.telling_shared()))

    visit = Visit(time)
    ask_all(time, throttled(app, budget, time), [visit])
    assert charged == [3_000_000 + 100 + len("content-length: 3000000\r\n")] * 3
    assert visit.record.bytes_charged == charged[0]


def test_what_was_reserved_and_not_sent_is_given_back(time):
    budget = make_budget(time, shared={"bytes": {"per_second": STILL, "burst": 1e9}})

    async def app(scope, receive, send):
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"90000000")]}
        )
        for _ in range(90):
            await send({"type": "http.response.body", "body": bytes(10**6), "more_body": True})
            if visit.record.bytes_charged > 5e6:
                visit.leave()

    visit = Visit(time)
    time.run(visit.ask(throttled(app, budget, time)))
    assert visit.record.is_gone
    assert 1e9 - BYTES - budget.run(budget.telling_shared()) == visit.record.bytes_charged < 10e6


def test_an_answer_larger_than_what_is_left_is_paced_and_not_refused(time):
    budget = make_budget(time, client={"bytes": {"per_second": 1e6, "burst": 1e6}})
    visit = Visit(time)
    ask_all(time, throttled(announced(3_000_000, *[bytes(10**6)] * 3), budget, time), [visit])
    assert visit.is_complete
    assert time.elapsed_s == pytest.approx(2, abs=0.01)


def test_what_has_begun_may_end_within_a_minute_and_no_later(time):
    budget = make_budget(time, shared={"bytes": {"per_second": 2**16, "burst": 2**16}})
    short, long = Visit(time), Visit(time, host="192.0.2.2")

    def slow_to_begin(pieces):
        async def app(scope, receive, send):
            await time.sleep(0.1)
            await answering(*[bytes(2**16)] * pieces)(scope, receive, send)

        return throttled(app, budget, time)

    time.run(short.ask(slow_to_begin(20)), long.ask(slow_to_begin(200)))
    assert short.is_complete
    assert not long.is_complete
    assert time.elapsed_s <= 61
    assert (
        1 - 2**16 <= budget.run(budget.telling_shared()) <= 2**16
    )  # what was not sent after all was given back


def test_a_clients_own_empty_bucket_never_ends_an_answer(time):
    budget = make_budget(time, client={"bytes": {"per_second": 2**16, "burst": 2**16}})
    visit = Visit(time)
    time.run(visit.ask(throttled(answering(*[bytes(2**16)] * 200), budget, time)))
    assert visit.is_complete
    assert time.elapsed_s > 180


def test_a_body_that_has_begun_when_a_quota_ends_goes_on_slowly_for_a_minute(time):
    budget = budget_at_noon(time, shared={"bytes_per_day": 2**20})
    visit = Visit(time)
    time.run(visit.ask(throttled(answering(*[bytes(2**16)] * 500), budget, time)))
    assert not visit.is_complete
    assert time.elapsed_s == pytest.approx(60, abs=1.1)
    assert len(visit.content) <= 2**20 + 61 * 2**16


# Upstreams


def test_an_upstream_has_buckets_that_all_draw_from(time):
    whole = policy(hold={"longest_s": 2}).model_dump()
    whole["upstreams"] = {
        "idc": {"requests": {"per_second": 1, "burst": 2}, "bytes": {"per_second": 1000, "burst": 5000}}
    }
    budget = Budget(type(policy()).model_validate(whole), MemoryStore(), time.clock)
    assert [budget.run(budget.drawing_upstream("idc", requests=1)) for _ in range(4)] == pytest.approx(
        [0, 0, 1, 2]
    )
    refusal = budget.run(budget.drawing_upstream("idc", requests=1))
    assert isinstance(refusal, Refusal)
    assert refusal.is_shared
    assert [line.name for line in refusal.short] == ["upstream-requests"]
    assert budget.run(budget.drawing_upstream("another", requests=1)) == 0
    time.now_s += 10
    assert budget.run(budget.drawing_upstream("idc", size=6500)) == pytest.approx(1.5)
    assert budget.run(budget.drawing_upstream("idc", requests=1)) == pytest.approx(
        1.5
    )  # until the bytes are paid for


def test_bytes_through_an_upstream_are_charged_to_both_in_one_step(time):
    whole = policy().model_dump()
    whole["upstream"] = {
        "requests": {"per_second": 1, "burst": 2},
        "bytes": {"per_second": 1000, "burst": 5000},
    }
    budget = Budget(type(policy()).model_validate(whole), MemoryStore(), time.clock)
    account = budget.through(budget.account(Client("ip:192.0.2.1")), "idc")
    assert budget.spend(account, 4000)
    before = budget.run(budget.telling_shared())
    assert not budget.spend(account, 4000)
    assert budget.run(budget.telling_shared()) == before
    assert budget.owe(account, 4000).wait_s == pytest.approx(3)


def test_accounts_of_a_reloaded_policy_draw_from_the_same_buckets(time):
    budget = make_budget(time, client={"requests": {"per_second": STILL, "burst": 10}}, hold=NO_HOLD)
    app = throttled(answering(b""), budget, time)
    assert ask_all(time, app, visits(time, 8)) == [200] * 8
    budget.renew(policy(client={"requests": {"per_second": STILL, "burst": 5}}, hold=NO_HOLD))
    assert ask_all(time, app, visits(time, 8)) == [200] * 2 + [429] * 6


def test_a_policy_is_exchanged_under_load(time):
    budget = make_budget(time)
    app = throttled(taking(time, 1), budget, time)
    asked = visits(time, 50)

    async def exchange():
        for number in range(10):
            await time.sleep(0.3)
            budget.renew(policy(client={"concurrent_requests": 3 + number}))

    async def ask_later():
        await asyncio.gather(*(visit.ask(app) for visit in asked))

    time.run(ask_later(), exchange())
    assert {visit.status for visit in asked} == {200}


def test_a_flood_of_refusals_and_health_checks_is_paid_for_too(time):
    """R1: what is sent although the bucket is empty is bounded, and then as slow as the bucket fills."""
    per_second, burst = 1000, 100_000
    budget = make_budget(time, shared={"bytes": {"per_second": per_second, "burst": burst}})
    sent = []

    async def app(scope, receive, send):
        await answering(bytes(900))(scope, receive, send)

    limited = throttled(app, budget, time)
    budget.owe(budget.account(Client("ip:198.51.100.1")), burst)
    asked = [*visits(time, 60, path="/livez"), *visits(time, 60)]
    time.run(*(visit.ask(limited) for visit in asked))
    for visit in asked:
        sent += [(at, len(body) + 100) for at, body in visit.chunks]
    reserve = 2 * burst / 10
    for moment in sorted({at for at, _ in sent}):
        assert sum(size for at, size in sent if at <= moment) <= reserve + per_second * moment + 2000
    assert {visit.status for visit in asked} == {200, 503}
    assert all(visit.is_complete for visit in asked)
