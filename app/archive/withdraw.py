"""Taking instances back: their rows, files and thumbnails go, a tombstone with the reason stays.

A managed file is deleted after the commit, and whatever moment the process dies at, the next sweep finishes
what was committed and undoes what was not (storage/local.py). A file indexed where it lies is never touched;
its row stays, so that the next run of the index knows why it is not to be served.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection

from app.archive.archive import Archive
from app.archive.index_batch import CONFLICT, DUPLICATE, WITHDRAWN
from app.archive.store import sweep
from app.archive.thumbnails import forget_thumbnails
from app.catalog.files import Problem, folder_ids, forget_problems, holders, remember_problems
from app.catalog.holdings import Held, Reference, held_instances, references_named
from app.catalog.register import Location, forget_files
from app.catalog.tombstones import Tombstone, bury, exhume, tombstones_named, tombstones_of
from app.errors import ArchiveError, InvalidQuery, NotFound

MOST_REASON_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What was withdrawn at once."""

    reason: str
    instances: int
    in_place: int  # of them, those whose file lies in a folder of somebody else's, and still does


def withdraw(archive: Archive, reference: Reference, reason: str, withdrawn_by: str) -> Withdrawal:
    """Withdraw an instance, or all of a series or study.

    Raises InvalidQuery for a reason that is none, Gone, NotFound, StorageFailed or CatalogUnavailable.
    """
    reason = _checked(reason)
    try:
        with archive.storage.retiring() as retire, archive.catalog.write() as connection:
            held = held_instances(connection, reference)
            retire(each.name for each in held if each.folder is None)
            _take_away(connection, held, reason, withdrawn_by)
    finally:
        # If the catalogue is away or the disk is ill, the sweep of a later start does it.
        with suppress(ArchiveError):
            sweep(archive, is_patient=True)
    for each in held:
        with suppress(OSError):  # nobody is shown it any more; the oldest are swept away in time
            forget_thumbnails(archive.thumbnails_dir, each.sha256.hex())
    return Withdrawal(reason, len(held), sum(each.folder is not None for each in held))


def withdraw_named(archive: Archive, uid: str, reason: str, withdrawn_by: str) -> list[Withdrawal]:
    """Withdraw what a UID names, of whatever level it is; errors as of withdraw()."""
    _checked(reason)
    with archive.catalog.read() as connection:
        references = references_named(connection, uid)
    if not references:
        raise NotFound(f"Nothing is held under the UID {uid}.")
    return [withdraw(archive, reference, reason, withdrawn_by) for reference in references]


def restore(archive: Archive, uid: str) -> list[Tombstone]:
    """Let what was withdrawn under a UID come back, by a store or the next index; return its tombstones.

    Raises NotFound when nothing is withdrawn under this UID.
    """
    with archive.catalog.write() as connection:
        tombstones = tombstones_named(connection, uid)
        if not tombstones:
            raise NotFound(f"Nothing is withdrawn under the UID {uid}.")
        exhume(connection, [tombstone.sop_instance_uid for tombstone in tombstones])
        # Their files have their turn again.
        forget_problems(connection, (WITHDRAWN, DUPLICATE, CONFLICT))
    return tombstones


def withdrawn(archive: Archive) -> list[Tombstone]:
    """Return every tombstone, the newest first."""
    with archive.catalog.read() as connection:
        return tombstones_of(connection, {})


def _take_away(connection: Connection, held: list[Held], reason: str, withdrawn_by: str) -> None:
    files = holders(connection, [each.sop_instance_uid for each in held])
    folders = folder_ids(connection, {each.folder for each in held if each.folder is not None})
    forget_files(connection, [holder.file_id for holder in files.values()])
    now = datetime.now(UTC).isoformat(timespec="seconds")
    bury(
        connection,
        [
            Tombstone(
                each.sop_instance_uid,
                each.series_instance_uid,
                each.study_instance_uid,
                each.sha256,
                reason,
                now,
                withdrawn_by,
            )
            for each in held
        ],
    )
    remember_problems(
        connection,
        [
            Problem(
                Location(folders[each.folder], each.name), each.size, each.mtime_ns, each.sha256, WITHDRAWN
            )
            for each in held
            if each.folder is not None
        ],
    )
    # What stood back for these files is looked at again, and found withdrawn.
    forget_problems(connection, (DUPLICATE, CONFLICT))


def _checked(reason: str) -> str:
    reason = " ".join(reason.split())
    if not reason or len(reason) > MOST_REASON_CHARACTERS or not reason.isprintable():
        raise InvalidQuery(
            f"A withdrawal needs a reason: plain text of at most {MOST_REASON_CHARACTERS} characters, "
            "which everybody who asks for the instance is told."
        )
    return reason
