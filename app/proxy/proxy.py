"""All upstreams of one process: opened once, passed down."""

import time
from dataclasses import dataclass
from typing import Self

from app.observability.upstreams import UpstreamMetrics
from app.proxy.breaker import Breaker
from app.proxy.cache import Cache
from app.proxy.client import UpstreamClient
from app.proxy.meter import Meter
from app.proxy.service import Service
from app.proxy.upstreams import Upstream, read_upstreams
from app.settings import SERVICE_PATH, Settings
from app.throttle.budget import Budget

PROXY_PATH = "/proxy"


@dataclass(frozen=True)
class Proxy:
    """The services of others, by name, and what is kept of them."""

    services: dict[str, Service]
    cache: Cache

    @classmethod
    def open(
        cls,
        settings: Settings,
        budget: Budget | None,
        metrics: UpstreamMetrics | None = None,
        *,
        is_patient: bool = False,
    ) -> Self:
        """Open what the settings name; raises SettingsError. Who `is_patient` is never refused, and waits."""
        named, counted = read_upstreams(settings), metrics or UpstreamMetrics()
        cache = Cache(settings.data_dir / "cache" / "proxy", named.cache_bytes)

        def service(one: Upstream) -> Service:
            meter = Meter(budget, one.name, counted, is_patient=is_patient)
            breaker = Breaker(time.monotonic, settings.data_dir / "breakers" / one.name)
            client = UpstreamClient(one, breaker=breaker, counted=meter.asked)
            return Service(one, service_root(settings, one.name), cache, client, meter)

        return cls({one.name: service(one) for one in named.upstream}, cache)

    async def close(self) -> None:
        """End what is under way."""
        for service in self.services.values():
            await service.close()


def service_root(settings: Settings, name: str) -> str:
    """Return our address of an upstream."""
    return f"{settings.base_url}{PROXY_PATH}/{name}{SERVICE_PATH}"
