"""What followers of the changes see of an index: created, updated, moved, forgotten."""

from pathlib import Path

from app.archive.archive import Archive
from app.archive.follow import follow
from app.archive.index import index_folder
from tests.factories import uid, write_instance


def seen(archive: Archive, since: int) -> list[tuple[str, str]]:
    return [(change.action, change.sop_instance_uid) for change in follow(archive, since, 1000).changes]


def test_an_index_is_followed(archive: Archive, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    for name in "abc":
        write_instance(folder / name, name=name)
    index_folder(archive, folder)
    assert sorted(seen(archive, 0)) == [("created", uid(name)) for name in sorted("abc", key=uid)]
    index_folder(archive, folder)
    assert seen(archive, 3) == []

    write_instance(folder / "a", name="a", PatientName="Changed^Content")
    write_instance(folder / "b", name="other")  # another instance in the same file
    (folder / "c").rename(folder / "c, moved")
    index_folder(archive, folder)
    assert sorted(seen(archive, 3)) == [
        ("created", uid("other")),
        ("updated", uid("a")),
        ("withdrawn", uid("b")),
    ]

    (folder / "a").unlink()
    index_folder(archive, folder)
    assert seen(archive, 6) == []  # it stays catalogued until somebody says that it is gone
    index_folder(archive, folder, prune=True)
    page = follow(archive, 6, 1)
    assert [(change.action, change.sop_instance_uid) for change in page.changes] == [("withdrawn", uid("a"))]
    assert page.latest == page.changes[0].sequence == 7
