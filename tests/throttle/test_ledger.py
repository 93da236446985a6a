"""What is sent in a month is counted over processes and restarts; each alert is told once."""

import fcntl
import logging
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.throttle.cost import GB, Cost
from app.throttle.ledger import BYTES, DAY_S, LATEST_S, Ledger, forecast_bytes

COST = Cost(per_month=10.0, per_gb=1.0, overhead=1.0)
NOVEMBER = datetime(2026, 11, 21, tzinfo=UTC).timestamp()
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC).timestamp()


class Wall:
    def __init__(self, now=NOVEMBER):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def alerts(caplog):
    caplog.set_level(logging.INFO, "dermzoo.budget")
    return lambda: [record.getMessage().partition(" %")[0] for record in caplog.records if "%" in record.msg]


def test_processes_and_restarts_add_up(tmp_path):
    wall = Wall()
    first, second = (Ledger(tmp_path / "spent", COST, wall) for _ in range(2))
    first.add(BYTES)
    second.add(5)
    second.add(BYTES)
    assert first.month().sent_bytes == second.month().sent_bytes == 2 * BYTES + 5
    first.add(7)  # not brought to the file yet
    first.close()
    assert second.month().sent_bytes == 2 * BYTES + 12
    second.add(-12)
    second.close()
    again = Ledger(tmp_path / "spent", COST, wall)
    assert again.month().sent_bytes == 2 * BYTES
    again.close()


def test_a_quiet_process_brings_its_bytes_with_the_first_ones_after_five_seconds(tmp_path):
    wall = Wall()
    quiet, other = (Ledger(tmp_path / "spent", COST, wall) for _ in range(2))
    quiet.add(1)
    quiet.add(1)
    assert other.month().sent_bytes == 1
    wall.now += LATEST_S
    quiet.add(1)
    assert other.month().sent_bytes == 3
    quiet.close()
    other.close()


def test_each_alert_is_told_once_a_month_whoever_counts(tmp_path, alerts):
    wall = Wall()
    path = tmp_path / "spent"
    told = ["50", "80", "95"]
    for more_gb, expected in ((4.9, 0), (0.2, 1), (0, 1), (3, 2), (1.5, 3), (5, 3)):
        ledger = Ledger(path, COST, wall)  # restarted each time
        ledger.add(int(more_gb * GB))
        ledger.close()
        assert alerts() == told[:expected]
    wall.now = DECEMBER
    ledger = Ledger(path, COST, wall)
    assert ledger.month() == (12 * 2026 + 11, 0, 0)
    assert ledger.month().name == "2026-12"
    ledger.add(int(9.6 * GB))
    ledger.close()
    assert alerts() == ["50", "80", "95", "95"]  # the highest alone


def test_a_clock_set_back_begins_no_month_again(tmp_path, alerts):
    wall = Wall(DECEMBER)
    ledger = Ledger(tmp_path / "spent", COST, wall)
    ledger.add(int(6 * GB))
    wall.now = NOVEMBER
    ledger.add(int(GB))
    assert ledger.month() == (12 * 2026 + 11, 50, 7 * GB)
    ledger.close()
    assert alerts() == ["50"]


def test_without_a_figure_nothing_is_told(tmp_path, alerts):
    ledger = Ledger(tmp_path / "spent", Cost(per_gb=1.0), Wall())
    ledger.add(int(1e15))
    ledger.close()
    assert alerts() == []


def test_a_damaged_file_is_told_of(tmp_path, caplog):
    (tmp_path / "spent").write_bytes(b"garbage")
    ledger = Ledger(tmp_path / "spent", COST, Wall())
    assert ledger.month().sent_bytes == 0
    ledger.close()
    assert "damaged" in caplog.text


@given(st.floats(1e-3, 1e12), st.floats(0, 29.9 * DAY_S))
def test_a_forecast_is_what_a_steady_month_comes_to(per_second, elapsed_s):
    start = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
    forecast = forecast_bytes(per_second * elapsed_s, start + elapsed_s)
    whole = per_second * 30 * DAY_S
    assert forecast <= whole * (1 + 1e-9)
    if elapsed_s >= DAY_S:
        assert forecast == pytest.approx(whole)


def test_while_another_process_holds_the_file_it_adds_up_and_brings_it_later(tmp_path):
    """R8: nobody waits for a process that was stopped while it wrote."""
    ledger = Ledger(tmp_path / "spent", COST, Wall())
    ledger.add(BYTES)
    with (tmp_path / "spent").open("r+b") as elsewhere:
        fcntl.flock(elsewhere, fcntl.LOCK_EX)
        ledger.add(BYTES)
        ledger.add(5)
        assert ledger.month().sent_bytes == 2 * BYTES + 5
    assert ledger.month().sent_bytes == 2 * BYTES + 5
    assert Ledger(tmp_path / "spent", COST, Wall()).month().sent_bytes == 2 * BYTES + 5
