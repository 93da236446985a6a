"""What is kept of upstreams: whole or not at all, within bounds, by one writer at a time."""

import fcntl
import multiprocessing
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.proxy.cache import HEAD_BYTES, Cache, Claim

KEY = "ab" * 32


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(tmp_path: Path, clock: Clock) -> Cache:
    return Cache(tmp_path, 100_000_000, clock)


def keep(cache: Cache, key: str, content: bytes, **head: object) -> None:
    claim = cache.claim(key)
    assert claim is not None
    os.pwrite(claim.descriptor, content, HEAD_BYTES)
    described = {"headers": {"a": "b"}, "length": len(content), "tag": '"t"', "upstream_tag": "", **head}
    claim.keep(described, cache.clock())
    claim.close()


def test_what_is_kept_comes_back(cache: Cache, clock: Clock) -> None:
    assert cache.open(KEY) is None
    keep(cache, KEY, b"content")
    kept = cache.open(KEY)
    assert kept is not None
    assert kept.file.read(HEAD_BYTES, kept.length) == b"content"
    assert (kept.headers, kept.tag, kept.current_s) == ({"a": "b"}, '"t"', clock.now_s)
    kept.close()
    clock.now_s += 500
    cache.renew(KEY)
    renewed = cache.open(KEY)
    assert renewed is not None
    assert renewed.current_s == clock.now_s
    renewed.close()


def test_what_is_being_written_is_not_there_yet_and_nobody_else_writes_it(cache: Cache) -> None:
    claim = cache.claim(KEY)
    assert claim is not None
    os.pwrite(claim.descriptor, b"half", HEAD_BYTES)
    assert cache.open(KEY) is None
    assert cache.claim(KEY) is None
    claim.drop()
    claim.close()
    again = cache.claim(KEY)
    assert again is not None
    assert os.fstat(again.descriptor).st_size == 0
    again.drop()
    again.close()


@pytest.mark.parametrize("ending", ["keep", "drop"])
def test_a_lock_that_comes_too_late_is_worth_nothing(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """Whoever opened the file before its writer ended would write into what is kept, or into nothing."""
    first = cache.claim(KEY)
    assert first is not None
    flock = fcntl.flock

    def after_the_end(descriptor: int, how: int) -> None:
        if ending == "keep":
            first.keep({"headers": {}, "length": 0, "tag": "", "upstream_tag": ""}, 0.0)
        else:
            first.drop()
        first.close()
        flock(descriptor, how)

    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "flock", after_the_end)
        assert cache.claim(KEY) is None
    kept = cache.open(KEY)
    assert (kept is not None) == (ending == "keep")
    if kept is not None:
        assert kept.length == 0
        kept.close()


def _claim_and_die(folder: Path, ready: "multiprocessing.synchronize.Event") -> None:
    claim = Cache(folder, 10**8).claim(KEY)
    assert claim is not None
    os.pwrite(claim.descriptor, b"half", HEAD_BYTES)
    ready.set()
    os.kill(os.getpid(), 9)


def test_a_writer_that_dies_leaves_nothing_that_counts(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    writer = context.Process(target=_claim_and_die, args=(tmp_path, ready))
    writer.start()
    ready.wait(30)
    writer.join(30)
    cache = Cache(tmp_path, 10**8)
    assert cache.open(KEY) is None
    keep(cache, KEY, b"whole")
    kept = cache.open(KEY)
    assert kept is not None
    assert kept.length == 5
    kept.close()


@given(st.integers(0, HEAD_BYTES + 99), st.binary(max_size=8))
def test_a_torn_file_is_none(tmp_path_factory: pytest.TempPathFactory, place: int, garbage: bytes) -> None:
    cache = Cache(tmp_path_factory.mktemp("torn"), 10**8)
    keep(cache, KEY, b"x" * 100)
    path = cache._path(KEY)
    content = path.read_bytes()
    path.write_bytes(content[:place])
    assert cache.open(KEY) is None
    assert not path.exists()
    path.write_bytes(garbage + content[len(garbage) :])
    kept = cache.open(KEY)
    if kept is not None:
        assert kept.file.read(HEAD_BYTES, kept.length) == b"x" * 100
        kept.close()


def test_the_longest_unused_go_first(tmp_path: Path, clock: Clock) -> None:
    cache = Cache(tmp_path, 10 * (HEAD_BYTES + 1000), clock)
    keys = [f"{number:02x}" * 32 for number in range(12)]
    for key in keys:
        clock.now_s += 100
        keep(cache, key, b"x" * 1000)
    used = cache.open(keys[0])
    assert used is not None
    used.close()
    cache.sweep()
    there = [key for key in keys if (kept := cache.open(key)) and not kept.close()]
    assert there == [keys[0], *keys[4:]]


def test_what_dead_writers_left_is_swept_and_what_living_ones_write_is_not(
    cache: Cache, clock: Clock
) -> None:
    dead, living = cache.claim("cd" * 32), cache.claim("ef" * 32)
    assert isinstance(dead, Claim)
    assert isinstance(living, Claim)
    dead.close()
    clock.now_s = 4_000_000_000.0
    assert cache.sweep() == 1
    living.drop()
    living.close()
