"""The result of a simulation: for programs, for people, and as a chart."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from app.throttle.chart import Series, accumulated, draw
from app.throttle.cost import Cost
from app.throttle.explanation import amount
from app.throttle.policy import Policy
from app.throttle.simulation import Fate, Outcome

COLUMNS = (
    "client",
    "requests",
    "asked_bytes",
    "delivered_bytes",
    "refused_429",
    "refused_503",
    "refused_403",
    "cut",
    "waited_s",
    "longest_wait_s",
    "cost",
)


def rows(outcome: Outcome, cost: Cost) -> list[dict[str, Any]]:
    """Return a row for each client, who got most first; what it costs has its part of what is free."""
    ordered = sorted(outcome.clients.items(), key=lambda item: (-item[1].delivered_bytes, item[0]))
    delivered = outcome.total.delivered_bytes or 1
    price = total_cost(outcome, cost)
    return [_row(key, fate, price * fate.delivered_bytes / delivered) for key, fate in ordered]


def total_cost(outcome: Outcome, cost: Cost) -> float:
    """Return what the trace costs: each month of the calendar by itself, the refusals' bytes among them."""
    return sum(cost.price(sent_bytes) for sent_bytes in outcome.months.values())


def as_json(outcome: Outcome, cost: Cost) -> dict[str, Any]:
    """Return everything but the course of time."""
    return {
        "began_s": outcome.began_s,
        "ended_s": outcome.ended_s,
        "currency": cost.currency,
        "total": _row("all", outcome.total, total_cost(outcome, cost)),
        "months": dict(sorted(outcome.months.items())),
        "clients": rows(outcome, cost),
    }


def as_csv(outcome: Outcome, cost: Cost) -> str:
    """Return the row of each client."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(outcome, cost))
    return text.getvalue()


def as_text(outcome: Outcome, cost: Cost, most: int) -> Iterator[str]:
    """Yield the lines of a table of those who got most, and of all."""
    every = rows(outcome, cost)
    total = _row("all", outcome.total, total_cost(outcome, cost))
    currency = cost.currency if cost.per_gb else ""
    yield (
        f"{'client':<32} {'requests':>9} {'asked for':>10} {'delivered':>10} {'429':>6} {'503':>6} "
        f"{'cut':>5} {'longest wait':>12} {currency:>9}"
    )
    for row in [*every[:most], total]:
        price = f"{row['cost']:.2f}" if cost.per_gb else ""
        yield (
            f"{row['client'][:32]:<32} {row['requests']:>9} {amount(row['asked_bytes']):>10} "
            f"{amount(row['delivered_bytes']):>10} {row['refused_429']:>6} {row['refused_503']:>6} "
            f"{row['cut']:>5} {row['longest_wait_s']:>10.1f} s {price:>9}"
        )
    if len(every) > most:
        yield f"({len(every) - most} clients more)"


def as_chart(outcome: Outcome, policy: Policy) -> str:
    """Return the course of the trace as SVG: what was asked for, what went out, and the most that may."""
    began_s, ended_s = outcome.began_s, max(outcome.ended_s, outcome.began_s + 1)
    asked = accumulated(outcome.asked, began_s, ended_s)
    delivered = accumulated(outcome.delivered, began_s, ended_s)
    shared = policy.shared.bytes
    series = [Series("asked for", "#d55e00", asked, "2 4"), Series("delivered", "#0072b2", delivered)]
    most = [(moment, shared.burst + shared.per_second * (moment - began_s)) for moment, _ in delivered]
    if most[0][1] <= 5 * max(asked[-1][1], 1):  # else it would be the only line to be seen
        highest = max(asked[-1][1], delivered[-1][1]) * 1.5
        series.append(Series("the most that may go out", "#555555", _below(most, highest), "8 4"))
    return draw(f"Bytes out: {amount(delivered[-1][1])} of {amount(asked[-1][1])} asked for", series)


def _below(points: Sequence[tuple[float, float]], highest: float) -> list[tuple[float, float]]:
    """Return the points up to a height."""
    return [point for point in points if point[1] <= highest] or list(points[:1])


def _row(client: str, fate: Fate, price: float) -> dict[str, Any]:
    return {
        "client": client,
        "requests": fate.requests,
        "asked_bytes": fate.asked_bytes,
        "delivered_bytes": fate.delivered_bytes,
        **{f"refused_{status}": fate.refused[status] for status in (429, 503, 403)},
        "cut": fate.cut,
        "waited_s": round(fate.waited_s, 3),
        "longest_wait_s": round(fate.longest_wait_s, 3),
        "cost": round(price, 4),
    }
