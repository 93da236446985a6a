"""All upstreams of one process: opened once, passed down."""

from dataclasses import dataclass
from typing import Self

from app.proxy.cache import Cache
from app.proxy.client import UpstreamClient
from app.proxy.meter import Meter
from app.proxy.service import Service
from app.proxy.upstreams import read_upstreams
from app.settings import SERVICE_PATH, Settings
from app.throttle.budget import Budget

PROXY_PATH = "/proxy"


@dataclass(frozen=True)
class Proxy:
    """The services of others, by name."""

    services: dict[str, Service]

    @classmethod
    def open(cls, settings: Settings, budget: Budget | None) -> Self:
        """Open what the settings name; raises SettingsError."""
        named = read_upstreams(settings)
        cache = Cache(settings.data_dir / "cache" / "proxy", named.cache_bytes)
        return cls(
            {
                one.name: Service(
                    one,
                    service_root(settings, one.name),
                    cache,
                    UpstreamClient(one),
                    Meter(budget, one.name),
                )
                for one in named.upstream
            }
        )

    async def close(self) -> None:
        """End what is under way."""
        for service in self.services.values():
            await service.close()


def service_root(settings: Settings, name: str) -> str:
    """Return our address of an upstream."""
    return f"{settings.base_url}{PROXY_PATH}/{name}{SERVICE_PATH}"
