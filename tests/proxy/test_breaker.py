"""A server that fails is left alone by all processes together, and one request tries for all of them."""

import fcntl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.proxy.breaker import FAILURES, PAUSE_S, Breaker


class Clock:
    def __init__(self, now=1000.0):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breakers(tmp_path, clock):
    """Those of three processes."""
    made = [Breaker(clock, tmp_path / "breakers" / "up") for _ in range(3)]
    yield made
    for breaker in made:
        breaker.close()


def test_failures_of_all_processes_count_together(breakers, clock):
    for number in range(FAILURES):
        assert breakers[0].wait_s() == 0
        breakers[number % 3].failed()
    assert [breaker.wait_s() for breaker in breakers] == [PAUSE_S] * 3
    clock.now += PAUSE_S - 1
    assert [breaker.left_alone_s() for breaker in breakers] == [1] * 3


def test_one_process_tries_for_all_after_the_pause(breakers, clock):
    for _ in range(FAILURES):
        breakers[0].failed()
    clock.now += PAUSE_S
    assert [breaker.wait_s() for breaker in (breakers[1], breakers[0], breakers[2])] == [0, PAUSE_S, PAUSE_S]
    breakers[1].succeeded()
    assert [breaker.wait_s() for breaker in breakers] == [0] * 3


def test_one_answer_ends_the_row(breakers):
    for breaker in breakers * 2:
        breaker.failed()
        breaker.succeeded()
    assert breakers[0].wait_s() == 0


def test_a_process_that_was_stopped_with_the_file_holds_nobody_up(breakers, tmp_path):
    with (tmp_path / "breakers" / "up").open("r+b") as elsewhere:
        fcntl.flock(elsewhere, fcntl.LOCK_EX)
        for _ in range(FAILURES):
            breakers[0].failed()
        assert breakers[1].wait_s() == PAUSE_S


def test_what_was_noted_before_the_computer_started_is_over(breakers, clock):
    clock.now = 1e6
    for _ in range(FAILURES):
        breakers[0].failed()
    clock.now = 5.0
    assert breakers[1].wait_s() == 0


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 16])
def test_damage_leaves_nobody_alone_for_long(tmp_path, clock, content):
    (tmp_path / "up").write_bytes(content)
    breaker = Breaker(clock, tmp_path / "up")
    assert breaker.wait_s() == 0
    breaker.close()


@given(st.lists(st.sampled_from(["failed", "succeeded", "wait"]), max_size=40))
def test_in_a_file_and_without_one_it_does_the_same(tmp_path_factory, moves):
    clock = Clock()
    kept = Breaker(clock, tmp_path_factory.mktemp("breaker") / "up")
    own = Breaker(clock)
    for move in moves:
        clock.now += 3
        if move == "wait":
            assert kept.wait_s() == own.wait_s()
        else:
            getattr(kept, move)()
            getattr(own, move)()
    kept.close()
