"""The rows of files and folders: what lies where, what is known of it already, and what was wrong with it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, delete, func, insert, or_, select, union_all, update

from app.catalog.models import arrival, file, folder, instance
from app.catalog.prepared import as_list, listed, prepared
from app.catalog.register import Location

T = TypeVar("T")

_IN_LIST = 500  # values in one IN list


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file as it was when it was read. `problem` is empty for one that was catalogued."""

    id: int
    size: int
    mtime_ns: int
    sha256: bytes | None
    problem: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that adds nothing to the catalogue, and why; its row saves reading it again."""

    location: Location
    size: int
    mtime_ns: int
    sha256: bytes | None
    problem: str


@dataclass(frozen=True, slots=True)
class Holder:
    """The file that an instance is served from; `folder_path` is None for a managed one."""

    file_id: int
    sha256: bytes
    folder_path: str | None
    name: str


def holders(connection: Connection, sop_instance_uids: Sequence[str]) -> dict[str, Holder]:
    """Return the files of those of these instances that are catalogued, by SOP Instance UID."""
    rows = _holders(connection.dialect).rows(connection, {"uids": as_list(sop_instance_uids)})
    return {uid: Holder(*row) for uid, *row in rows}


@prepared
def _holders() -> Select[Any]:
    return (
        select(instance.c.sop_instance_uid, file.c.id, file.c.sha256, folder.c.path, file.c.name)
        .join(file, instance.c.file_id == file.c.id)
        .outerjoin(folder, file.c.folder_id == folder.c.id)
        .where(listed(instance.c.sop_instance_uid, "uids"))
    )


def is_managed(connection: Connection, key: str) -> bool:
    """Whether a row names the managed file of this key."""
    named = select(file.c.id).where(file.c.folder_id.is_(None), file.c.name == key)
    waiting = select(arrival.c.id).where(arrival.c.name == key)  # where it cannot be registered now
    return connection.execute(union_all(named, waiting).limit(1)).first() is not None


def files_of_folder(connection: Connection, path: str) -> dict[str, KnownFile]:
    """Return what is known of the files of one folder, by stored name."""
    rows = connection.execute(
        select(file.c.name, file.c.id, file.c.size, file.c.mtime_ns, file.c.sha256, file.c.problem)
        .join(folder, file.c.folder_id == folder.c.id)
        .where(folder.c.path == path)
    )
    return {
        row.name: KnownFile(row.id, row.size, row.mtime_ns, row.sha256, row.problem or "") for row in rows
    }


def folders_below(connection: Connection, prefixes: Iterable[str]) -> list[str]:
    """Return the paths of the folders whose path begins with one of these texts, in order."""
    begins: list[ColumnElement[bool]] = [
        func.substr(folder.c.path, 1, len(prefix)) == prefix for prefix in prefixes
    ]
    return sorted(connection.execute(select(folder.c.path).where(or_(*begins))).scalars())


def folder_ids(connection: Connection, paths: Iterable[str]) -> dict[str, int]:
    """Return the numbers of folders, adding those that are new."""
    wanted = list(dict.fromkeys(paths))
    ids: dict[str, int] = {}
    for some in _lists(wanted):
        found = select(folder.c.path, folder.c.id).where(folder.c.path.in_(some))
        ids.update({row.path: row.id for row in connection.execute(found)})
    new = [path for path in wanted if path not in ids]
    if new:
        first = (connection.execute(select(func.max(folder.c.id))).scalar() or 0) + 1
        rows = [{"id": number, "path": path} for number, path in enumerate(new, first)]
        connection.execute(insert(folder), rows)
        ids.update({path: number for number, path in enumerate(new, first)})
    return ids


def remember_problems(connection: Connection, problems: Sequence[Problem]) -> None:
    """Add rows for files that add nothing."""
    if problems:
        first = (connection.execute(select(func.max(file.c.id))).scalar() or 0) + 1
        rows = [
            {
                "id": number,
                "folder_id": each.location.folder_id,
                "name": each.location.name,
                "size": each.size,
                "mtime_ns": each.mtime_ns,
                "sha256": each.sha256,
                "problem": each.problem,
            }
            for number, each in enumerate(problems, first)
        ]
        connection.execute(insert(file), rows)


def move_file(connection: Connection, file_id: int, location: Location, mtime_ns: int) -> None:
    """Say that a file, unchanged, lies elsewhere now."""
    connection.execute(
        update(file)
        .where(file.c.id == file_id)
        .values(folder_id=location.folder_id, name=location.name, mtime_ns=mtime_ns)
    )


def forget_problems(connection: Connection, beginnings: Sequence[str]) -> int:
    """Delete the rows whose problem begins so; their files will be read again. Return how many."""
    begins = [file.c.problem.startswith(beginning, autoescape=True) for beginning in beginnings]
    return connection.execute(delete(file).where(or_(*begins))).rowcount


def forget_rows(connection: Connection, file_ids: Sequence[int]) -> None:
    """Delete the rows of these files, which no instance is served from."""
    for ids in _lists(file_ids):
        connection.execute(delete(file).where(file.c.id.in_(ids)))


def forget_copies(connection: Connection, file_ids: Sequence[int]) -> int:
    """Delete the rows of files that stood back for these with the same content. Return how many."""
    gone = 0
    for ids in _lists(file_ids):
        same = select(file.c.sha256).where(file.c.id.in_(ids))
        copies = delete(file).where(file.c.problem.is_not(None), file.c.sha256.in_(same))
        gone += connection.execute(copies).rowcount
    return gone


def _lists(values: Sequence[T]) -> Iterator[list[T]]:
    remaining = iter(values)
    while some := list(islice(remaining, _IN_LIST)):
        yield some
