"""What the processes of a test do to one shared bucket; a module, so that a spawned process can import it."""

import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

from app.throttle.bucket import Bucket, Draw
from app.throttle.mmap_store import MmapStore


def take_once_each(path: Path, times: int, burst: float, start: Barrier, granted) -> None:
    """Ask `times` times for one token of a bucket that does not refill worth speaking of."""
    store = MmapStore(path)
    bucket = Bucket(store.key("one bucket for all"), 1e-9, burst)
    start.wait()
    granted.put(sum(store.take((Draw(bucket, 1, 1),), time.monotonic())[0] for _ in range(times)))


def take_all_the_time(
    path: Path,
    times: int,
    per_second: float,
    burst: float,
    start: Barrier,
    results,
) -> None:
    """Ask `times` times; report how many were granted between which readings of the clock."""
    store = MmapStore(path)
    bucket = Bucket(store.key("one bucket for all"), per_second, burst, pinned=True)
    start.wait()
    granted, first, now = 0, time.monotonic(), 0.0
    for _ in range(times):
        now = time.monotonic()
        granted += store.take((Draw(bucket, 1, 1),), now)[0]
    results.put((granted, first, now))


def hammer_until_killed(path: Path, slots: int, ready) -> None:
    """Spend, claim and evict as fast as possible, until somebody ends it."""
    store = MmapStore(path, slots=slots)
    shared = Bucket(store.key("shared"), 1000, 1e9, pinned=True)
    number = 0
    while True:
        client = Bucket(store.key(f"client {number % 500}"), 10, 1000)
        store.take((Draw(client, 7, -1e6), Draw(shared, 7, -1e12)), time.monotonic())
        number += 1
        if number == 1000:
            ready.put(number)
