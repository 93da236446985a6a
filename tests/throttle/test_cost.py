"""O1: no pattern of traffic costs more than the month's figure."""

import logging

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from app.errors import SettingsError
from app.throttle.bucket import Bucket, Draw
from app.throttle.cost import (
    AHEAD_BYTES,
    GB,
    LONGEST_MONTH_S,
    Cost,
    affordable,
    reserve_bytes,
    worst_month_bytes,
)
from app.throttle.policy import Policy, load_policy
from app.throttle.stores import MemoryStore

costs = st.builds(
    Cost,
    per_month=st.floats(0.01, 500),
    per_gb=st.floats(0.05, 10),
    overhead=st.floats(1, 1.5),
    free_gb=st.one_of(st.just(0.0), st.floats(0, 1e3)),
)
# Asked for at a moment of the month, in parts of the burst; much and little.
pulls = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 3)), max_size=60)


def bought(cost, processes=4):
    try:
        return affordable(cost, processes)
    except SettingsError:
        assume(False)


@given(costs, pulls, st.floats(0, 1), st.booleans())
@example(Cost(per_month=50.0, per_gb=0.12), [], 1.0, True)
def test_no_pattern_of_traffic_costs_more(cost, pulls, ahead, is_steady):
    """O1, through the bucket's own arithmetic: what a month charges, what the last one did, the reserve."""
    per_second, burst = bought(cost)
    store = MemoryStore(16)
    shared = Bucket(store.key("global"), per_second, burst, pinned=True)
    sent = ahead * AHEAD_BYTES * 4  # charged last month by four processes, sent in this one
    steps = int(per_second * LONGEST_MONTH_S / burst) + 1 if is_steady else 1  # before it is full again
    steady = [(step / steps, 1.0) for step in range(steps + 1)]
    for moment, part in sorted([*steady, *pulls]):
        [balance] = store.peek([shared], 1.0 + moment * LONGEST_MONTH_S)
        wanted = min(part * burst, max(0.0, balance))
        granted, _ = store.take([Draw(shared, wanted, wanted)], 1.0 + moment * LONGEST_MONTH_S)
        sent += wanted if granted else 0
    # Refusals at the end, until the debt is so deep that none are sent.
    sent += 2 * reserve_bytes(burst)
    assert cost.price(sent) <= cost.per_month
    assert sent <= worst_month_bytes(per_second, burst, 4) * (1 + 1e-9)


@given(costs)
def test_what_is_bought_is_nearly_all_that_is_paid_for(cost):
    per_second, burst = bought(cost)
    worst = cost.price(worst_month_bytes(per_second, burst, 4))
    assert worst <= cost.per_month
    assert worst >= cost.per_month * (1 - 1e-4) - cost.free_gb * cost.per_gb * 1e-4


def test_fifty_dollars_at_twelve_cents():
    per_second, burst = affordable(Cost(per_month=50.0, per_gb=0.12))
    assert burst == 10 * GB
    assert per_second == pytest.approx(144_000, rel=0.01)


def test_a_sum_that_buys_nothing_is_refused():
    with pytest.raises(SettingsError, match=r"0\.01 USD do not pay for 64 processes"):
        affordable(Cost(per_month=0.01, per_gb=0.12), 64)


def written(tmp_path, text):
    path = tmp_path / "throttle.toml"
    path.write_text(text)
    return path


def test_the_shared_rate_follows_from_the_sum(tmp_path):
    path = written(
        tmp_path, '[cost]\nper_month = 50\nper_gb = 0.12\ncurrency = "EUR"\n[shared]\nbytes_per_day = 5e9'
    )
    shared = load_policy(path, 2).shared
    assert shared.bytes.per_second == affordable(Cost(per_month=50.0, per_gb=0.12), 2)[0]
    assert shared.bytes_per_day == 5e9


@pytest.mark.parametrize(("per_second", "is_told"), [(1e5, False), (1e6, True)])
def test_explicit_numbers_win_and_are_warned_of_when_they_cost_more(tmp_path, caplog, per_second, is_told):
    path = written(
        tmp_path,
        "[cost]\nper_month = 50\nper_gb = 0.12\n"
        f"[shared]\nbytes = {{ per_second = {per_second}, burst = 1e9 }}",
    )
    with caplog.at_level(logging.WARNING):
        assert load_policy(path).shared.bytes.per_second == per_second
    assert ("may cost more" in caplog.text) is is_told


def test_a_sum_needs_a_price(tmp_path):
    with pytest.raises(SettingsError, match="per_gb"):
        load_policy(written(tmp_path, "[cost]\nper_month = 50"))
    assert Policy().cost.price(1e12) == 0
