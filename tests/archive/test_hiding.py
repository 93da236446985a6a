"""Images that are not public: hidden as if they had never been held, and let in when their day has come."""

from collections.abc import Sequence
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import Connection, insert, update

from app.archive.archive import Archive
from app.archive.embargoes import EmbargoWatch
from app.archive.hiding import hide, hide_images, lift_embargoes, settle, unhide
from app.archive.index import index_folder
from app.archive.query import search_archive
from app.archive.retrieve import retrieve_instances, retrieve_metadata
from app.archive.store import Result, store_staged, taking_in
from app.archive.verify import verify
from app.archive.withdraw import withdraw
from app.catalog.changes import changes_after
from app.catalog.corpus_models import image
from app.catalog.holdings import Reference, totals
from app.dicom.matching import Fuzzy, Level, Query, Wildcard
from app.errors import Gone, NotFound, NotPublic
from tests.factories import instance_bytes, uid, write_instance

STUDY = Reference(str(uid("study")))
TODAY = "2026-11-21"


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


def note(
    connection: Connection, isic_id: str, name: str | None, public_from: str | None = None, *, public: int = 0
) -> None:
    """Note an image."""
    connection.execute(
        insert(image).values(
            isic_id=isic_id,
            sop_instance_uid=str(uid(name)) if name else None,
            is_public=public,
            public_from=public_from,
            source="test",
            known=b"",
            published=b"",
        )
    )


def hidden(archive: Archive, name: str, public_from: str | None = None) -> None:
    """Hide the instance of a name, noting its image in the same transaction."""
    hide(archive, [str(uid(name))], lambda c: note(c, f"ISIC_{ord(name[0]):07}", name, public_from))


def changes(archive: Archive) -> Sequence[tuple[str, str, bytes | None]]:
    with archive.catalog.read() as connection:
        return [(c.action, c.sop_instance_uid, c.sha256) for c in changes_after(connection, 0, 99)]


def found(archive: Archive) -> int:
    return len(search_archive(archive, Query(Level.INSTANCE, ())).answers)


def managed_files(archive: Archive) -> list[Path]:
    return [path for path in archive.storage.root.rglob("*") if path.is_file() and path.name != "guard"]


def test_a_hidden_instance_is_answered_as_one_that_never_was(archive: Archive) -> None:
    store(archive, instance_bytes(name="a"), instance_bytes(name="b"))
    hidden(archive, "a")
    for read in (retrieve_instances, retrieve_metadata):
        with pytest.raises(NotFound) as caught:
            read(archive, instance("a"))
        assert not isinstance(caught.value, Gone)
        with pytest.raises(NotFound) as unknown:
            read(archive, instance("c"))
        assert str(caught.value).replace(uid("a"), "") == str(unknown.value).replace(uid("c"), "")
    assert [held.sop_instance_uid for held in retrieve_instances(archive, STUDY)] == [uid("b")]
    assert found(archive) == 1
    with archive.catalog.read() as connection:
        assert totals(connection)["instances"] == 1
    assert len(managed_files(archive)) == 1, "a managed file without a day to come back is deleted"
    assert verify(archive, contents=True).is_sound


def test_followers_are_told_once_that_it_is_gone(archive: Archive) -> None:
    """They must delete their copy: one row stays, and it holds no digest; of another's nothing is touched."""
    store(archive, instance_bytes(name="a"), instance_bytes(name="b"))
    hidden(archive, "a")
    assert [(action, u) for action, u, _ in changes(archive)] == [
        ("created", uid("b")),
        ("withdrawn", uid("a")),
    ]
    assert changes(archive)[-1][2] is None


def test_of_what_was_never_announced_nothing_is_recorded(archive: Archive) -> None:
    hidden(archive, "a")
    [result] = store(archive, instance_bytes(name="a"))
    assert isinstance(result.error, NotPublic)
    assert changes(archive) == []
    assert managed_files(archive) == []


def test_an_earlier_withdrawal_tells_nothing_any_more(archive: Archive) -> None:
    """A tombstone would answer 410 where an unknown UID is answered 404."""
    store(archive, instance_bytes(name="a"))
    withdraw(archive, instance("a"), "consent", "test")
    hidden(archive, "a")
    for reference in (instance("a"), STUDY):
        with pytest.raises(NotFound) as caught:
            retrieve_instances(archive, reference)
        assert not isinstance(caught.value, Gone)
    [result] = store(archive, instance_bytes(name="a"))
    assert isinstance(result.error, NotPublic)
    assert [action for action, _, _ in changes(archive)] == ["withdrawn"]
    with archive.catalog.write() as connection:
        connection.execute(update(image).values(is_public=1))
    with pytest.raises(Gone):  # what was withdrawn stays so
        retrieve_instances(archive, instance("a"))


def test_a_managed_file_with_a_day_comes_back_on_it(archive: Archive) -> None:
    content = instance_bytes(name="a")
    store(archive, content)
    hidden(archive, "a", "2026-11-21")
    assert found(archive) == 0
    assert [path.read_bytes() for path in managed_files(archive)] == [content]
    assert verify(archive, contents=True).is_sound
    assert lift_embargoes(archive, "2026-11-20") == 0
    assert unhide(archive) == 0
    assert found(archive) == 0
    assert lift_embargoes(archive, TODAY) == 1
    [held] = retrieve_instances(archive, instance("a"))
    assert archive.storage.open(held.name).size == len(content)
    assert [action for action, _, _ in changes(archive)] == ["withdrawn", "created"]
    assert verify(archive, contents=True).is_sound
    assert lift_embargoes(archive, TODAY) == 0


def test_a_file_in_place_is_never_touched_and_comes_back(archive: Archive, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    path = write_instance(folder / "a.dcm", name="a")
    index_folder(archive, folder)
    hidden(archive, "a")
    assert found(archive) == 0
    assert path.exists()
    report = index_folder(archive, folder)
    assert report.not_public == [str(path)]
    assert report.refused == []
    with archive.catalog.write() as connection:
        connection.execute(update(image).values(is_public=1))
    assert unhide(archive) == 1
    assert found(archive) == 1
    assert index_folder(archive, folder).unchanged == 1


def test_a_file_in_place_that_was_never_shown_comes_on_its_day(archive: Archive, tmp_path: Path) -> None:
    """Known by its name alone: the image has no UID yet."""
    folder = tmp_path / "images"
    folder.mkdir()
    write_instance(folder / "ISIC_0000007.dcm", name="a")
    with archive.catalog.write() as connection:
        note(connection, "ISIC_0000007", None, "2026-11-21")
    assert len(index_folder(archive, folder).not_public) == 1
    assert unhide(archive) == 0
    assert found(archive) == 0
    assert lift_embargoes(archive, TODAY) == 1
    assert found(archive) == 1


def test_what_a_killed_process_left_is_finished(archive: Archive, tmp_path: Path) -> None:
    """Noted as not public, and not yet hidden: by its UID, by its name, and not at all."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a", "ISIC_0000007", "c"):
        write_instance(folder / f"{name}.dcm", name=name)
    index_folder(archive, folder)
    with archive.catalog.write() as connection:
        note(connection, "ISIC_0000007", None)
        note(connection, "ISIC_0000008", "a")
        note(connection, "ISIC_0000009", "c", public=1)
    settle(archive, TODAY)
    assert [held.sop_instance_uid for held in retrieve_instances(archive, STUDY)] == [uid("c")]
    settle(archive, TODAY)
    assert found(archive) == 1


def test_bytes_that_came_again_meanwhile_are_kept_once(archive: Archive) -> None:
    store(archive, instance_bytes(name="a"))
    hidden(archive, "a", TODAY)
    with archive.catalog.write() as connection:
        connection.execute(update(image).values(is_public=1))
    store(archive, instance_bytes(name="a"))
    assert unhide(archive) == 0
    assert found(archive) == 1
    assert len(managed_files(archive)) == 1
    assert verify(archive, contents=True).is_sound


def test_other_bytes_that_came_meanwhile_are_kept_instead(archive: Archive) -> None:
    store(archive, instance_bytes(name="a"))
    hidden(archive, "a", TODAY)
    with archive.catalog.write() as connection:
        connection.execute(update(image).values(is_public=1))
    other = instance_bytes(name="a", rows=8)
    store(archive, other)
    assert unhide(archive) == 0
    assert [path.read_bytes() for path in managed_files(archive)] == [other]
    assert verify(archive, contents=True).is_sound


def test_the_watch_lets_in_by_itself(archive: Archive) -> None:
    store(archive, instance_bytes(name="a"))
    hidden(archive, "a", TODAY)
    days = iter(["2026-11-20", TODAY])
    has_looked_thrice = Event()

    def day() -> str:
        if (today := next(days, None)) is None:
            has_looked_thrice.set()
        return today or TODAY

    watch = EmbargoWatch(archive, every_s=0.001, day=day)
    assert has_looked_thrice.wait(60)
    watch.close()
    assert found(archive) == 1


def test_nothing_held_of_an_image_is_no_error(archive: Archive) -> None:
    assert hide_images(archive, ["ISIC_0000001"]).instances == 0


def test_study_and_series_say_what_those_that_stay_say(archive: Archive) -> None:
    """What the first instance of a study says of it holds for all; of a hidden one nothing may be left."""
    secret = {"StudyDescription": "secret", "SeriesDescription": "secret", "PatientName": "Secret^Name"}
    spoken = {"StudyDescription": "open", "SeriesDescription": "open", "PatientName": "Open^Name"}
    store(archive, instance_bytes(name="a", **secret), instance_bytes(name="b", **spoken))
    hidden(archive, "a")
    for level in Level:
        [answer] = search_archive(archive, Query(level, (), include="all")).answers
        assert b"ecret" not in answer
        assert b"open" in answer
    for name, count in (("Open", 1), ("Secret", 0)):
        literal = Wildcard(f"{name}*")
        for match in (literal, Fuzzy((name,), literal)):
            query = Query(Level.STUDY, (("00100010", match),))
            assert len(search_archive(archive, query).answers) == count
    assert verify(archive).is_sound
