"""What every storage promises; a backend joins by adding its name to one fixture's params."""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.errors import InstanceUnavailable
from app.storage.interface import Staging, Storage
from app.storage.local import LocalStorage

Factory = Callable[[], Storage]


@pytest.fixture(params=["local"])
def open_storage(request: pytest.FixtureRequest, tmp_path: Path) -> Factory:
    """Opens the same storage anew with every call, as a process that starts would."""
    return {"local": lambda: LocalStorage(tmp_path / "objects", minimum_free=0)}[request.param]


@pytest.fixture
def storage(open_storage: Factory) -> Storage:
    return open_storage()


def key_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def keep(staging: Staging, *contents: bytes) -> list[str]:
    files = {}
    for content in contents:
        staged = staging.new()
        staged.write(content)
        staged.finish()
        files[key_of(content)] = staged
    staging.keep(files)
    return list(files)


def hold(storage: Storage, *contents: bytes) -> list[str]:
    with storage.staging() as staging:
        keys = keep(staging, *contents)
        staging.release(keys)
    return keys


def test_what_is_kept_can_be_read_by_another_process(storage, open_storage):
    (key,) = hold(storage, b"0123456789")
    with open_storage().open(key) as opened:
        assert (opened.size, opened.read(0, 10), opened.read(3, 4), opened.read(10, 0)) == (
            10,
            b"0123456789",
            b"3456",
            b"",
        )


def test_reading_past_the_end_is_an_error_not_a_short_answer(storage):
    (key,) = hold(storage, b"0123456789")
    with storage.open(key) as opened, pytest.raises(InstanceUnavailable, match="2 bytes before"):
        opened.read(8, 4)


@pytest.mark.parametrize("key", ["0" * 64, "", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 63 + "/"])
def test_a_key_that_is_not_held_is_unavailable(storage, key):
    with pytest.raises(InstanceUnavailable):
        storage.open(key)


def test_keys_are_listed_in_order(storage):
    keys = hold(storage, *(bytes([number]) for number in range(20)))
    assert list(storage.keys()) == sorted(keys)


def test_staged_but_not_kept_leaves_nothing(storage):
    with storage.staging() as staging:
        staged = staging.new()
        staged.write(b"never kept")
        path = staged.path
        assert path.read_bytes() == b"never kept"
    assert not path.exists()
    assert list(storage.keys()) == []
    assert storage.sweep(lambda key: False) == 0


def test_a_dropped_file_is_gone_at_once_and_the_others_stay(storage):
    with storage.staging() as staging:
        dropped, other = staging.new(), staging.new()
        dropped.finish()
        staging.drop(dropped)
        assert not dropped.path.exists()
        other.write(b"other")
        other.finish()
        staging.keep({key_of(b"other"): other})
        staging.release([key_of(b"other")])
    assert list(storage.keys()) == [key_of(b"other")]


def test_keeping_the_same_bytes_again_changes_nothing(storage):
    (key,) = hold(storage, b"same")
    assert hold(storage, b"same") == [key]
    assert list(storage.keys()) == [key]


def test_more_files_in_one_request_than_a_process_may_have_open(storage):
    contents = [b"file %d" % number for number in range(300)]
    assert sorted(hold(storage, *contents)) == list(storage.keys())


def test_size_grows_with_each_write(storage):
    with storage.staging() as staging:
        staged = staging.new()
        staged.write(b"12345")
        staged.write(memoryview(b"678"))
        assert staged.size == 8


def test_a_file_is_settled_once_its_staging_let_go_of_it(storage):
    with storage.staging() as staging:
        (key,) = keep(staging, b"settled later")
        staging.release([key])
        assert not storage.is_settled(key)
    assert storage.is_settled(key)
    assert not storage.is_settled(key_of(b"never held"))


class TestSweep:
    def test_deletes_what_was_kept_and_never_named(self, storage, open_storage):
        with storage.staging() as staging:
            (key,) = keep(staging, b"kept, then the commit failed")
        assert open_storage().sweep(lambda key: False) == 1
        with pytest.raises(InstanceUnavailable):
            storage.open(key)
        assert open_storage().sweep(lambda key: False) == 0

    def test_spares_what_a_row_names(self, storage, open_storage):
        with storage.staging() as staging:
            (key,) = keep(staging, b"kept and committed, then the process died")
        assert open_storage().sweep(lambda asked: asked == key) == 0
        assert list(storage.keys()) == [key]
        assert storage.is_settled(key)

    def test_leaves_a_living_writer_alone(self, storage, open_storage):
        with storage.staging() as staging:
            staged = staging.new()
            (key,) = keep(staging, b"between keep and commit")
            assert open_storage().sweep(lambda key: False) == 0
            assert staged.path.exists()
            staging.release([key])
        assert list(storage.keys()) == [key]

    @pytest.mark.parametrize("has_row", [False, True])
    def test_spares_the_same_bytes_of_another(self, storage, open_storage, has_row):
        """One request failed after keeping; a second has the same, about to commit or just committed."""
        with storage.staging() as failing:
            keep(failing, b"both")
        with storage.staging() as staging:
            (key,) = keep(staging, b"both")
            open_storage().sweep(lambda _: has_row)
            staging.release([key])
        assert open_storage().sweep(lambda asked: asked == key) == 0
        assert list(storage.keys()) == [key]
        assert storage.is_settled(key)

    def test_asks_about_those_alone_that_may_lack_a_row(self, storage):
        hold(storage, b"long held")
        with storage.staging() as staging:
            keys = keep(staging, b"one", b"two")
            staging.release(keys[:1])
        with storage.staging() as staging:
            unreleased = keep(staging, b"three")
        asked = []
        storage.sweep(lambda key: bool(asked.append(key)) or True)
        assert asked == unreleased
        assert sorted(storage.keys()) == sorted([key_of(b"long held"), keys[0], *unreleased])


class TestBetweenCommitAndPlace:
    """A row is committed and the file not in its place yet: its writer is about to come, or died."""

    def test_it_can_be_read(self, storage, open_storage):
        with storage.staging() as staging:
            (key,) = keep(staging, b"just committed")
            with open_storage().open(key) as opened:
                assert opened.read(0, 14) == b"just committed"
            staging.release([key])
            with storage.open(key) as opened:
                assert opened.read(0, 14) == b"just committed"
        assert storage.is_settled(key)
        assert storage.sweep(lambda _: True) == 0

    def test_it_can_be_read_when_its_writer_died(self, storage, open_storage):
        with storage.staging() as staging:
            (key,) = keep(staging, b"committed, then killed")
        with open_storage().open(key) as opened:
            assert opened.read(0, 9) == b"committed"
        assert not storage.is_settled(key)
        assert open_storage().sweep(lambda asked: asked == key) == 0
        assert storage.is_settled(key)

    def test_it_can_be_withdrawn(self, storage, open_storage):
        with storage.staging() as staging:
            (key,) = keep(staging, b"withdrawn at once")
            with open_storage().retiring() as retire:
                retire([key])
            staging.release([key])
        assert storage.sweep(lambda _: False) == 1
        assert list(storage.keys()) == []

    def test_it_can_be_withdrawn_when_its_writer_died(self, storage, open_storage):
        with storage.staging() as staging:
            (key,) = keep(staging, b"withdrawn before the sweep")
        with open_storage().retiring() as retire:
            retire([key])
        assert storage.sweep(lambda _: False) > 0
        assert list(storage.keys()) == []


def test_what_is_retired_goes_with_its_row(storage, open_storage):
    catalogued, gone = hold(storage, b"catalogued", b"gone")
    with storage.retiring() as retire:
        retire([catalogued, gone, "0" * 64])  # the last was lost before
        assert storage.sweep(lambda key: False) == 0  # the block is not left yet
        assert not storage.is_settled(gone)
        with storage.open(gone) as opened:
            assert opened.read(0, 4) == b"gone"
    assert open_storage().sweep(lambda key: key == catalogued) == 1
    assert list(storage.keys()) == [catalogued]
    assert storage.is_settled(catalogued)


def test_a_patient_sweep_waits_for_those_who_are_keeping(storage, open_storage):
    (key,) = hold(storage, b"gone")
    with storage.retiring() as retire:
        retire([key])
    with ThreadPoolExecutor(1) as threads, storage.staging() as staging:
        kept = keep(staging, b"coming")
        assert open_storage().sweep(lambda _: False) == 0
        sweeping = threads.submit(open_storage().sweep, lambda _: False, is_patient=True)
        staging.release(kept)
        staging.__exit__(None, None, None)
        assert sweeping.result(timeout=60) == 1
    assert list(storage.keys()) == kept
