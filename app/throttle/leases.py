"""What one process has taken ahead of need: charged already, so spent without asking the shared store again.

A seat is one of the requests that a client may have under way at a time. A process keeps a few of those that
were given up, and a request that takes one of these asks nobody.

A lease is taken only while every bucket it comes from holds plenty, so a client near its limit is always
counted exactly, and nobody ever sends what was not charged before. What a process leaves unspent is lost to
the client; at that distance from the limit it does not notice.
"""

from threading import Lock

from app.throttle.bucket import Bucket, Draw

REQUESTS = 64  # at most
BYTES = 256 * 1024  # at most, in all that a process has of one client
LOW = 32  # left, at which a process takes more in good time where the store is far away
PLENTY = 64  # leases that a bucket must hold before one is taken from it
MOST_CLIENTS = 256  # at a time, so that no more than 64 MiB were charged and may still go out


class Lease:
    """What is left of what one client's requests are served from; an empty one is nothing taken."""

    __slots__ = ("bytes", "is_filling", "requests", "routes", "seated", "seats")

    def __init__(self) -> None:
        self.requests = 0
        self.bytes = 0
        self.seats = 0  # counted in the store as ours
        self.seated = 0  # requests under way
        self.routes: dict[str, int] = {}  # requests left, by kind of route
        self.is_filling = False  # more is asked for already

    def is_low(self, kind: str | None) -> bool:
        """Say whether it is time to take more, for requests to a kind of route too."""
        if self.is_filling:
            return False
        return (
            self.requests < LOW
            or self.bytes < BYTES // 4
            or (kind is not None and self.routes.get(kind, 0) < LOW)
        )


class Leases:
    """The leases of a process; safe to use from several threads."""

    def __init__(self) -> None:
        self._taken: dict[Lease, None] = {}  # in the order they were first taken
        self._lock = Lock()

    def enter(self, lease: Lease, kind: str | None = None) -> bool:
        """Serve one request of a client from its lease, to a kind of costly route perhaps.

        It needs a seat, and bytes to be answered with.
        """
        with self._lock:
            if lease.requests < 1 or lease.bytes < 1 or lease.seated >= lease.seats:
                return False
            if kind is not None:
                left = lease.routes.get(kind)
                if not left:
                    return False
                lease.routes[kind] = left - 1
            lease.requests -= 1
            lease.seated += 1
            return True

    def sit_again(self, lease: Lease) -> bool:
        """Give a request under way a seat that is free and counted already, if there is one."""
        with self._lock:
            if lease.seated >= lease.seats:
                return False
            lease.seated += 1
            return True

    def sit(self, lease: Lease) -> None:
        """Note a request under way whose seat the store has just counted."""
        with self._lock:
            lease.seats += 1
            lease.seated += 1

    def rise(self, lease: Lease, kept: int) -> int:
        """Note the end of a request; return how many seats to give back, all unused ones but so many."""
        with self._lock:
            lease.seated -= 1
            spare = max(0, lease.seats - lease.seated - kept)
            lease.seats -= spare
            return spare

    def spend(self, lease: Lease, size: int) -> bool:
        """Spend bytes from a client's lease, all or nothing."""
        with self._lock:
            if lease.bytes < size:
                return False
            lease.bytes -= size
            return True

    def spend_route(self, lease: Lease, kind: str) -> bool:
        """Spend one request to a kind of route."""
        with self._lock:
            left = lease.routes.get(kind)
            if not left:
                return False
            lease.routes[kind] = left - 1
            return True

    def add(self, lease: Lease, requests: int, size: int, kind: str | None = None, of_route: int = 0) -> None:
        """Give a client what was just charged, up to the most bytes that it may have."""
        with self._lock:
            self._hold(lease)
            lease.requests += requests
            lease.bytes = min(BYTES, lease.bytes + size)
            if kind is not None and of_route:
                lease.routes[kind] = lease.routes.get(kind, 0) + of_route

    def _hold(self, lease: Lease) -> None:
        if lease in self._taken:
            return
        if len(self._taken) >= MOST_CLIENTS:
            oldest = next(iter(self._taken))
            del self._taken[oldest]
            oldest.requests = oldest.bytes = 0
            oldest.routes.clear()
        self._taken[lease] = None


def draw_ahead(bucket: Bucket) -> Draw | None:
    """Return the draw of a lease of requests, None from a bucket too shallow to hold plenty of them."""
    requests = min(REQUESTS, int(bucket.burst / (2 * PLENTY)))
    return Draw(bucket, requests, PLENTY * requests) if requests > 1 else None


def draw_bytes_ahead(bucket: Bucket, size: int) -> Draw:
    """Return the draw of bytes for a lease."""
    return Draw(bucket, size, PLENTY * BYTES)
