"""How much is allowed: rates and bursts, read from `config/throttle.toml` over the defaults below.

The file that ships says why each figure is what it is; a test keeps it equal to these defaults.
"""

import logging
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.errors import SettingsError
from app.throttle.classes import ClientClass
from app.throttle.cost import Cost, affordable, worst_month_bytes

RouteKind = Literal["search", "render", "store", "transcode"]
ROUTE_KINDS: tuple[RouteKind, ...] = ("search", "render", "store", "transcode")

logger = logging.getLogger("dermzoo.budget")

Rate = Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)]
Burst = Annotated[float, Field(ge=1, le=1e14, allow_inf_nan=False)]


# Beside the rates, in a day or month of the calendar in UTC; 0 is no quota.
Quota = Annotated[float, Field(ge=0, le=1e18, allow_inf_nan=False)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Allowance(_Section):
    """One bucket: what it gains each second, and what it holds when full."""

    per_second: Rate
    burst: Burst


class Shared(_Section):
    """What all clients have together."""

    bytes: Allowance = Allowance(per_second=50e6, burst=10e9)
    bytes_per_day: Quota = 0
    bytes_per_month: Quota = 0
    finish_s: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] = 60


class PerClient(_Section):
    """What each address has, or, multiplied, each token."""

    requests: Allowance = Allowance(per_second=50, burst=2000)
    concurrent_requests: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    bytes: Allowance = Allowance(per_second=4e6, burst=512e6)
    bytes_per_day: Quota = 0
    bytes_per_month: Quota = 0


class PerSubnet(_Section):
    """What the addresses of one IPv4 /24 or IPv6 /48 have together: so often the bytes of one of them."""

    factor: Annotated[float, Field(ge=1, le=1e6, allow_inf_nan=False)] = 4


class PerToken(_Section):
    """What a token's own buckets are multiplied by."""

    factor: Annotated[float, Field(ge=1, le=1e6, allow_inf_nan=False)] = 10


class Holding(_Section):
    """How a burst is queued rather than refused."""

    longest_s: Annotated[float, Field(ge=0, le=300, allow_inf_nan=False)] = 10
    requests_per_client: Annotated[int, Field(ge=0, le=100_000)] = 1000


class Routes(_Section):
    """Requests to the costly routes, per client, beside the client's requests in all."""

    search: Allowance = Allowance(per_second=20, burst=500)
    render: Allowance = Allowance(per_second=20, burst=1000)
    store: Allowance = Allowance(per_second=10, burst=200)
    transcode: Allowance = Allowance(per_second=10, burst=500)


class RefusalText(_Section):
    """What the operator has to say to those who want more: where to get it all at once."""

    text: Annotated[str, Field(max_length=1000)] = ""
    link: Annotated[str, Field(max_length=1000, pattern=r"^(https?://\S+)?$")] = ""


class Upstream(_Section):
    """What all clients together may draw from one archive behind the proxy."""

    requests: Allowance = Allowance(per_second=20, burst=200)
    bytes: Allowance = Allowance(per_second=20e6, burst=2e9)


class Policy(_Section):
    """All rates and bursts; the sections are those of the file."""

    classes: Annotated[tuple[ClientClass, ...], Field(strict=False)] = ()
    shared: Shared = Shared()
    client: PerClient = PerClient()
    subnet: PerSubnet = PerSubnet()
    token: PerToken = PerToken()
    hold: Holding = Holding()
    routes: Routes = Routes()
    upstream: Upstream = Upstream()
    upstreams: dict[str, Upstream] = {}
    cost: Cost = Cost()
    refusal: RefusalText = RefusalText()

    def route(self, kind: RouteKind) -> Allowance:
        """Return the allowance of a costly route."""
        allowance: Allowance = getattr(self.routes, kind)
        return allowance

    def upstream_named(self, name: str) -> Upstream:
        """Return what may be drawn from an upstream: its own section, or what all others have."""
        return self.upstreams.get(name, self.upstream)


def load_policy(path: Path, processes: int = 1) -> Policy:
    """Read the policy file; a file that is not there means the defaults.

    Where a sum of money is given and no shared bytes, so many processes share what the sum buys.

    Raises SettingsError naming the file and the key.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Policy()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"cannot read the rates in {path}: {error}") from error
    try:
        return _within_cost(Policy.model_validate(content), processes)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{path}: {key}: {first['msg']} (found {first['input']!r})") from error


def _within_cost(policy: Policy, processes: int) -> Policy:
    """Return the policy with the shared bytes that its money buys; explicit ones win, and are warned of."""
    cost, shared = policy.cost, policy.shared.bytes
    if cost.per_month is None:
        return policy
    if "bytes" not in policy.shared.model_fields_set:
        per_second, burst = affordable(cost, processes)
        bought = {"bytes": Allowance(per_second=per_second, burst=burst)}
        return policy.model_copy(update={"shared": policy.shared.model_copy(update=bought)})
    worst = cost.price(worst_month_bytes(shared.per_second, shared.burst, processes))
    if worst > cost.per_month:
        logger.warning(
            "[shared] bytes may cost more than [cost] per_month; leave out [shared] bytes to keep to it",
            extra={"facts": {"worst_month": round(worst, 2), "per_month": cost.per_month}},
        )
    return policy
