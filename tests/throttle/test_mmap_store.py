"""Several processes, one bucket; and what is left of it after kill -9, a restart, a reboot and a bad disk."""

import contextlib
import fcntl
import math
import multiprocessing
import os
import signal
import struct
import time

import pytest

from app.errors import SettingsError
from app.throttle.bucket import Bucket, Draw
from app.throttle.mmap_store import HEADER_BYTES, MmapStore
from app.throttle.slots import WORDS, SlotTable, table_bytes
from tests.throttle.hammer import hammer_until_killed, in_processes, take_all_the_time

spawn = multiprocessing.get_context("spawn")


def shared(store, per_second=10.0, burst=100.0):
    return Bucket(store.key("shared"), per_second, burst, pinned=True)


def test_3_processes_together_get_no_more_than_burst_plus_rate_times_time(tmp_path):
    per_second, burst = 2000.0, 50.0
    arguments = (tmp_path / "budget", 8000, per_second, burst, spawn.Barrier(3))
    answers = in_processes(3, take_all_the_time, *arguments)
    granted = sum(count for count, _, _ in answers)
    elapsed_s = max(last for _, _, last in answers) - min(first for _, first, _ in answers)
    assert burst <= granted <= burst + per_second * elapsed_s


def test_a_forked_child_does_not_share_its_parents_lock(tmp_path):
    store = MmapStore(tmp_path / "budget")
    counted, count = os.pipe()
    ready, go = os.pipe()

    def take_many():
        bucket = shared(store, 1e-9, 20_000)
        return sum(store.take((Draw(bucket, 1, 1),), 1.0)[0] for _ in range(15_000))

    child = os.fork()
    if child == 0:
        os.read(ready, 1)
        os.write(count, b"%d" % take_many())
        os._exit(0)
    os.write(go, b"!")
    granted = take_many() + int(os.read(counted, 20))
    os.waitpid(child, 0)
    for descriptor in (counted, count, ready, go):
        os.close(descriptor)
    assert granted == 20_000


def test_kill_9_leaves_a_lock_that_is_free_and_balances_that_are_not_too_high(tmp_path):
    path, slots = tmp_path / "budget", 16
    for _ in range(5):
        ready = spawn.Queue()
        processes = [spawn.Process(target=hammer_until_killed, args=(path, slots, ready)) for _ in range(2)]
        for process in processes:
            process.start()
        ready.get(timeout=60)
        for process in processes:
            os.kill(process.pid, signal.SIGKILL)
            process.join()
        store = MmapStore(path, slots=slots)
        [balance] = store.peek([shared(store, 1000, 1e9)], time.monotonic())
        assert -1e9 < balance < 1e9
        assert store.take((Draw(shared(store, 1000, 1e9), 1, -1e12),), time.monotonic())[0]
        store.close()


class KilledError(Exception):
    pass


class Tearing:
    """A view of memory whose owner dies at the n-th write."""

    def __init__(self, view, writes_left):
        self.view, self.writes_left = view, writes_left

    def __getitem__(self, index):
        return self.view[index]

    def __len__(self):
        return len(self.view)

    def __setitem__(self, index, value):
        if not self.writes_left[0]:
            raise KilledError
        self.writes_left[0] -= 1
        self.view[index] = value


@pytest.mark.parametrize("pinned", [True, False])
@pytest.mark.parametrize("writes", range(8))
def test_death_between_any_two_writes_gives_nothing_away(writes, pinned):
    memory = memoryview(bytearray(table_bytes(1)))
    a = Bucket(12345, 10, 100, pinned)
    SlotTable(memory).take((Draw(a, 100, 0),), 1000.0)
    dying = SlotTable(memory)
    writes_left = [writes]
    dying._keys, dying._numbers = Tearing(dying._keys, writes_left), Tearing(dying._numbers, writes_left)
    with contextlib.suppress(KilledError):
        dying.take((Draw(a, 20, 0),), 1005.0)
    [balance] = SlotTable(memory).peek([a], 1005.0)
    assert balance <= 50  # 5 s at 10 a second, once; the charge may be lost with its request


@pytest.mark.parametrize("writes", range(12))
def test_death_while_a_slot_changes_hands_mixes_no_accounts(writes):
    memory = memoryview(bytearray(table_bytes(1)))
    spent = [Bucket(number, 0.01, 100) for number in range(1, 17)]
    table = SlotTable(memory)
    for a in spent:
        table.take((Draw(a, 100, -1e9),), 1000.0)
    dying, writes_left = SlotTable(memory), [writes]
    dying._keys, dying._numbers = Tearing(dying._keys, writes_left), Tearing(dying._numbers, writes_left)
    newcomer = Bucket(999, 1e4, 1e9)  # inherits 10,000 s to full, which leaves it much more than theirs
    with contextlib.suppress(KilledError):
        dying.take((Draw(newcomer, 1, 1),), 1000.0)
    slots = {memory.cast("Q")[at] for at in range(0, len(memory) // 8, WORDS)}
    left = [a for a in spent if a.key in slots]
    assert SlotTable(memory).peek(left, 1000.0) == [0] * len(left)
    if newcomer.key in slots:
        assert SlotTable(memory).peek([newcomer], 1000.0)[0] == pytest.approx(9e8, abs=2)


def test_a_restart_refills_nothing(tmp_path):
    store = MmapStore(tmp_path / "budget")
    store.take((Draw(shared(store), 150, -1e9),), 1000.0)
    store.close()
    store = MmapStore(tmp_path / "budget")
    assert store.peek([shared(store)], 1001.0) == [-40]


@pytest.mark.parametrize("wall_step_s", [-3600, 3600])
def test_the_wall_clock_does_not_matter_while_the_machine_runs(tmp_path, wall_step_s):
    store = MmapStore(tmp_path / "budget", monotonic=lambda: 1000.0, wall=lambda: 5e9, boot_id=b"one")
    store.take((Draw(shared(store), 100, 100),), 1000.0)
    store.close()
    wall = 5e9 + wall_step_s
    store = MmapStore(tmp_path / "budget", monotonic=lambda: 1001.0, wall=lambda: wall, boot_id=b"one")
    assert store.peek([shared(store)], 1001.0) == [10]


@pytest.mark.parametrize(
    ("away_s", "balance"),
    [pytest.param(3, 30, id="3-s-away"), pytest.param(1e6, 100, id="long"), pytest.param(-500, 0, id="past")],
)
def test_a_reboot_refills_what_the_wall_clock_says(tmp_path, away_s, balance):
    store = MmapStore(tmp_path / "budget", monotonic=lambda: 90000.0, wall=lambda: 5e9, boot_id=b"one")
    client = Bucket(store.key("client"), 10, 100)
    store.take((Draw(shared(store), 100, 100), Draw(client, 100, 100)), 90000.0)
    store.close()
    wall = 5e9 + away_s
    store = MmapStore(tmp_path / "budget", monotonic=lambda: 7.0, wall=lambda: wall, boot_id=b"two")
    assert store.peek([shared(store), client], 7.0) == pytest.approx([balance, balance], abs=1e-3)


@pytest.mark.parametrize("damage", [b"", b"garbage", bytes(HEADER_BYTES + table_bytes(65536))])
def test_a_file_we_cannot_trust_starts_with_empty_shared_buckets(tmp_path, damage):
    (tmp_path / "budget").write_bytes(damage)
    store = MmapStore(tmp_path / "budget")
    assert store.take((Draw(shared(store), 1, 1),), 1000.0) == (False, [0])
    assert store.take((Draw(shared(store), 1, 1),), 1001.0) == (True, [9])


@pytest.mark.parametrize("word", [1, 2, 3])
@pytest.mark.parametrize("number", [math.nan, math.inf, 1e300])
def test_numbers_that_nobody_wrote_count_as_an_empty_bucket_that_fills_again(tmp_path, word, number):
    store = MmapStore(tmp_path / "budget")
    store.take((Draw(shared(store), 60, 60),), 1000.0)
    struct.pack_into("<d", store._map, HEADER_BYTES + word * 8, number)
    _, [balance] = store.take((Draw(shared(store), 1, 1),), 1000.0)
    assert balance <= 40
    assert store.take((Draw(shared(store), 1, 1),), 1001.0)[0]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"file.budget"):
        MmapStore(tmp_path / "file" / "budget")


# A process that is stopped while it holds the lock (R8)


@pytest.fixture
def stopped(tmp_path):
    """A store of one of four processes whose file another one holds, and what lets go of it."""
    store = MmapStore(tmp_path / "budget", processes=4, lock_s=0.0)
    with (tmp_path / "budget.lock").open("r+b") as elsewhere:
        fcntl.flock(elsewhere, fcntl.LOCK_EX)
        yield store, lambda: fcntl.flock(elsewhere, fcntl.LOCK_UN)
    store.close()


def test_each_process_goes_on_with_its_part_of_a_client(stopped):
    store, _ = stopped
    client = Bucket(store.key("client"), 1e-9, 100)
    assert sum(store.take((Draw(client, 1, 1),), time.monotonic())[0] for _ in range(100)) == 25
    assert store.peek([client], time.monotonic()) == [pytest.approx(0, abs=1e-6)]


def test_what_was_given_of_the_shared_buckets_is_charged_when_the_lock_is_free(stopped):
    store, let_go = stopped
    everybody = shared(store, 1e-9, 1e9)
    for _ in range(5):
        assert store.take((Draw(everybody, 1000, 1000),), time.monotonic())[0]
    let_go()
    assert store.take((Draw(everybody, 1, 1),), time.monotonic()) == (True, [pytest.approx(1e9 - 5001)])
    assert store.peek([everybody], time.monotonic()) == [pytest.approx(1e9 - 5001)]


def test_it_is_told_once_that_it_is_held_and_once_that_it_is_free(stopped, caplog):
    store, let_go = stopped
    for _ in range(3):
        store.peek([shared(store)], time.monotonic())
    let_go()
    for _ in range(3):
        store.peek([shared(store)], time.monotonic())
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "holds" in told[0]
    assert "free again" in told[1]


def test_a_server_that_starts_meanwhile_says_why_it_cannot(stopped, tmp_path, monkeypatch):
    monkeypatch.setattr("app.throttle.mmap_store.START_LOCK_S", 0.0)
    with pytest.raises(SettingsError, match=r"budget\.lock is held"):
        MmapStore(tmp_path / "budget")
