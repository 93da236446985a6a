"""A policy in words and numbers: what a client gets, and what the worst month costs."""

from typing import Any

from app.throttle.cost import GB, LONGEST_MONTH_S, affordable, worst_month_bytes
from app.throttle.policy import ROUTE_KINDS, Allowance, Policy


def explain(policy: Policy, processes: int) -> dict[str, Any]:
    """Return the figures of a policy that so many processes share, for programs."""
    cost, shared = policy.cost, policy.shared
    worst_bytes = worst_month_bytes(shared.bytes.per_second, shared.bytes.burst, processes)
    return {
        "shared": {
            "follows_from_cost": _follows(policy, processes),
            **_allowance(shared.bytes),
            "bytes_per_day": shared.bytes_per_day or None,
            "bytes_per_month": shared.bytes_per_month or None,
        },
        "client": {
            "requests": _allowance(policy.client.requests),
            "concurrent_requests": policy.client.concurrent_requests,
            "bytes": _allowance(policy.client.bytes),
            "bytes_per_day": policy.client.bytes_per_day or None,
            "bytes_per_month": policy.client.bytes_per_month or None,
            **{kind: _allowance(policy.route(kind)) for kind in ROUTE_KINDS},
        },
        "subnet_factor": policy.subnet.factor,
        "token_factor": policy.token.factor,
        "classes": [
            {"name": each.name, "treatment": each.treatment, "factor": each.factor} for each in policy.classes
        ],
        "hold_s": policy.hold.longest_s,
        "processes": processes,
        "worst_month": {
            "days": LONGEST_MONTH_S / 86_400,
            "bytes": round(worst_bytes),
            "cost": round(cost.price(worst_bytes), 2) if cost.per_gb else None,
        },
        "cost": cost.model_dump(),
    }


def in_words(policy: Policy, processes: int) -> list[str]:
    """Return the same as sentences, one a line."""
    client, shared = policy.client, policy.shared
    together = f"{amount(shared.bytes.per_second)} a second, {amount(shared.bytes.burst)} at once"
    alone = f"{amount(client.bytes.per_second)} a second, {amount(client.bytes.burst)} at once"
    a_day = amount(_in_a_day(client.bytes))
    return [
        *_cost_in_words(policy, processes),
        "",
        f"All clients together get {together}{_quotas(shared.bytes_per_day, shared.bytes_per_month)}.",
        "When that is used up, new requests get 503.",
        "",
        "An address (IPv4, or an IPv6 /64) gets",
        f"  bytes      {alone}{_quotas(client.bytes_per_day, client.bytes_per_month)}",
        f"  requests   {_rate(client.requests)}, {client.concurrent_requests} at a time",
        *(f"  {kind:<10} {_rate(policy.route(kind))}" for kind in ROUTE_KINDS),
        f"and a token {policy.token.factor:g} times that. The addresses of one IPv4 /24 or IPv6 /48 together",
        f"get {policy.subnet.factor:g} times the bytes of one.",
        *(_class_in_words(each.name, each.treatment, each.factor) for each in policy.classes),
        f"What is over such a limit waits for {policy.hold.longest_s:g} s at most, and gets 429 beyond.",
        f"In a day an address gets at most {a_day}, and all together {amount(_in_a_day(shared.bytes))}.",
    ]


def amount(number: float) -> str:
    """Return bytes as people write them."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= scale:
            return f"{number / scale:.3g} {unit}" if number < 1000 * scale else f"{number / scale:.0f} {unit}"
    return f"{number:.0f} bytes"


def _cost_in_words(policy: Policy, processes: int) -> list[str]:
    cost, shared = policy.cost, policy.shared.bytes
    worst_bytes = worst_month_bytes(shared.per_second, shared.burst, processes)
    worst = f"The worst month of 31 days sends {amount(worst_bytes)}"
    if cost.per_gb is None:
        return [f"{worst}. What that costs is not known: [cost] per_gb is not set."]
    price = f"{cost.price(worst_bytes):.2f} {cost.currency}"
    free = f", {cost.free_gb:g} GB of it free" if cost.free_gb else ""
    how = f"{cost.overhead:g} times {worst_bytes / GB:.1f} GB at {cost.per_gb:g} a GB{free}"
    lines = [f"{worst} and costs {price}: {how}."]
    if cost.per_month is not None:
        allowed = f"{cost.per_month:g} {cost.currency} a month"
        if _follows(policy, processes):
            lines.append(f"The rate of all together follows from the {allowed} that are allowed.")
        elif cost.price(worst_bytes) > cost.per_month:
            lines.append(
                f"That is more than the {allowed} that are allowed: [shared] bytes are set, and win."
            )
    return lines


def _follows(policy: Policy, processes: int) -> bool:
    """Say whether the rate of all together is what the sum of money buys."""
    if policy.cost.per_month is None:
        return False
    shared = policy.shared.bytes
    return (shared.per_second, shared.burst) == affordable(policy.cost, processes)


def _allowance(allowance: Allowance) -> dict[str, float]:
    return {"per_second": allowance.per_second, "burst": allowance.burst}


def _rate(allowance: Allowance) -> str:
    return f"{allowance.per_second:g} a second, {allowance.burst:g} at once"


def _quotas(per_day: float, per_month: float) -> str:
    quotas = [f"{amount(most)} a {name}" for most, name in ((per_day, "day"), (per_month, "month")) if most]
    return f"; no more than {' and '.join(quotas)}" if quotas else ""


def _class_in_words(name: str, treatment: str, factor: float) -> str:
    what = {
        "limited": f"{factor:g} times what is said above",
        "unlimited": "only the limits of all together",
        "denied": "403",
    }
    return f"Class {name} gets {what[treatment]}."


def _in_a_day(allowance: Allowance) -> float:
    return allowance.burst + 86_400 * allowance.per_second
