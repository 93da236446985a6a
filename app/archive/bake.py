"""Copies of files with what is shown beside them written into them; the archive's own are never changed."""

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from app.archive.archive import Archive
from app.archive.caged import enrich
from app.archive.retrieve import file_of, retrieve_instance
from app.catalog.holdings import Held, Reference
from app.catalog.overlays import overlaid
from app.errors import ArchiveError, StorageFailed

_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Baked:
    """What became of one instance: the file that was written, or why none was."""

    sop_instance_uid: str
    path: Path
    held: Held | None = None
    problem: str = ""
    was_there: bool = False
    is_left_out: bool = False  # under another licence


def bake(archive: Archive, folder: Path, licences: Collection[str] | None = None) -> Iterator[Baked]:
    """Write a copy of each instance of which more is shown than its file says into a folder.

    With `licences` those alone that are under one of them.
    A copy that is there is not made again, and none is ever seen half-written. Raises StorageFailed when the
    folder cannot be written.
    """
    after = 0
    while page := _page(archive, after):
        after = page[-1][0]
        for _, reference, shown in page:
            yield _bake(archive, folder, reference, shown, licences)


def _page(archive: Archive, after: int) -> list[tuple[int, Reference, bytes]]:
    with archive.catalog.read() as connection:
        return overlaid(connection, after, _AT_ONCE)


def _bake(
    archive: Archive, folder: Path, reference: Reference, shown: bytes, licences: Collection[str] | None
) -> Baked:
    uid = reference.sop_instance_uid or ""
    target = folder / f"{uid}.dcm"
    try:
        held = retrieve_instance(archive, reference)
        if licences is not None and held.licence_id not in licences and not target.exists():
            return Baked(uid, target, held, is_left_out=True)
        file = file_of(archive, held)
        if target.exists():
            return Baked(uid, target, held, was_there=True)
        temporary = folder / f".{uid}.part"
        try:
            archive.cage.run(enrich, file, shown, str(temporary))
            _settle(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    except ArchiveError as error:
        return Baked(uid, target, problem=str(error))
    except OSError as error:
        raise StorageFailed(f"{target} cannot be written: {error.strerror}") from error
    return Baked(uid, target, held)


def _settle(temporary: Path, target: Path) -> None:
    """Give a finished file its name once its bytes are on the disk."""
    descriptor = os.open(temporary, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.rename(target)
