"""Storing, indexing and verifying on SQLite and on PostgreSQL: the same steps, the same rows."""

import shutil

import pytest
from sqlalchemy import insert, update

from app.archive.archive import Archive
from app.archive.commitment import Commitments, commitment_of, request_commitment
from app.archive.hiding import hide, lift_embargoes, settle
from app.archive.index import index_folder
from app.archive.query import search_archive
from app.archive.retrieve import retrieve_instances
from app.archive.store import store_staged, sweep, taking_in
from app.archive.verify import verify
from app.archive.withdraw import restore, withdraw_named
from app.catalog.changes import changes_after
from app.catalog.commitments import SopReference
from app.catalog.corpus_models import image
from app.catalog.database import Catalog
from app.catalog.holdings import Reference, totals
from app.catalog.models import series
from app.corpus.stating import checked_terms, state_terms
from app.dicom.matching import Level, Query, UIDList
from app.errors import DuplicateInstance, DuplicateTransaction, Gone
from app.settings import Settings
from app.storage.local import LocalStorage
from tests.factories import instance_bytes, uid, write_instance


@pytest.fixture
def archive(tmp_path, catalog_url, cage):
    settings = Settings(data_dir=tmp_path / "data", database_url=catalog_url)
    catalog = Catalog(settings.catalog_url)
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


def test_withdraw_and_commit(archive, tmp_path):
    """Tombstones, changes and storage commitments are rows like any other."""
    images = tmp_path / "images"
    write_instance(images / "a", name="a")
    write_instance(images / "b", name="b", study="other")
    index_folder(archive, images)
    assert withdraw_named(archive, str(uid("a")), "a reason", "test")[0].in_place == 1
    with pytest.raises(Gone, match="a reason"):
        retrieve_instances(archive, Reference(str(uid("study"))))
    assert len(index_folder(archive, images).withdrawn) == 1
    request_commitment(archive, "1.2.3", [SopReference("1.2", str(uid(name))) for name in "ab"], "test")
    with pytest.raises(DuplicateTransaction):
        request_commitment(archive, "1.2.3", [SopReference("1.2", "1.3")], "test")
    commitments = Commitments(archive)
    commitments.settle("1.2.3").result(timeout=60)
    result = commitment_of(archive, "1.2.3").result
    assert result is not None
    assert [each.failure_reason for each in result] == [0x0112, 0x0119]
    commitments.close()
    assert [each.sop_instance_uid for each in restore(archive, str(uid("study")))] == [uid("a")]
    assert index_folder(archive, images).added == 1
    assert held(archive) == (2, 2, 2)
    with archive.catalog.read() as connection:
        actions = [change.action for change in changes_after(connection, 0, 9)]
    assert actions == ["created", "created", "withdrawn", "created"]
    assert verify(archive, contents=True).is_sound


def test_verify(archive, tmp_path):
    write_instance(tmp_path / "images" / "a")
    index_folder(archive, tmp_path / "images")
    with archive.catalog.write() as connection:
        connection.execute(update(series).values(number_of_instances=9))
    assert len(verify(archive).miscounted) == 1


def test_hide_and_lift(archive, tmp_path):
    images = tmp_path / "images"
    for name in ("a", "b"):
        write_instance(images / name, name=name, StudyDescription=f"of {name}")
    index_folder(archive, images)
    requested = "2.25.7"
    request_commitment(archive, requested, [SopReference("1.2", str(uid("a")))], "test")
    commitments = Commitments(archive)
    commitments.settle(requested).result()

    def note(connection):
        values = {"isic_id": "ISIC_0000001", "sop_instance_uid": str(uid("a")), "public_from": "2026-11-21"}
        rest = {"is_public": 0, "source": "test", "known": b"", "published": b""}
        connection.execute(insert(image).values(values | rest))

    hide(archive, [str(uid("a"))], note)
    commitments.close()
    assert commitment_of(archive, requested).result is None
    assert held(archive) == (1, 1, 1)
    [answer] = search_archive(archive, Query(Level.STUDY)).answers
    assert b"of b" in answer
    settle(archive, "2026-11-20")
    assert held(archive) == (1, 1, 1)
    assert lift_embargoes(archive, "2026-11-21") == 1
    assert held(archive) == (1, 1, 2)
    with archive.catalog.read() as connection:
        actions = [change.action for change in changes_after(connection, 0, 99)]
    assert actions == ["created", "withdrawn", "created"]
    assert verify(archive).is_sound


def test_terms(archive, tmp_path):
    """Stated, searched for at every level, in pages and counted, and changed."""
    images = tmp_path / "images"
    for name in ("a", "b", "c"):
        write_instance(
            images / ("other" if name == "c" else "one") / name, name=name, study=name, series=name
        )
    index_folder(archive, images)
    state_terms(archive, images / "one", *checked_terms("CC-BY", "MSK"))
    state_terms(archive, images / "other", *checked_terms("CC-BY-NC", "MSK"))

    def found(level, *licences, **more):
        matches = (("00991001", UIDList(licences)),)
        return search_archive(archive, Query(level, matches, **more))

    for level in Level:
        assert len(found(level, "CC-BY").answers) == 2
        assert len(found(level, "CC-BY", "CC-BY-NC").answers) == 3
        assert len(found(level).answers) == 0
        page = found(level, "CC-BY", limit=1)
        assert (len(page.answers), page.remaining) == (1, 1)
        assert len(found(level, "CC-BY", offset=1, limit=5).answers) == 1
    state_terms(archive, images / "other", *checked_terms("CC-0", None))
    assert len(found(Level.STUDY, "CC-BY-NC").answers) == 0
    [one] = retrieve_instances(archive, Reference(str(uid("c"))))
    assert (one.licence_id, one.attribution) == ("CC-0", None)
