"""Nobody is ever given more than burst + rate x T; damage is neither a gift nor a debt without end."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.throttle.bucket import refill, seconds_until, whole_seconds

rates = st.floats(0.01, 1e8)
bursts = st.floats(1, 1e10)
gaps = st.lists(st.tuples(st.floats(0, 100), st.integers(1, 1000)), max_size=60)


@settings(deadline=None)
@given(rates, bursts, gaps)
def test_never_more_is_granted_than_burst_plus_rate_times_time(per_second, burst, steps):
    now, tokens, granted, updated_at = 0.0, burst, 0, 0.0
    for gap, amount in steps:
        now += gap
        balance = refill(tokens, updated_at, per_second, burst, now)
        if balance >= amount:
            granted += amount
            tokens, updated_at = balance - amount, now
        assert granted <= (burst + per_second * now) * (1 + 1e-9)


@settings(deadline=None)
@given(rates, bursts, gaps)
def test_sending_when_the_debt_is_paid_keeps_to_the_same_bound(per_second, burst, steps):
    """Whoever charges first and sends `seconds_until(balance, 0)` later never sends ahead of the plan."""
    now, tokens, sent = 0.0, burst, 0
    for gap, amount in steps:
        balance = refill(tokens, now, per_second, burst, now + gap) - amount
        wait_s = seconds_until(balance, 0, per_second)
        if wait_s > 3600:
            break
        now, tokens, sent = now + gap, balance, sent + amount
        assert sent <= (burst + per_second * (now + wait_s)) * (1 + 1e-9)


@settings(deadline=None)
@given(rates, bursts, st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_waiting_as_told_is_enough(per_second, burst, tokens, wanted):
    tokens, wanted = min(tokens, burst), min(wanted, burst)
    if tokens < -burst - 3600 * per_second:
        return
    wait_s = seconds_until(tokens, wanted, per_second)
    balance = refill(tokens, 1000.0, per_second, burst, 1000.0 + wait_s)
    assert balance == pytest.approx(wanted, rel=1e-6, abs=1e-4 * per_second) or balance >= wanted


@settings(deadline=None)
@given(st.floats(0, 1e9))
def test_retry_after_is_whole_and_later_than_the_truth(seconds):
    assert seconds < whole_seconds(seconds) <= seconds + 1 + 1e-6


def test_a_clock_that_steps_back_adds_nothing():
    assert refill(3.0, 100.0, 10, 50, 99.0) == 3.0
    assert refill(3.0, 100.0, 10, 50, 100.0) == 3.0
    assert refill(3.0, 100.0, 10, 50, 101.0) == 13.0


@pytest.mark.parametrize(
    ("tokens", "updated_at"),
    [
        (math.nan, 0.0),
        (5.0, math.nan),
        (math.inf, 0.0),
        (-math.inf, 0.0),
        (5.0, 1e12),
        (5.0, math.inf),
        (-1e15, 0.0),
    ],
)
def test_a_damaged_bucket_is_empty(tokens, updated_at):
    assert refill(tokens, updated_at, 10, 50, 100.0) == 0.0


def test_a_burst_that_was_lowered_holds_at_once():
    assert refill(500.0, 100.0, 10, 50, 100.0) == 50
