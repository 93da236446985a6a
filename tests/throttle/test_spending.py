"""What the budget charges is what the month is said to have sent, and what the gauges price."""

from datetime import UTC, datetime

import pytest

from app.throttle.budget import REFUSAL_BYTES, Budget
from app.throttle.clients import Client
from app.throttle.cost import GB, Cost, reserve_bytes
from app.throttle.ledger import DAY_S, Ledger
from app.throttle.stores import MemoryStore
from app.throttle.verdicts import Refusal
from app.web.spending import spending_gauges
from tests.throttle.virtual import policy

START = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
COST = {"per_month": 100.0, "per_gb": 0.5, "currency": "EUR", "overhead": 1.0}


@pytest.fixture
def opened(tmp_path):
    def start(**sections):
        wall = lambda: START + 10 * DAY_S  # noqa: E731
        ledger = Ledger(tmp_path / "spending", Cost(), wall)
        return Budget(policy(**sections), MemoryStore(64), lambda: 1000.0, wall, ledger)

    return start


def sent(budget):
    return budget.month().sent_bytes


def test_all_that_is_charged_is_noted_and_nothing_else(opened):
    budget = opened(shared={"bytes": {"per_second": 1.0, "burst": 1e8}})
    account = budget.account(Client("ip:192.0.2.1"))
    assert budget.admit(account) == 0.0  # takes bytes ahead, which nobody has sent yet
    assert sent(budget) == 0
    assert budget.spend(account, 1000)
    assert budget.spend(account, 10**7)
    assert not budget.spend(account, 10**9)
    assert sent(budget) == 10**7 + 1000
    budget.owe(account, 10**8)
    budget.owe(account, -500)
    assert sent(budget) == 11 * 10**7 + 500
    assert isinstance(budget.admit(budget.account(Client("ip:192.0.2.2"))), Refusal)
    assert sent(budget) == 11 * 10**7 + 500 + REFUSAL_BYTES
    budget.close()


def gauges(budget):
    found = spending_gauges(budget, budget.run(budget.telling_shared()), START + 10 * DAY_S)
    return {gauge.name: gauge.samples[0] for gauge in found}


def test_the_gauges_price_the_month_and_what_it_comes_to(opened):
    budget = opened(cost=COST, shared={"bytes": {"per_second": 1e6, "burst": 50e9}})
    budget.owe(budget.account(Client("ip:192.0.2.1")), int(20 * GB))
    told = gauges(budget)
    assert told["dermzoo_global_balance_bytes"].value == 30 * GB
    assert told["dermzoo_month_sent_bytes"].value == 20 * GB
    assert told["dermzoo_month_cost"].value == 10
    assert told["dermzoo_month_forecast_bytes"].value == 60 * GB  # ten days of thirty
    assert told["dermzoo_month_forecast_cost"].value == 30
    assert told["dermzoo_month_allowed_cost"].value == 100
    assert told["dermzoo_month_cost"].labels == {"currency": "EUR"}
    budget.close()


def test_a_forecast_is_no_more_than_the_bucket_gives(opened):
    burst = 30 * GB
    budget = opened(cost=COST, shared={"bytes": {"per_second": 1000.0, "burst": burst}})
    budget.owe(budget.account(Client("ip:192.0.2.1")), int(25 * GB))
    most = 25 * GB + 5 * GB + 1000 * 20 * DAY_S + 2 * reserve_bytes(burst)
    assert gauges(budget)["dermzoo_month_forecast_bytes"].value == pytest.approx(most)
    budget.close()


def test_without_a_price_there_are_bytes_alone(opened):
    budget = opened()
    assert set(gauges(budget)) == {
        "dermzoo_global_balance_bytes",
        "dermzoo_month_sent_bytes",
        "dermzoo_month_forecast_bytes",
    }
    budget.close()
