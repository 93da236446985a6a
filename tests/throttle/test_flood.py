"""O1 at the door: whatever is asked by however many, no more bytes go out than the sum of money bought."""

import pytest

from app.throttle.budget import REFUSAL_BYTES
from app.throttle.classes import ClientClass
from app.throttle.cost import reserve_bytes
from app.throttle.middleware import ABORT
from tests.throttle.virtual import VirtualTime, Visit, answering, make_budget, throttled

RATE, BURST, HOLD_S = 2_000, 60_000, 2
ASKED = 900


def sent_bytes(visit):
    head = sum(len(name) + len(value) + 4 for name, value in visit.answer_headers.items())
    return head + len(visit.content) + (100 if visit.status else 0)


@pytest.mark.parametrize("path", ["/", "/livez"], ids=["images", "health checks"])
@pytest.mark.parametrize("is_denied", [False, True], ids=["anybody", "denied"])
def test_no_flood_sends_more_than_was_bought(path, is_denied):
    time = VirtualTime()
    shared = {"bytes": {"per_second": RATE, "burst": BURST}}
    budget = make_budget(time, shared=shared, hold={"longest_s": HOLD_S})
    if is_denied:
        denied = ClientClass.model_validate(
            {"name": "flood", "treatment": "denied", "networks": ["198.18.0.0/15"]}
        )
        budget.renew(budget.policy.model_copy(update={"classes": (denied,)}))
    app = throttled(answering(bytes(500)), budget, time)
    visits = [Visit(time, path, host=f"198.18.{n // 250}.{n % 250}") for n in range(ASKED)]

    async def ask(visit, at_s):
        visit.scope[ABORT] = visit.leave
        await time.sleep(at_s)
        return await visit.ask(app)

    time.run(*(ask(visit, 100.0 * (n * 3 // ASKED)) for n, visit in enumerate(visits)))
    # Each may be one refusal beyond; held ones and those let in at the last byte.
    most = BURST + 2 * reserve_bytes(BURST) + RATE * (time.elapsed_s + HOLD_S) + 10 * REFUSAL_BYTES
    assert sum(map(sent_bytes, visits)) <= most
    assert time.elapsed_s <= 200 + 100
    hung_up = [visit for visit in visits if visit.record.is_hung_up]
    assert hung_up
    assert all(not visit.status for visit in hung_up)
    assert sum(visit.status == (403 if is_denied else 200) for visit in visits) > 30


def test_a_server_that_cannot_hang_up_answers_later():
    time = VirtualTime()
    budget = make_budget(
        time, shared={"bytes": {"per_second": RATE, "burst": BURST}}, hold={"longest_s": HOLD_S}
    )
    visits = [Visit(time, host=f"198.18.{n // 250}.{n % 250}") for n in range(300)]
    app = throttled(answering(bytes(500)), budget, time)
    time.run(*(visit.ask(app) for visit in visits))
    assert all(visit.status in {200, 503} for visit in visits)
    most = BURST + reserve_bytes(BURST) + RATE * time.elapsed_s + 10 * REFUSAL_BYTES
    assert sum(map(sent_bytes, visits)) <= most
