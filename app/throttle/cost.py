"""What the bytes cost: the worst month of a bucket, and the bucket for a sum of money.

In a month of T seconds there go out at most `burst + per_second * T` bytes that were charged in it, what was
charged ahead before it began, and a reserve: refusals and answers to health checks, which are sent although
the bucket is empty, until its debt is twice the reserve. Times the network's overhead, less what is free.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.errors import SettingsError
from app.throttle import leases

LONGEST_MONTH_S = 31 * 86_400.0
GB = 1e9
LARGEST_BURST_BYTES = 10e9
BURST_SHARE = 0.1  # of the month: what a few days' crowd may spend at once
LARGEST_RESERVE_BYTES = 64 * 2**20
AHEAD_BYTES = leases.MOST_CLIENTS * leases.BYTES  # of one process

Money = Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)]


class Cost(BaseModel):
    """What a GB costs, and what a month may."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    per_month: Money | None = None
    per_gb: Money | None = None
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "USD"
    overhead: Annotated[float, Field(ge=1, le=10, allow_inf_nan=False)] = 1.05
    free_gb: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)] = 0

    @model_validator(mode="after")
    def _has_price(self) -> "Cost":
        if self.per_month is not None and self.per_gb is None:
            raise ValueError("per_month needs per_gb, the price of a GB")
        return self

    def price(self, content_bytes: float) -> float:
        """Return what so many bytes of answers cost in one month; 0 without a price."""
        billed = max(0.0, content_bytes * self.overhead - self.free_gb * GB)
        return billed / GB * (self.per_gb or 0.0)


def reserve_bytes(burst: float) -> float:
    """Return the debt of the shared bucket beyond which no refusal is sent; beyond twice, nothing is."""
    return min(LARGEST_RESERVE_BYTES, burst / 10)


def worst_month_bytes(per_second: float, burst: float, processes: int = 1) -> float:
    """Return the most bytes of answers that go out in a month of 31 days."""
    return burst + 2 * reserve_bytes(burst) + per_second * LONGEST_MONTH_S + AHEAD_BYTES * processes


def affordable(cost: Cost, processes: int = 1) -> tuple[float, float]:
    """Return the bytes a second and the burst whose worst month costs no more than `per_month`.

    Raises SettingsError when the sum does not buy a bucket at all.
    """
    assert cost.per_month is not None
    assert cost.per_gb is not None
    month_bytes = (cost.per_month / cost.per_gb + cost.free_gb) * GB / cost.overhead
    burst = float(int(min(LARGEST_BURST_BYTES, BURST_SHARE * month_bytes)))
    fixed = worst_month_bytes(0, burst, processes)
    # A millionth is left, more than the rounding of any step.
    per_second = (month_bytes * (1 - 1e-6) - fixed) / LONGEST_MONTH_S
    if per_second <= 0 or burst < 1:
        least = cost.price(AHEAD_BYTES * processes / 0.85)  # a burst and its reserves take 12 %
        raise SettingsError(
            f"cost.per_month: {cost.per_month:g} {cost.currency} do not pay for {processes} processes; "
            f"at {cost.per_gb:g} a GB they need {least:.2g}"
        )
    return min(per_second, 1e12), burst
