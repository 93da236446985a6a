"""Every request is counted; a burst waits its turn; a refusal is honest; bytes stop when the client goes."""

import asyncio
import json
from types import SimpleNamespace

import pytest

from app.throttle.budget import REFUSAL_BYTES, Budget
from app.throttle.leases import BYTES
from app.throttle.policy import Policy
from app.throttle.stores import MemoryStore
from tests.throttle.virtual import VirtualTime, Visit, answering, make_budget, throttled

REQUESTS = {"per_second": 100, "burst": 10}
NO_HOLD = {"longest_s": 0}


@pytest.fixture
def time():
    return VirtualTime()


def visits(time, count, **kind):
    return [Visit(time, **kind) for _ in range(count)]


def ask_all(time, app, asked):
    time.run(*(visit.ask(app) for visit in asked))
    return [visit.status for visit in asked]


def test_100_simultaneous_requests_on_a_bucket_for_10_without_a_queue(time):
    app = throttled(answering(b"ok"), make_budget(time, client={"requests": REQUESTS}, hold=NO_HOLD), time)
    statuses = ask_all(time, app, visits(time, 100))
    assert sorted(statuses) == [200] * 10 + [429] * 90


def test_a_burst_of_300_on_a_bucket_for_100_waits_and_is_never_refused(time):
    requests = {"per_second": 50, "burst": 100}
    app = throttled(answering(b"ok"), make_budget(time, client={"requests": requests}), time)
    asked = visits(time, 300)
    assert set(ask_all(time, app, asked)) == {200}
    starts = [visit.started_s for visit in asked]
    assert starts == sorted(starts)  # first come, first served
    assert starts[:100] == [0.0] * 100
    assert starts[100:] == pytest.approx([(number + 1) / 50 for number in range(200)])
    assert time.elapsed_s == pytest.approx(4.0)
    assert asked[-1].record.waited_s == pytest.approx(4.0)


def test_a_viewer_is_never_refused_nor_held_at_the_defaults(time):
    """R9: a study of 500 images of 1 MB, and all that is asked besides, at once from one address."""
    budget = Budget(Policy(), MemoryStore(), time.clock)
    images = throttled(answering(bytes(1_000_000)), budget, time)
    others = throttled(answering(bytes(10_000)), budget, time)
    asked = [*visits(time, 500), *visits(time, 600)]
    time.run(*(visit.ask(images if number < 500 else others) for number, visit in enumerate(asked)))
    assert {visit.status for visit in asked} == {200}
    assert time.elapsed_s == 0


def test_who_would_wait_too_long_is_refused_at_once(time):
    requests = {"per_second": 10, "burst": 5}
    app = throttled(
        answering(b"ok"), make_budget(time, client={"requests": requests}, hold={"longest_s": 2}), time
    )
    asked = visits(time, 40)
    statuses = ask_all(time, app, asked)
    assert statuses == [200] * 25 + [429] * 15
    assert {visit.started_s for visit in asked[25:]} == {0.0}
    assert time.elapsed_s == pytest.approx(2.0)


def test_no_more_than_so_many_wait(time):
    requests = {"per_second": 10, "burst": 5}
    hold = {"longest_s": 100, "requests_per_client": 7}
    app = throttled(answering(b"ok"), make_budget(time, client={"requests": requests}, hold=hold), time)
    asked = [*visits(time, 20), Visit(time, host="192.0.2.2")]
    assert ask_all(time, app, asked) == [200] * 12 + [429] * 8 + [200]


def test_clients_do_not_wait_for_each_other(time):
    requests = {"per_second": 1, "burst": 1}
    app = throttled(answering(b"ok"), make_budget(time, client={"requests": requests}), time)
    asked = [Visit(time, host=f"192.0.2.{number}") for number in range(50)]
    assert set(ask_all(time, app, asked)) == {200}
    assert time.elapsed_s == 0


def test_a_token_has_buckets_of_its_own_ten_times_as_large(time):
    app = throttled(answering(b"ok"), make_budget(time, client={"requests": REQUESTS}, hold=NO_HOLD), time)
    named = visits(time, 120, principal=SimpleNamespace(token_id="t1"))
    nameless = visits(time, 20, principal=SimpleNamespace(token_id=None))
    assert ask_all(time, app, named).count(200) == 100
    assert ask_all(time, app, nameless).count(200) == 10


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PROPFIND"])
@pytest.mark.parametrize("path", ["/", "/nowhere", "/livez", "/openapi.json"])
def test_every_method_and_path_is_counted(time, method, path):
    """R3: what no route takes, too."""
    app = throttled(
        answering(b"", status=404), make_budget(time, client={"requests": REQUESTS}, hold=NO_HOLD), time
    )
    statuses = ask_all(time, app, visits(time, 15, method=method, path=path))
    assert statuses == [404] * 10 + [429] * 5


def test_other_protocols_pass(time):
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    time.run(throttled(app, make_budget(time), time)({"type": "lifespan"}, None, None))
    assert seen == ["lifespan"]


# Bytes


def test_bytes_sent_are_bytes_charged(time):
    budget = make_budget(time, client={"bytes": {"per_second": 1e-3, "burst": 1e6}})
    headers = [(b"content-type", b"text/plain")]
    app = throttled(answering(b"x" * 1000, b"y" * 500, headers=headers), budget, time)
    asked = Visit(time)
    ask_all(time, app, [asked])
    header_bytes = 100 + len("content-type: text/plain\r\n")
    assert asked.record.bytes_charged == 1500 + header_bytes
    remaining = {line.policy: line.remaining for line in budget.run(budget.telling(asked.record.account))}
    assert remaining["client-bytes"] == 1_000_000 - 1500 - header_bytes
    assert budget.run(budget.telling_shared()) == 1e9 - 1500 - header_bytes


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 304), ("GET", 204)])
def test_answers_without_a_body_cost_their_headers(time, method, status):
    app = throttled(answering(b"x" * 100_000, status=status), make_budget(time), time)
    asked = Visit(time, method=method)
    ask_all(time, app, [asked])
    assert asked.record.bytes_charged == 100


def sent_by(asked, when):
    return sum(len(body) for visit in asked for at, body in visit.chunks if at <= when)


@pytest.mark.parametrize("who", ["client", "shared"])
def test_a_body_is_paced_and_never_ahead_of_the_plan(time, who):
    budget = make_budget(time, **{who: {"bytes": {"per_second": 1e6, "burst": 5e6}}})
    chunks = [bytes(2**20)] * 8
    asked = [Visit(time), Visit(time)]
    ask_all(time, throttled(answering(*chunks), budget, time), asked)
    total = 16 * 2**20
    assert all(visit.is_complete and len(visit.content) == 8 * 2**20 for visit in asked)
    assert time.elapsed_s == pytest.approx((total + 200 - 5e6) / 1e6)
    moments = sorted({at for visit in asked for at, _ in visit.chunks})
    for moment in moments:
        assert sent_by(asked, moment) <= 5e6 + 1e6 * moment + 1e-3
    # Two streams take turns.
    shares = [sent_by([visit], time.elapsed_s / 2) for visit in asked]
    assert abs(shares[0] - shares[1]) <= 2 * 2**20


def test_one_large_piece_is_cut_into_slices_and_arrives_whole(time):
    body = bytes(range(256)) * 2000
    budget = make_budget(time, client={"bytes": {"per_second": 1e5, "burst": 1e5}})
    asked = Visit(time)
    ask_all(time, throttled(answering(body), budget, time), [asked])
    assert asked.content == body
    assert asked.is_complete
    assert max(len(piece) for _, piece in asked.chunks) == 64 * 1024


def test_out_of_bytes_all_together_is_503_and_started_answers_go_on(time):
    budget = make_budget(time, shared={"bytes": {"per_second": 1e5, "burst": 2e5}})
    app = throttled(answering(*[bytes(2**20)] * 2), budget, time)
    first, second = Visit(time), Visit(time, host="192.0.2.2")

    async def later():
        await time.sleep(1)
        await second.ask(app)

    time.run(first.ask(app), later())
    assert (first.status, first.is_complete, second.status) == (200, True, 503)
    problem = json.loads(second.content)
    assert problem["type"].endswith("#temporary-reduced-capacity")
    assert problem["violated-policies"] == ["global-bytes"]


def test_r5_whoever_began_before_all_was_used_up_does_not_shut_others_out(time):
    """R5: an answer under way and one that is asked for then get the same from moment to moment."""
    budget = make_budget(time, shared={"bytes": {"per_second": 1e6, "burst": 1e7}})
    first, second = Visit(time), Visit(time, host="192.0.2.2")
    app = throttled(answering(*[bytes(2**20)] * 40), budget, time)

    async def later():
        await time.sleep(1)
        await second.ask(app)

    time.run(first.ask(app), later())
    during = [(at_s, len(piece)) for at_s, piece in first.chunks if second.chunks[0][0] < at_s]
    shared_s = during[-1][0]
    begun = sum(size for _, size in during)
    later_bytes = sum(len(piece) for at_s, piece in second.chunks if at_s <= shared_s)
    assert 0.9 < later_bytes / begun < 1.1
    assert begun + later_bytes <= 1e6 * shared_s


def test_a_client_too_deep_in_debt_is_refused_and_the_others_are_not(time):
    budget = make_budget(time, client={"bytes": {"per_second": 1e5, "burst": 1e5}})
    app = throttled(answering(bytes(2**20)), budget, time)
    asked = visits(time, 40)

    async def one_after_the_other():
        tasks = []
        for visit in asked:
            tasks.append(asyncio.ensure_future(visit.ask(app)))
            await time.settle()
        other = await Visit(time, host="192.0.2.9").ask(throttled(answering(b"ok"), budget, time))
        await asyncio.gather(*tasks)
        return other

    [other] = time.run(one_after_the_other())
    refused = [visit for visit in asked if visit.status == 429]
    assert other.status == 200
    assert 0 < len(refused) < 40
    assert json.loads(refused[0].content)["violated-policies"] == ["client-bytes"]
    assert all(len(visit.content) == 2**20 for visit in asked if visit.status == 200)


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/quota"])
def test_cheap_answers_work_without_bytes(time, path):
    budget = make_budget(time, shared={"bytes": {"per_second": 1, "burst": 20_000}})
    app = throttled(answering(b"x" * 300), budget, time)
    spent = Visit(time)
    ask_all(time, app, [spent])
    budget.owe(spent.record.account, 20_000)
    assert ask_all(time, app, [*visits(time, 3, path=path), Visit(time)]) == [200, 200, 200, 503]


def test_no_way_around_the_meter_is_offered(time):
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["extensions"])
        await answering(b"")(scope, receive, send)

    offered = {"http.response.pathsend": {}, "http.response.trailers": {}}
    ask_all(time, throttled(app, make_budget(time), time), [Visit(time, extensions=offered)])
    assert seen == [{"http.response.trailers": {}}]


# Refusals


@pytest.mark.parametrize("burst", [1, 3, 10])
@pytest.mark.parametrize("per_second", [0.3, 1, 2.5, 7])
def test_waiting_retry_after_always_succeeds(time, per_second, burst):
    requests = {"per_second": per_second, "burst": burst}
    budget = make_budget(time, client={"requests": requests}, hold=NO_HOLD)
    app = throttled(answering(b"ok"), budget, time)
    for _ in range(20):
        asked = visits(time, burst + 2)
        ask_all(time, app, asked)
        assert asked[-1].status == 429
        time.now_s += int(asked[-1].answer_headers["retry-after"])
        again = Visit(time)
        ask_all(time, app, [again])
        assert again.status == 200


@pytest.mark.parametrize("who", ["client", "shared"])
def test_waiting_retry_after_succeeds_for_bytes_too(time, who):
    budget = make_budget(time, **{who: {"bytes": {"per_second": 2000, "burst": 5000}}}, hold=NO_HOLD)
    app, big = throttled(answering(b"ok"), budget, time), throttled(answering(bytes(5000)), budget, time)
    for number in range(20):
        first, second = Visit(time), Visit(time)

        async def both(first=first, second=second):
            sending = asyncio.ensure_future(first.ask(big))
            await time.settle()
            await second.ask(app)
            await sending

        time.run(both())
        assert second.status == (429 if who == "client" else 503), number
        told_at_s, wait_s = second.started_s, int(second.answer_headers["retry-after"])
        time.now_s = max(time.now_s, time.start + told_at_s + wait_s)
        again = Visit(time)
        ask_all(time, app, [again])
        assert again.status == 200
        time.now_s += 10


def test_who_is_over_his_own_limit_is_told_that_alone_but_waits_for_both(time):
    bytes_left = {"bytes": {"per_second": 100, "burst": 1}}
    requests = {"requests": {"per_second": 1, "burst": 1}}
    budget = make_budget(time, shared=bytes_left, client=requests, hold=NO_HOLD)
    app = throttled(answering(bytes(2000)), budget, time)
    first, second = Visit(time), Visit(time)
    time.run(first.ask(app), second.ask(app))
    assert second.status == 429
    assert json.loads(second.content)["violated-policies"] == ["client-requests"]
    assert int(second.answer_headers["retry-after"]) == 1 + (2000 + 100 + REFUSAL_BYTES) // 100


def test_a_refusal_says_what_how_long_and_what_to_do(time):
    budget = make_budget(time, client={"requests": {"per_second": 0.5, "burst": 1}}, hold=NO_HOLD)
    asked = visits(time, 2)
    ask_all(time, throttled(answering(b"ok"), budget, time), asked)
    refused = asked[1]
    assert refused.status == 429
    assert refused.answer_headers == {
        "content-type": "application/problem+json",
        "content-length": str(len(refused.content)),
        "cache-control": "no-store",
        "vary": "accept",
        "retry-after": "3",
        "ratelimit-policy": '"client-requests";q=1;qu="requests";w=2',
        "ratelimit": '"client-requests";r=0;t=3',
    }
    assert json.loads(refused.content) == {
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "You have used up your allowance for the moment",
        "status": 429,
        "detail": "Your address has used up its requests (0.5 a second, 1 at once). "
        "Wait 3 seconds, then send the same request again; /quota tells where you stand.",
        "violated-policies": ["client-requests"],
    }
    assert refused.record.refused.short[0].name == "client-requests"


def test_a_refusal_is_paid_for(time):
    budget = make_budget(time, client={"requests": {"per_second": 1e-3, "burst": 1}}, hold=NO_HOLD)
    asked = visits(time, 6)
    ask_all(time, throttled(answering(b""), budget, time), asked)
    assert (
        budget.run(budget.telling_shared()) == 1e9 - BYTES - 5 * REFUSAL_BYTES
    )  # who was served has a lease
    assert all(len(visit.content) + 400 < REFUSAL_BYTES for visit in asked)


def test_the_callers_standing_is_all_that_is_told(time):
    budget = make_budget(time, client={"requests": {"per_second": 2, "burst": 10}})
    asked = visits(time, 4)
    ask_all(time, throttled(answering(b""), budget, time), asked)
    standing = budget.run(budget.telling(asked[0].record.account))
    assert [line.policy for line in standing] == [
        "client-requests",
        "client-concurrent-requests",
        "client-bytes",
        "search-requests",
        "render-requests",
        "store-requests",
        "transcode-requests",
    ]
    assert (standing[0].capacity, standing[0].remaining, standing[0].seconds_to_full) == (10, 6, 2)


# Clients that leave


def endless(sent):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": bytes(2**16), "more_body": True})
            sent.append(2**16)
            assert len(sent) < 10_000, "nobody told it to stop"

    return app


def leave_after(time, visit, seconds):
    async def leaving():
        await time.sleep(seconds)
        visit.leave()

    return leaving()


def test_a_client_that_leaves_while_paced_stops_the_producer_and_the_charging(time):
    slow = {"bytes": {"per_second": 2**16, "burst": 2**16}}
    budget = make_budget(time, client=slow, shared={"bytes": {"per_second": 1e-6, "burst": 1e9}})
    visit, sent = Visit(time), []
    time.run(visit.ask(throttled(endless(sent), budget, time)), leave_after(time, visit, 10.5))
    assert visit.record.is_gone
    assert len(sent) == 11
    assert round(1e9 - budget.run(budget.telling_shared())) == visit.record.bytes_charged == 11 * 2**16 + 100


def test_a_client_that_leaves_while_nobody_waits_stops_the_producer_soon(time):
    budget, visit, sent = (
        make_budget(time, shared={"bytes": {"per_second": 1, "burst": 1e12}}),
        Visit(time),
        [],
    )

    async def leave_soon():
        await asyncio.sleep(0)
        visit.leave()

    time.run(visit.ask(throttled(endless(sent), budget, time)), leave_soon())
    assert visit.record.is_gone
    assert sum(sent) <= 4 * 2**20


def test_a_client_that_leaves_the_queue_gives_its_place_back(time):
    calls = []

    async def app(scope, receive, send):
        calls.append(scope)
        await answering(b"")(scope, receive, send)

    budget = make_budget(time, client={"requests": {"per_second": 1, "burst": 1}})
    limited = throttled(app, budget, time)
    first, waiting = Visit(time), Visit(time)
    time.run(first.ask(limited), waiting.ask(limited), leave_after(time, waiting, 0.5))
    assert len(calls) == 1
    assert (waiting.status, waiting.record.is_gone) == (0, True)
    [requests, *_] = budget.run(budget.telling(first.record.account))
    assert requests.seconds_to_full == 1


def test_what_was_read_ahead_is_given_to_the_application(time):
    """The mailbox is read by one reader, a piece of an unread body at most, and nothing is lost."""
    got, read_ahead = [], []

    async def app(scope, receive, send):
        read_ahead.append(sum(visit.pieces_read for visit in asked) - len(got))
        more = True
        while more:
            message = await receive()
            got.append(message["body"])
            more = message["more_body"]
        await answering(b"thanks")(scope, receive, send)
        assert (await receive())["type"] == "http.disconnect"
        assert (await receive())["type"] == "http.disconnect"

    budget = make_budget(time, client={"requests": {"per_second": 1, "burst": 1}})
    limited = throttled(app, budget, time)
    asked = [Visit(time, method="POST", body=(b"one", b"two", b"three")) for _ in range(2)]
    time.run(*(visit.ask(limited) for visit in asked))
    assert sorted(got) == sorted([b"one", b"two", b"three"] * 2)
    assert [visit.status for visit in asked] == [200, 200]
    assert max(visit.most_readers for visit in asked) == 1
    assert read_ahead == [0, 1]


@pytest.mark.parametrize("first", ["listens", "sends"])
def test_an_application_that_listens_for_itself_is_not_disturbed(time, first):
    async def app(scope, receive, send):
        async def listen():
            while (await receive())["type"] != "http.disconnect":
                pass

        listening = asyncio.ensure_future(listen())
        if first == "listens":
            await asyncio.sleep(0)
        await answering(*[bytes(2**16)] * 40)(scope, receive, send)
        await listening

    budget = make_budget(time, client={"bytes": {"per_second": 2**18, "burst": 2**16}})
    visit = Visit(time)
    time.run(visit.ask(throttled(app, budget, time)))
    assert len(visit.content) == 40 * 2**16
    assert visit.most_readers == 1
    assert not visit.record.is_gone


def test_errors_of_the_application_are_not_swallowed(time):
    async def app(scope, receive, send):
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        time.run(Visit(time).ask(throttled(app, make_budget(time), time)))
