"""What the processes of a test do to one shared bucket; a module, so that a spawned process can import it."""

import multiprocessing
import threading
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

from app.throttle.bucket import Bucket, Draw
from app.throttle.mmap_store import MmapStore
from app.throttle.redis_store import RedisStore
from app.throttle.stores import BucketStore

PATIENCE_S = 60.0  # a machine that is busy is not a store that hangs


def open_at(place: str) -> BucketStore:
    """Open the store at a path, or at the socket of a Redis."""
    if place.startswith("unix:"):
        return RedisStore(place, timeout_s=PATIENCE_S)
    return MmapStore(Path(place), lock_s=PATIENCE_S)


def take_once_each(place: str, threads: int, burst: float, start: Barrier, granted) -> None:
    """Ask in so many threads, all at the same moment, for one token of a bucket that does not refill."""
    store, taken = open_at(place), []
    bucket = Bucket(store.key("one bucket for all"), 1e-9, burst)

    def ask() -> None:
        start.wait()
        taken.append(store.take((Draw(bucket, 1, 1),), store.clock())[0])

    asking = [threading.Thread(target=ask) for _ in range(threads)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    granted.put(sum(taken))


def take_all_the_time(
    path: Path,
    times: int,
    per_second: float,
    burst: float,
    start: Barrier,
    results,
) -> None:
    """Ask `times` times; report how many were granted between which readings of the clock."""
    store = open_at(str(path))
    bucket = Bucket(store.key("one bucket for all"), per_second, burst, pinned=True)
    start.wait()
    granted, first, now = 0, time.monotonic(), 0.0
    for _ in range(times):
        now = time.monotonic()
        granted += store.take((Draw(bucket, 1, 1),), now)[0]
    results.put((granted, first, now))


def hammer_until_killed(path: Path, slots: int, ready) -> None:
    """Spend, claim and evict as fast as possible, until somebody ends it."""
    store = MmapStore(path, slots=slots, lock_s=PATIENCE_S)
    shared = Bucket(store.key("shared"), 1000, 1e9, pinned=True)
    number = 0
    while True:
        client = Bucket(store.key(f"client {number % 500}"), 10, 1000)
        store.take((Draw(client, 7, -1e6), Draw(shared, 7, -1e12)), time.monotonic())
        number += 1
        if number == 1000:
            ready.put(number)


def in_processes(count: int, target, *args) -> list:
    """Run a function of this module in so many processes; return what each has put into the last argument."""
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    processes = [spawn.Process(target=target, args=(*args, results)) for _ in range(count)]
    for process in processes:
        process.start()
    answers = [results.get(timeout=PATIENCE_S) for _ in processes]
    for process in processes:
        process.join()
    return answers
