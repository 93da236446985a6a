"""What one process has taken ahead of need: charged already, so spent without asking the shared store again.

A lease is taken only while every bucket it comes from holds plenty, so a client near its limit is always
counted exactly, and nobody ever sends what was not charged before. What a process leaves unspent is lost to
the client; at that distance from the limit it does not notice.
"""

from dataclasses import dataclass
from threading import Lock

REQUESTS = 16
BYTES = 256 * 1024
PLENTY = 64  # leases that a bucket must hold before one is taken from it
MOST_CLIENTS = 256  # at a time, so that no more than 64 MiB were charged and may still go out


@dataclass(slots=True)
class Lease:
    """What is left of one client's lease."""

    requests: int = 0
    bytes: int = 0


class Leases:
    """The leases of a process, by client; safe to use from several threads."""

    def __init__(self) -> None:
        self._leases: dict[str, Lease] = {}
        self._lock = Lock()

    def spend(self, client: str, requests: int, size: int) -> bool:
        """Spend from a client's lease, all or nothing; a request needs bytes left to be answered with."""
        lease = self._leases.get(client)
        if lease is None:
            return False
        with self._lock:
            if lease.requests < requests or lease.bytes < max(size, 1):
                return False
            lease.requests -= requests
            lease.bytes -= size
            return True

    def add(self, client: str) -> None:
        """Give a client a lease that was just charged."""
        with self._lock:
            if client not in self._leases and len(self._leases) >= MOST_CLIENTS:
                del self._leases[next(iter(self._leases))]
            lease = self._leases.setdefault(client, Lease())
            lease.requests += REQUESTS
            lease.bytes += BYTES
