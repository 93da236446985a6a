"""Prometheus metrics of other servers behind ours: what is asked of them, and what need not be."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily


class UpstreamMetrics:
    """The counters of one process, in a registry of their own unless one is given."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        self.answers = Counter(
            "dermzoo_proxy_answers",
            "Answers of other servers given on, by what the cache did for them: hit, stale, miss, "
            "shared (with somebody who waited for the same) or passed (not for keeping).",
            ["upstream", "cache"],
            registry=self.registry,
        )
        self.requests = Counter(
            "dermzoo_upstream_requests",
            "Requests sent to other servers, each attempt by itself, by status, or failed, timeout, "
            "unavailable.",
            ["upstream", "outcome"],
            registry=self.registry,
        )
        self.received = Counter(
            "dermzoo_upstream_received_bytes",
            "Bytes of bodies received from other servers.",
            ["upstream"],
            registry=self.registry,
        )


def upstream_gauges(cache_bytes: int, left_alone_s: Mapping[str, float]) -> list[GaugeMetricFamily]:
    """Return the gauges of a moment: the room the cache takes, and which servers are left alone."""
    alone = GaugeMetricFamily(
        "dermzoo_upstream_left_alone",
        "1 while a server that failed again and again is not asked.",
        labels=["upstream"],
    )
    for name, seconds in left_alone_s.items():
        alone.add_metric([name], 1 if seconds > 0 else 0)
    size = GaugeMetricFamily("dermzoo_proxy_cache_bytes", "Kept answers of other servers.", value=cache_bytes)
    return [size, alone]
