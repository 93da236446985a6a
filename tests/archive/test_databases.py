"""Storing, indexing and verifying on SQLite and on PostgreSQL: the same steps, the same rows."""

import shutil

import pytest
from sqlalchemy import update

from app.archive.archive import Archive
from app.archive.index import index_folder
from app.archive.store import store_staged, sweep, taking_in
from app.archive.verify import verify
from app.catalog.database import Catalog
from app.catalog.holdings import totals
from app.catalog.migrate import migrate
from app.catalog.models import series
from app.errors import DuplicateInstance
from app.settings import Settings
from app.storage.local import LocalStorage
from tests.factories import instance_bytes, write_instance


@pytest.fixture
def archive(tmp_path, database_url, cage):
    settings = Settings(data_dir=tmp_path / "data", database_url=database_url)
    catalog = Catalog(settings.catalog_url)
    migrate(catalog)
    yield Archive(settings, catalog, LocalStorage(settings.objects_dir, minimum_free=0), cage)
    catalog.close()


def held(archive) -> tuple[int, int, int]:
    with archive.catalog.read() as connection:
        counted = totals(connection)
    return counted["studies"], counted["series"], counted["instances"]


def test_store(archive):
    def store(*contents):
        with taking_in(archive) as staging:
            files = []
            for content in contents:
                files.append(staging.new())
                files[-1].write(content)
                files[-1].finish()
            return store_staged(archive, staging, files)

    first = store(instance_bytes(name="a"), instance_bytes(name="b", study="other"))
    again = store(instance_bytes(name="a"), instance_bytes(name="b", PatientID="OTHER"))
    assert [(result.error, result.is_new) for result in first] == [(None, True)] * 2
    assert (again[0].error, again[0].is_new) == (None, False)
    assert isinstance(again[1].error, DuplicateInstance)
    assert held(archive) == (2, 2, 2)
    assert sweep(archive) == 0
    assert verify(archive, contents=True).is_sound


def test_index(archive, tmp_path):
    images = tmp_path / "images"
    for name in ("a", "b", "deep/c", "gone/d"):
        write_instance(images / name, name=name, study=name[0])
    shutil.copy(images / "a", images / "copy of a")
    write_instance(images / "twin of b", name="b", PatientID="OTHER")
    (images / "junk").write_bytes(b"junk")

    first = index_folder(archive, images)
    assert (first.added, len(first.duplicates), len(first.refused)) == (4, 1, 2)
    assert held(archive) == (4, 4, 4)

    second = index_folder(archive, images)
    assert (second.unchanged, len(second.duplicates), len(second.refused)) == (4, 1, 2)

    (images / "a").unlink()  # its copy takes over
    (images / "deep" / "c").rename(images / "c, moved")
    write_instance(images / "b", name="b", study="another", PatientID="CHANGED")
    shutil.rmtree(images / "gone")
    third = index_folder(archive, images, prune=True)
    assert (third.moved, third.changed, third.pruned, third.added) == (2, 1, 1, 0)
    assert held(archive) == (3, 3, 3)
    assert verify(archive, contents=True).is_sound


def test_verify(archive, tmp_path):
    write_instance(tmp_path / "images" / "a")
    index_folder(archive, tmp_path / "images")
    with archive.catalog.write() as connection:
        connection.execute(update(series).values(number_of_instances=9))
    assert len(verify(archive).miscounted) == 1
