"""Taking instances in: durable, whole, once; the first of two contents stays."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from threading import Barrier

import pytest
from pydicom import dcmread
from pydicom.filewriter import dcmwrite
from sqlalchemy import func, select

from app.archive.registrar import Registrar
from app.archive.store import Result, read_staged, store_received, store_staged, sweep, taking_in
from app.archive.verify import verify
from app.catalog.models import file, instance
from app.errors import CatalogUnavailable, DuplicateInstance, StorageFailed, Unaddressable, Unreadable
from app.storage.local import LocalStorage
from app.storage.staging import LocalStaging
from tests.factories import instance_bytes, make_instance, uid


@pytest.fixture(autouse=True, params=[False, True], ids=["alone", "followed"])
def _is_followed(request, monkeypatch):
    """What may only arrive first (app/catalog/arrivals.py) is kept no worse."""
    register = Registrar.register
    monkeypatch.setattr(
        Registrar,
        "register",
        lambda self, catalog, located, **_: register(self, catalog, located, is_followed=request.param),
    )


def store(archive, *contents: bytes) -> list[Result]:
    with taking_in(archive) as staging:
        return store_staged(archive, staging, stage(staging, *contents))


def stage(staging, *contents):
    files = []
    for content in contents:
        files.append(staging.new())
        files[-1].write(content)
        files[-1].finish()
    return files


def held(archive, name: str = "instance") -> bytes:
    """The bytes of an instance as the catalogue and the storage have them."""
    with archive.catalog.read() as connection:
        row = connection.execute(
            select(file, instance.c.prefix)
            .join(instance, instance.c.file_id == file.c.id)
            .where(instance.c.sop_instance_uid == uid(name))
        ).one()
    assert row.folder_id is None
    assert row.prefix is None
    with archive.storage.open(row.name) as opened:
        content = opened.read(0, opened.size)
    assert hashlib.sha256(content).digest() == row.sha256 == bytes.fromhex(row.name)
    assert len(content) == row.size
    return content


def instances(archive) -> int:
    with archive.catalog.read() as connection:
        return connection.execute(select(func.count()).select_from(instance)).scalar_one()


def leftovers(archive) -> list:
    return [path for path in (archive.storage.root / "tmp").rglob("*") if path.name != "guard"]


def assert_nothing_is_held(archive):
    assert (instances(archive), list(archive.storage.keys()), leftovers(archive)) == (0, [], [])


def test_what_was_sent_is_what_is_held(archive):
    content = instance_bytes()
    (result,) = store(archive, content)
    assert (result.error, result.is_new) == (None, True)
    assert result.entry.sop_instance_uid == uid("instance")
    assert held(archive) == content
    assert leftovers(archive) == []


def test_several_at_once_each_with_its_own_result(archive):
    good, other, garbage, nameless = (
        instance_bytes(name="good"),
        instance_bytes(name="other"),
        b"garbage" * 50,
        instance_bytes(make_instance(StudyInstanceUID="")),
    )
    results = store(archive, good, garbage, nameless, other)
    assert [type(result.error) for result in results] == [type(None), Unreadable, Unaddressable, type(None)]
    assert (held(archive, "good"), held(archive, "other")) == (good, other)
    assert len(list(archive.storage.keys())) == instances(archive) == 2
    assert leftovers(archive) == []


def test_the_same_bytes_again_are_a_success_and_nothing_new(archive):
    content = instance_bytes()
    results = [*store(archive, content), *store(archive, content), *store(archive, content, content)]
    assert [(result.error, result.is_new) for result in results] == [(None, True), *[(None, False)] * 3]
    assert len(list(archive.storage.keys())) == instances(archive) == 1
    assert leftovers(archive) == []


def test_twice_in_one_request(archive):
    content = instance_bytes()
    first, second = store(archive, content, content)
    assert (first.is_new, second.is_new, second.error) == (True, False, None)
    assert len(list(archive.storage.keys())) == 1
    assert leftovers(archive) == []


@pytest.mark.parametrize("at_once", [True, False])
def test_other_bytes_under_the_same_uid_are_refused_and_the_first_kept(archive, at_once):
    first, second = instance_bytes(PatientID="A"), instance_bytes(PatientID="B")
    results = store(archive, first, second) if at_once else [*store(archive, first), *store(archive, second)]
    assert results[0].error is None
    assert isinstance(results[1].error, DuplicateInstance)
    assert held(archive) == first
    assert len(list(archive.storage.keys())) == 1
    assert leftovers(archive) == []


def test_a_data_set_without_preamble_is_kept_as_a_part_10_file(archive):
    instance = make_instance()
    del instance.file_meta
    bare = BytesIO()
    dcmwrite(bare, instance, implicit_vr=True, little_endian=True, enforce_file_format=False)
    bare = bare.getvalue()
    assert bare[128:132] != b"DICM"
    results = [*store(archive, bare), *store(archive, bare)]
    assert [(result.error, result.is_new) for result in results] == [(None, True), (None, False)]
    content = held(archive)
    assert content[128:132] == b"DICM"
    read = dcmread(BytesIO(content))
    assert read.file_meta.MediaStorageSOPInstanceUID == uid("instance")
    assert read.PixelData == instance.PixelData
    assert leftovers(archive) == []


class TestRaces:
    """Requests that both saw nothing held, as two worker processes may."""

    @pytest.fixture
    def race(self, archive):
        """Runs stores side by side that all look before any keeps."""

        def run(*contents):
            barrier = Barrier(len(contents))

            def one(content):
                other = replace(archive, storage=LocalStorage(archive.storage.root, minimum_free=0))
                with taking_in(other) as staging:
                    received = [read_staged(other, staging, *stage(staging, content))]
                    keep = staging.keep
                    staging.keep = lambda files: (barrier.wait(), keep(files))
                    return store_received(other, staging, received)[0]

            with ThreadPoolExecutor(len(contents)) as threads:
                return list(threads.map(one, contents))

        return run

    def test_the_same_bytes(self, archive, race):
        content = instance_bytes()
        results = race(*[content] * 10)
        assert [result.error for result in results] == [None] * 10
        assert [result.is_new for result in results].count(True) == 1
        assert held(archive) == content
        assert leftovers(archive) == []

    def test_different_bytes(self, archive, race):
        contents = [instance_bytes(PatientID=f"P{number}") for number in range(6)]
        results = race(*contents)
        errors = [type(result.error) for result in results]
        assert (errors.count(type(None)), errors.count(DuplicateInstance)) == (1, 5)
        assert held(archive) == contents[errors.index(type(None))]
        sweep(archive)  # while others were keeping, a loser may have left its file to a later sweep
        assert len(list(archive.storage.keys())) == 1
        assert leftovers(archive) == []


class TestFailures:
    def test_a_commit_that_fails_keeps_nothing(self, archive, monkeypatch):
        @contextmanager
        def away(_self):
            raise CatalogUnavailable("away")
            yield

        with monkeypatch.context() as patched:
            patched.setattr(type(archive.catalog), "write", away)
            patched.setattr(type(archive.catalog), "arriving", away)
            with pytest.raises(CatalogUnavailable):
                store(archive, instance_bytes())
        assert_nothing_is_held(archive)
        assert store(archive, instance_bytes())[0].is_new

    def test_a_disk_that_fails_keeps_nothing(self, archive):
        def broken(_descriptor):
            raise OSError(5, "Input/output error")

        failing = replace(archive, storage=LocalStorage(archive.storage.root, minimum_free=0, fsync=broken))
        with pytest.raises(StorageFailed):
            store(failing, instance_bytes())
        assert_nothing_is_held(archive)

    def test_leaving_in_the_middle_keeps_nothing(self, archive):
        def interrupted():
            with taking_in(archive) as staging:
                stage(staging, instance_bytes())
                raise ConnectionError

        with pytest.raises(ConnectionError):
            interrupted()
        assert_nothing_is_held(archive)

    def test_a_kept_file_whose_writer_died_is_swept_if_it_has_no_row(self, archive):
        store(archive, instance_bytes(name="committed"))
        with archive.storage.staging() as staging:  # dies between keep and commit
            (staged,) = stage(staging, b"kept")
            staging.keep({hashlib.sha256(b"kept").hexdigest(): staged})
        assert sweep(archive) == 1
        assert len(list(archive.storage.keys())) == 1
        assert leftovers(archive) == []

    def test_a_writer_that_dies_between_commit_and_place_loses_nothing(self, archive, monkeypatch):
        """Sound for verify and every reader at once, and in its place after the next sweep."""

        class Killed(BaseException):
            pass

        def dies(_self, _keys):
            raise Killed

        content = instance_bytes()
        with monkeypatch.context() as patched:
            patched.setattr(LocalStaging, "release", dies)
            patched.setattr("app.archive.store.sweep", lambda _: None)
            with pytest.raises(Killed):
                store(archive, content)
        assert list(archive.storage.keys()) == []
        assert verify(archive, contents=True).is_sound
        assert held(archive) == content
        assert sweep(archive) == 0
        assert (len(list(archive.storage.keys())), leftovers(archive)) == (1, [])
        assert verify(archive, contents=True).is_sound
