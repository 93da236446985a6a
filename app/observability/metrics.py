"""Prometheus metrics, summed over the worker processes of a server."""

import os
from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, multiprocess
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from app.observability.shared_metrics import MULTIPROCESS_DIR


class Metrics:
    """The counters of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "dermzoo_requests", "Requests answered.", ["route", "method", "status"], registry=self.registry
        )
        self.bytes_sent = Counter("dermzoo_sent_bytes", "Body bytes sent.", ["route"], registry=self.registry)
        self.seconds = Histogram(
            "dermzoo_request_seconds",
            "Seconds from the request to the end of its answer.",
            ["route"],
            buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100),
            registry=self.registry,
        )
        self.refused = Counter(
            "dermzoo_refused_requests", "Requests refused by the budget.", ["policy"], registry=self.registry
        )
        self.held = Counter(
            "dermzoo_budget_wait_seconds",
            "Seconds that answers were held back by the budget.",
            registry=self.registry,
        )

        self._children: dict[tuple[str, str, int], tuple[Any, Any, Any]] = {}

    def count(self, route: str, method: str, status: int, sent: int, seconds: float) -> None:
        """Count one request; `sent` in bytes."""
        key = route, method, status
        children = self._children.get(key)
        if children is None:  # finding them by label costs more than counting
            children = self._children[key] = (
                self.requests.labels(*key),
                self.bytes_sent.labels(route),
                self.seconds.labels(route),
            )
        requests, bytes_sent, histogram = children
        requests.inc()
        bytes_sent.inc(sent)
        histogram.observe(seconds)

    def render(self, gauges: Iterable[GaugeMetricFamily]) -> bytes:
        """Return the text exposition: the counts of all processes, and gauges of this moment."""
        counted: CollectorRegistry = self.registry
        if MULTIPROCESS_DIR in os.environ:
            counted = CollectorRegistry()
            multiprocess.MultiProcessCollector(counted)  # type: ignore[no-untyped-call]
        momentary = CollectorRegistry()
        momentary.register(_Momentary(list(gauges)))
        return generate_latest(counted) + generate_latest(momentary)


class _Momentary(Collector):
    def __init__(self, gauges: list[GaugeMetricFamily]) -> None:
        self.gauges = gauges

    def collect(self) -> Iterable[GaugeMetricFamily]:
        return self.gauges
