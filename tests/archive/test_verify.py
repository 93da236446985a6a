"""What verify finds: every way in which files, rows and counts can part."""

import os

import pytest
from sqlalchemy import delete, update

from app.archive.index import index_folder
from app.archive.store import store_staged, taking_in
from app.archive.verify import verify
from app.catalog.models import document, file, holding, instance, series, study
from tests.factories import instance_bytes, write_instance


@pytest.fixture
def filled(archive, tmp_path):
    """Two managed instances of one series, and one that was indexed in place."""
    with taking_in(archive) as staging:
        files = []
        for name in ("a", "b"):
            files.append(staging.new())
            files[-1].write(instance_bytes(name=name))
            files[-1].finish()
        store_staged(archive, staging, files)
    write_instance(tmp_path / "images" / "c.dcm", name="c", study="other")
    index_folder(archive, tmp_path / "images")
    return archive


def findings(archive) -> dict[str, int]:
    report = verify(archive, contents=True).to_json()
    return {name: len(found) for name, found in report.items() if isinstance(found, list) and found}


def managed(archive):
    return sorted(map(archive.storage.path_of, archive.storage.keys()))


def test_all_is_well(filled):
    report = verify(filled, contents=True)
    assert report.is_sound
    assert report.files == 3
    assert report.bytes_hashed > 3000
    assert findings(filled) == {}
    assert verify(filled).bytes_hashed == 0


def test_an_empty_archive_is_sound(archive):
    assert verify(archive, contents=True).is_sound


def test_a_lost_file(filled):
    managed(filled)[0].unlink()
    assert findings(filled) == {"missing_or_changed": 1}


def test_a_shorter_file(filled):
    os.truncate(managed(filled)[0], 100)
    assert findings(filled) == {"missing_or_changed": 1}


def test_one_flipped_bit(filled):
    path = managed(filled)[0]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert verify(filled).is_sound
    assert findings(filled) == {"torn": 1}


def test_an_indexed_file_that_was_changed(filled, tmp_path):
    (tmp_path / "images" / "c.dcm").write_bytes(b"other")
    assert findings(filled) == {"missing_or_changed": 1}


def test_a_managed_file_without_a_row(filled):
    path = filled.storage.path_of("0" * 64)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    assert findings(filled) == {"without_row": 1}


def test_a_file_that_is_just_being_stored_is_no_finding(filled):
    with filled.storage.staging() as staging:
        staged = staging.new()
        staged.finish()
        staging.keep({"0" * 64: staged})
        assert findings(filled) == {}


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        pytest.param(update(study).values(number_of_instances=7), 2, id="instances-of-studies"),
        pytest.param(update(study).values(number_of_series=7), 2, id="series-of-studies"),
        pytest.param(update(series).values(number_of_instances=7), 2, id="instances-of-series"),
        pytest.param(update(holding).values(instances=7), 1, id="instances-in-all"),
        pytest.param(update(holding).values(bytes=7), 1, id="bytes-in-all"),
        pytest.param(delete(document).where(document.c.instance_id == 1), 1, id="no-document"),
        # the instance's series and study, the totals, and the file without an instance
        pytest.param(delete(instance).where(instance.c.id == 1), 5, id="an-instance-without-its-counts"),
    ],
)
def test_counts_that_are_wrong(filled, statement, found):
    with filled.catalog.write() as connection:
        connection.execute(statement)
    assert findings(filled) == {"miscounted": found}


def test_a_file_row_without_an_instance(filled):
    with filled.catalog.write() as connection:
        row = {"name": "1" * 64, "size": 1, "mtime_ns": 1, "sha256": b"1" * 32}
        connection.execute(file.insert(), row)
    assert findings(filled) == {"miscounted": 1}
