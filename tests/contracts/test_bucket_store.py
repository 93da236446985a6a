"""What every bucket store promises; a backend joins by adding its name to the fixture's params."""

import multiprocessing
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.throttle.bucket import Bucket, Draw, refill
from app.throttle.mmap_store import MmapStore
from app.throttle.redis_store import RedisStore
from app.throttle.stores import BucketStore, MemoryStore
from tests.throttle.hammer import in_processes, take_once_each

FEW_SLOTS = 8


def make_store(backend: str, folder: Path, slots: int = 1024) -> BucketStore:
    return MemoryStore(slots) if backend == "memory" else MmapStore(folder / "budget", slots=slots)


@pytest.fixture(params=["memory", "mmap", "redis"])
def store(request, tmp_path):
    if request.param == "redis":
        server = request.getfixturevalue("redis_server")
        store = RedisStore(server.url, timeout_s=60, has_own_clock=False)
    else:
        store = make_store(request.param, tmp_path)
    yield store
    store.close()


@pytest.fixture(params=["memory", "mmap"])
def small_store(request, tmp_path):
    """Room for a handful of clients, so that everybody is somebody's neighbour; Redis forgets nobody."""
    store = make_store(request.param, tmp_path / "small", slots=FEW_SLOTS)
    yield store
    store.close()


def bucket(store, name="a", per_second=10.0, burst=100.0, *, pinned=False):
    return Bucket(store.key(name), per_second, burst, pinned)


def take(store, bucket, amount=1.0, now=0.0, least=None):
    return store.take((Draw(bucket, amount, amount if least is None else least),), now)


def test_a_new_bucket_is_full(store):
    assert store.peek([bucket(store), bucket(store, "g", burst=7, pinned=True)], 5.0) == [100, 7]
    assert take(store, bucket(store), 100, now=5.0) == (True, [0])


def test_it_refills_with_time_and_no_further_than_full(store):
    a = bucket(store)
    take(store, a, 100, now=5.0)
    assert store.peek([a], 6.0) == [10]
    assert store.peek([a], 500.0) == [100]


def test_all_draws_or_none(store):
    rich, poor = bucket(store, "rich"), bucket(store, "poor", burst=3)
    granted, balances = store.take((Draw(rich, 50, 50), Draw(poor, 4, 4)), 0.0)
    assert (granted, balances) == (False, [100, 3])
    assert store.peek([rich, poor], 0.0) == [100, 3]
    assert store.take((Draw(rich, 50, 50), Draw(poor, 3, 3)), 0.0) == (True, [50, 0])


def test_debt_and_refund(store):
    a = bucket(store)
    assert take(store, a, 150, least=-1e9) == (True, [-50])
    assert take(store, a, 1, now=5.0) == (False, [0])
    assert take(store, a, 1, now=5.25)[0]
    assert take(store, a, -1000, now=5.25, least=-1e9) == (True, [100])


def test_looking_changes_nothing(store):
    a = bucket(store)
    take(store, a, 100, now=0.0)
    store.peek([a], 8.0)
    assert store.peek([a], 1.0) == [10]


def test_a_reading_of_the_clock_that_comes_late_refills_nothing_twice(store):
    a = bucket(store)
    take(store, a, 100, now=0.0)
    take(store, a, 10, now=1.0)
    take(store, a, 1, now=0.5)  # read its clock before, came after
    assert store.peek([a], 1.0) == [0]


def quota(store, since, until, *, pinned=False, burst=1000.0):
    return Bucket(store.key("quota"), burst / (until - since), burst, pinned, since, until)


@pytest.mark.parametrize("pinned", [True, False])
def test_a_quota_gains_nothing_in_its_day_and_is_full_in_the_next(store, pinned):
    today, tomorrow = quota(store, 100, 200, pinned=pinned), quota(store, 200, 300, pinned=pinned)
    assert take(store, today, 900, now=110) == (True, [100])
    assert take(store, today, 200, now=199) == (False, [100])
    assert take(store, tomorrow, 200, now=200) == (True, [800])
    assert take(store, today, 1, now=200.1) == (True, [799])  # of a process that has not noticed yet
    assert store.peek([tomorrow], 299) == [799]


def test_a_debt_of_a_quota_ends_with_its_day(store):
    today, tomorrow = quota(store, 100, 200), quota(store, 200, 300)
    assert take(store, today, 5000, now=110, least=-1e18) == (True, [-4000])
    assert take(store, today, 1, now=199)[0] is False
    assert store.peek([tomorrow], 200) == [1000]


def test_a_clock_that_is_behind_at_midnight_does_not_fill_a_quota_twice(store):
    tomorrow = quota(store, 200, 300)
    take(store, quota(store, 100, 200), 1, now=150)
    assert take(store, tomorrow, 600, now=199.5) == (True, [400])
    assert take(store, tomorrow, 600, now=199.6) == (False, [400])


def test_seven_buckets_of_which_one_is_short_leave_all_as_they_were(store):
    """R2's other half: requests, seat, bytes, subnet, day, month and the shared one, all or nothing."""
    buckets = [bucket(store, f"part {number}") for number in range(6)]
    short = bucket(store, "short", burst=5, pinned=True)
    draws = [Draw(each, 7, 7) for each in (*buckets, short)]
    assert store.take(draws, 1.0) == (False, [100] * 6 + [5])
    assert store.peek([*buckets, short], 1.0) == [100] * 6 + [5]


def test_names_are_told_apart(store):
    assert len({store.key(f"client {number}") for number in range(2000)}) == 2000
    take(store, bucket(store, "a"), 100)
    assert store.peek([bucket(store, "b")], 0.0) == [100]


@pytest.fixture
def _hasty_threads():
    """Threads that take turns after every few instructions."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-7)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_hasty_threads")
def test_of_100_simultaneous_requests_on_a_bucket_for_10_exactly_10_pass(store):
    """R2."""
    a, start, granted = bucket(store, per_second=1e-9, burst=10), threading.Barrier(100), []

    def ask():
        start.wait()
        granted.append(take(store, a, now=1.0)[0])

    threads = [threading.Thread(target=ask) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(granted) == 10


@pytest.mark.parametrize("backend", ["mmap", "redis"])
def test_of_100_simultaneous_requests_of_4_processes_exactly_10_pass(request, tmp_path, backend):
    """R2, where the store is for several processes: 25 threads in each, behind one barrier."""
    is_redis = backend == "redis"
    place = request.getfixturevalue("redis_server").url if is_redis else str(tmp_path / "budget")
    start = multiprocessing.get_context("spawn").Barrier(100)
    granted = in_processes(4, take_once_each, place, 25, 10.0, start)
    assert sum(granted) == 10


@pytest.mark.usefixtures("_hasty_threads")
def test_threads_never_count_the_same_token_twice(store):
    a, granted = bucket(store, per_second=1e-9, burst=4000), []

    def ask():
        granted.append(sum(take(store, a, now=1.0)[0] for _ in range(2000)))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(granted) == 4000


def test_an_eviction_creates_no_tokens(small_store):
    """However many addresses there are, all of them together get what the slots hold."""
    slots = FEW_SLOTS + 16  # with the neighbours of the last one
    total = 0.0
    for number in range(2000):
        a = bucket(small_store, f"address {number}", burst=100)
        while take(small_store, a, 10, now=3.0)[0]:
            total += 10
    assert total <= slots * 100
    assert total >= FEW_SLOTS * 100


def test_evictions_refill_no_faster_than_time(small_store):
    total, seconds, slots = 0.0, 20, FEW_SLOTS + 16
    for second in range(seconds + 1):
        for number in range(200):
            a = bucket(small_store, f"address {second} {number}", per_second=2, burst=100)
            while take(small_store, a, 1, now=float(second))[0]:
                total += 1
    assert total <= slots * (100 + 2 * seconds)


def test_a_spent_bucket_is_not_won_back_by_crowding_it_out(small_store):
    spent = bucket(small_store, "attacker", per_second=0.001)
    take(small_store, spent, 100)
    for number in range(500):
        take(small_store, bucket(small_store, f"helper {number}", per_second=0.001), 1)
    assert small_store.peek([spent], 0.0) == [0]


def test_a_shared_bucket_is_never_evicted(small_store):
    shared = bucket(small_store, "shared", per_second=0.001, pinned=True)
    take(small_store, shared, 100)
    for number in range(3000):
        take(small_store, bucket(small_store, f"address {number}"), 100)
    assert small_store.peek([shared], 0.0) == [0]


def test_buckets_of_one_request_never_evict_each_other(small_store):
    for number in range(300):
        names = [f"{number} {part}" for part in range(6)]
        draws = [Draw(bucket(small_store, name), 100, -1e9) for name in names]
        _, balances = small_store.take(draws, 0.0)
        assert small_store.peek([draw.bucket for draw in draws], 0.0) == balances


moves = st.lists(
    st.tuples(st.integers(0, 4), st.floats(-50, 200), st.floats(-300, 100), st.floats(0, 30)), max_size=40
)


@settings(max_examples=60, deadline=None)
@given(moves)
def test_it_does_what_the_arithmetic_says(moves):
    """The memory store against a dictionary; the file has the same table."""
    store, model, now = MemoryStore(1024), {}, 0.0
    for number, amount, least, gap in moves:
        now += gap
        a = bucket(store, str(number))
        tokens, updated_at = model.get(number, (100.0, 0.0))
        balance = refill(tokens, updated_at, 10, 100, now)
        granted, [after] = take(store, a, amount, now, least)
        assert granted == (balance >= least)
        if granted:
            balance = min(balance - amount, 100)
            model[number] = (balance, now)
        assert after == pytest.approx(balance, abs=1e-9)
