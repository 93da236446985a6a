"""Withdrawing and restoring: what goes, what stays, and nothing half done (checklist 15, 36)."""

from collections.abc import Callable
from pathlib import Path

import pytest

from app.archive.archive import Archive
from app.archive.index import index_folder
from app.archive.query import search_archive
from app.archive.retrieve import retrieve_instances, retrieve_metadata
from app.archive.store import Result, store_staged, sweep, taking_in
from app.archive.verify import verify
from app.archive.withdraw import restore, withdraw, withdraw_named, withdrawn
from app.catalog.changes import changes_after
from app.catalog.holdings import Reference, totals
from app.dicom.matching import Level, Query
from app.errors import Gone, InvalidQuery, NotFound
from tests.factories import instance_bytes, uid, write_instance

STUDY = Reference(str(uid("study")))
SERIES = Reference(str(uid("study")), str(uid("series")))


def instance(name: str) -> Reference:
    return Reference(str(uid("study")), str(uid("series")), str(uid(name)))


def store(archive: Archive, *files: bytes) -> list[Result]:
    with taking_in(archive) as staging:
        staged = []
        for content in files:
            staged.append(staging.new())
            staged[-1].write(content)
            staged[-1].finish()
        return store_staged(archive, staging, staged)


def managed_files(archive: Archive) -> list[Path]:
    return [path for path in archive.storage.root.rglob("*") if path.is_file() and path.name != "guard"]


def test_a_withdrawn_instance_is_gone_for_every_reader(archive: Archive) -> None:
    """PS3.18 8.5: 410 for what was known and removed (checklist 15); its file is deleted."""
    store(archive, instance_bytes(name="a"), instance_bytes(name="b"))
    done = withdraw(archive, instance("a"), " Consent was\n withdrawn ", "test")
    assert (done.instances, done.in_place, done.reason) == (1, 0, "Consent was withdrawn")
    with pytest.raises(Gone, match="Consent was withdrawn"):
        retrieve_instances(archive, instance("a"))
    with pytest.raises(Gone, match="Consent was withdrawn"):
        retrieve_metadata(archive, instance("a"))
    assert [held.sop_instance_uid for held in retrieve_instances(archive, STUDY)] == [uid("b")]
    assert len(managed_files(archive)) == 1
    assert len(search_archive(archive, Query(Level.INSTANCE, ())).answers) == 1
    with archive.catalog.read() as connection:
        assert totals(connection)["instances"] == 1
        assert [(c.action, c.sop_instance_uid) for c in changes_after(connection, 2, 9)] == [
            ("withdrawn", uid("a"))
        ]
    assert verify(archive, contents=True).is_sound


def test_never_held_stays_not_found(archive: Archive) -> None:
    store(archive, instance_bytes(name="a"))
    withdraw(archive, instance("a"), "test", "test")
    elsewhere = Reference(str(uid("other")), str(uid("series")), str(uid("a")))
    for reference in (instance("b"), elsewhere, Reference(str(uid("other")))):
        with pytest.raises(NotFound) as caught:
            retrieve_instances(archive, reference)
        assert not isinstance(caught.value, Gone)


@pytest.mark.parametrize("reference", [STUDY, SERIES], ids=["study", "series"])
def test_a_whole_study_or_series(archive: Archive, reference: Reference) -> None:
    store(archive, *(instance_bytes(name=name) for name in "abc"))
    assert withdraw(archive, reference, "test", "test").instances == 3
    for gone in (STUDY, SERIES, instance("b")):
        with pytest.raises(Gone):
            retrieve_instances(archive, gone)
    with pytest.raises(Gone):
        withdraw(archive, reference, "again", "test")
    assert managed_files(archive) == []
    with archive.catalog.read() as connection:
        assert totals(connection) == {"studies": 0, "series": 0, "instances": 0, "bytes": 0}
    assert verify(archive).is_sound


def test_what_is_withdrawn_is_not_taken_in_until_it_is_restored(archive: Archive) -> None:
    store(archive, instance_bytes(name="a"))
    withdraw(archive, instance("a"), "test", "somebody")
    for content in (instance_bytes(name="a"), instance_bytes(name="a", rows=8)):
        (result,) = store(archive, content)
        assert isinstance(result.error, Gone)
    assert managed_files(archive) == []
    (tombstone,) = withdrawn(archive)
    assert (tombstone.reason, tombstone.withdrawn_by) == ("test", "somebody")
    assert [each.sop_instance_uid for each in restore(archive, str(uid("study")))] == [uid("a")]
    with pytest.raises(NotFound):
        restore(archive, str(uid("study")))
    with pytest.raises(NotFound) as caught:
        retrieve_instances(archive, instance("a"))
    assert not isinstance(caught.value, Gone)
    assert store(archive, instance_bytes(name="a"))[0].is_new
    assert verify(archive, contents=True).is_sound


def test_a_file_in_place_is_never_touched(archive: Archive, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    path = write_instance(folder / "a.dcm", name="a")
    write_instance(folder / "copy.dcm", name="a")
    write_instance(folder / "b.dcm", name="b")
    assert index_folder(archive, folder).added == 2
    before = path.stat()
    done = withdraw_named(archive, str(uid("a")), "test", "test")
    assert [each.in_place for each in done] == [1]
    assert path.stat() == before
    report = index_folder(archive, folder)
    assert (report.added, report.unchanged, report.refused) == (0, 1, [])
    assert sorted(file for file, _ in report.withdrawn) == [str(path), str(folder / "copy.dcm")]
    with pytest.raises(Gone):
        retrieve_instances(archive, instance("a"))
    # Other content under the same UID is as little welcome.
    write_instance(path, name="a", rows=8)
    assert len(index_folder(archive, folder).withdrawn) == 2
    restore(archive, str(uid("a")))
    assert index_folder(archive, folder).added == 1
    assert retrieve_instances(archive, instance("a"))
    assert verify(archive, contents=True).is_sound


def test_thumbnails_go_along(archive: Archive) -> None:
    (result,) = store(archive, instance_bytes(name="a"))
    assert result.entry is not None
    key = result.entry.sha256.hex()
    kept = [archive.thumbnails_dir / "1" / key[:2] / f"{key}-{n}-128x128.jpg" for n in (1, 2)]
    other = archive.thumbnails_dir / "1" / key[:2] / f"{key[::-1]}-1-128x128.jpg"
    other.parent.mkdir(parents=True)
    for path in (*kept, other):
        path.touch()
    withdraw(archive, STUDY, "test", "test")
    assert [path.exists() for path in (*kept, other)] == [False, False, True]


@pytest.mark.parametrize("reason", ["", "  \n", "x" * 1001, "nul\x00", "\x1b[31mred"])
def test_a_reason_is_needed(archive: Archive, reason: str) -> None:
    store(archive, instance_bytes(name="a"))
    with pytest.raises(InvalidQuery, match="reason"):
        withdraw(archive, STUDY, reason, "test")
    assert retrieve_instances(archive, STUDY)


class Killed(BaseException):
    """Stands for the end of the process."""


def _interrupted(monkeypatch: pytest.MonkeyPatch, name: str, *, is_after: bool) -> None:
    """Have the process end before or after a step of withdraw(); nothing that follows runs, sweeps least."""
    module = "app.archive.withdraw"
    step: Callable[..., object] = getattr(__import__(module, fromlist=[name]), name)

    def end(*arguments: object, **named: object) -> object:
        if is_after:
            step(*arguments, **named)
        raise Killed

    monkeypatch.setattr(f"{module}.{name}", end)
    monkeypatch.setattr(f"{module}.sweep", lambda *_, **__: None)


@pytest.mark.parametrize(
    ("step", "is_after", "is_committed"),
    [("_take_away", False, False), ("_take_away", True, False), ("forget_thumbnails", False, True)],
)
def test_killed_at_any_moment_it_is_done_or_undone(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, step: str, is_after: bool, is_committed: bool
) -> None:
    """What a dead process leaves is no fault for verify, before a sweep and after it."""
    store(archive, instance_bytes(name="a"), instance_bytes(name="b"))
    with monkeypatch.context() as patched:
        _interrupted(patched, step, is_after=is_after)
        with pytest.raises(Killed):
            withdraw(archive, instance("a"), "test", "test")
    assert len([path for path in managed_files(archive) if path.parents[1].name == "tmp"]) == 1
    assert verify(archive, contents=True).is_sound
    assert sweep(archive) == (1 if is_committed else 0)
    assert verify(archive, contents=True).is_sound
    assert len(managed_files(archive)) == (1 if is_committed else 2)
    assert len(retrieve_instances(archive, STUDY)) == (1 if is_committed else 2)
