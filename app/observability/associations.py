"""Prometheus metrics of the DICOM network, counted beside those of the web server."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter


class AssociationMetrics:
    """The counters of one process that listens, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.associations = Counter(
            "dermzoo_associations", "Associations by how they ended.", ["result"], registry=self.registry
        )
        self.operations = Counter(
            "dermzoo_dimse_operations",
            "Requests on associations by service, and instances by outcome.",
            ["kind"],
            registry=self.registry,
        )
        self.received = Counter("dermzoo_dimse_received_bytes", "Bytes received.", registry=self.registry)
        self.sent = Counter("dermzoo_dimse_sent_bytes", "Bytes sent.", registry=self.registry)

    def count(self, result: str, counts: Mapping[str, int], bytes_in: int, bytes_out: int) -> None:
        """Count one association that has ended."""
        self.associations.labels(result).inc()
        for kind, number in counts.items():
            self.operations.labels(kind).inc(number)
        self.received.inc(bytes_in)
        self.sent.inc(bytes_out)
