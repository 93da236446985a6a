"""A disk that fills up while instances are stored: files and catalogue on one small file system (D5)."""

import os
import shutil
import subprocess

import pytest

from app.archive.archive import Archive
from app.archive.store import read_staged, store_received, taking_in
from app.archive.verify import verify
from app.catalog.database import Catalog
from app.catalog.holdings import totals
from app.errors import CatalogUnavailable, StorageFull
from app.settings import Settings
from app.storage.local import LocalStorage
from tests.factories import instance_bytes, make_instance
from tests.migrated import migrated


@pytest.fixture
def archive(tmp_path, cage):
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("mounting a file system needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], check=False).returncode:
        pytest.skip("this machine does not let tests mount a file system")
    (disk / "catalog.db").write_bytes(migrated())
    settings = Settings(data_dir=disk)
    catalog = Catalog(settings.catalog_url)
    yield Archive(settings, catalog, LocalStorage(settings.objects_dir, minimum_free=0), cage)
    catalog.close()
    subprocess.run(["umount", disk], check=True)


def store(archive, number: int, *, is_followed: bool = False) -> None:
    with taking_in(archive) as staging:
        staged = staging.new()
        staged.write(instance_bytes(make_instance(name=str(number), rows=200, columns=200)))
        staged.finish()
        received = read_staged(archive, staging, staged)
        (result,) = store_received(archive, staging, [received], is_followed=is_followed)
        assert result.error is None


def fill(archive, *, is_followed: bool = False) -> int:
    """Store until the disk is full; returns how many were acknowledged."""
    for number in range(100):
        try:
            store(archive, number, is_followed=is_followed)
        except (StorageFull, CatalogUnavailable):
            return number
    return 100


def test_what_was_acknowledged_stays_and_what_was_not_leaves_no_trace(archive):
    stored = fill(archive)
    assert 5 < stored < 100
    report = verify(archive, contents=True)
    assert (report.to_json()["sound"], report.files) == (True, stored), report.to_json()
    staged = [path for path in (archive.storage.root / "tmp").rglob("*") if path.name != "guard"]
    assert staged == []


def test_it_goes_on_when_there_is_room_again(archive):
    ballast = archive.settings.data_dir / "ballast"
    ballast.write_bytes(bytes(3_500_000))
    assert fill(archive) < 100
    ballast.unlink()
    store(archive, 1000)
    assert verify(archive, contents=True).is_sound


def test_what_arrived_is_registered_when_there_is_room_again(archive, monkeypatch):
    """Others filled the disk of the catalogue before it could be (app/catalog/arrivals.py)."""
    monkeypatch.setattr("app.catalog.database.SETTLE_AGAIN_S", 0)
    ballast = archive.settings.data_dir / "ballast"
    ballast.write_bytes(bytes(2_000_000))
    stored = fill(archive, is_followed=True)
    ballast.write_bytes(bytes(2_000_000 + os.statvfs(ballast).f_bavail * os.statvfs(ballast).f_frsize))
    with archive.catalog.read() as connection:
        seen = totals(connection)["instances"]
    ballast.unlink()
    report = verify(archive, contents=True)
    assert (report.is_sound, report.files) == (True, stored), report.to_json()
    assert 0 <= seen < stored
