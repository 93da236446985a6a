"""What the month has sent and costs, as gauges for the operator."""

import time

from prometheus_client.core import GaugeMetricFamily

from app.throttle.budget import Budget
from app.throttle.calendar import periods_at
from app.throttle.cost import reserve_bytes
from app.throttle.ledger import forecast_bytes


def spending_gauges(budget: Budget, balance: float, wall_s: float | None = None) -> list[GaugeMetricFamily]:
    """Return the balance of all together, what this month has sent, and with a price, what it costs."""
    now_s = time.time() if wall_s is None else wall_s
    gauges = [GaugeMetricFamily("dermzoo_global_balance_bytes", "Left in the global bucket.", value=balance)]
    month, cost, shared = budget.month(), budget.policy.cost, budget.policy.shared.bytes
    if month is None:
        return gauges
    left_s = periods_at(now_s, now_s).month.until - now_s
    most = max(0.0, balance) + shared.per_second * left_s + 2 * reserve_bytes(shared.burst)
    forecast = min(forecast_bytes(month.sent_bytes, now_s), month.sent_bytes + most)
    gauges += [
        _gauge("sent_bytes", "Bytes of answers charged this month, in UTC.", month.sent_bytes),
        _gauge("forecast_bytes", "What that comes to by the end of the month.", forecast),
    ]
    if cost.per_gb is not None:
        for name, told, value in (
            ("cost", "What this month costs so far.", cost.price(month.sent_bytes)),
            ("forecast_cost", "What this month comes to cost.", cost.price(forecast)),
            ("allowed_cost", "What a month may cost.", cost.per_month),
        ):
            if value is not None:
                gauges.append(_gauge(name, told, value, cost.currency))
    return gauges


def _gauge(name: str, told: str, value: float, currency: str = "") -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(f"dermzoo_month_{name}", told, labels=["currency"] if currency else [])
    gauge.add_metric([currency] if currency else [], value)
    return gauge
