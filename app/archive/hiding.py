"""Taking images that are not public out of every door, and letting them in when their day has come.

Who asks for one is answered as for what never was: there is no tombstone, and of what was announced only that
followers are to delete their copy. A file indexed where it lies is never touched, and a managed one whose
image has a day on which it will be public is kept: their rows stay, for that day. Other managed files are
deleted after the commit; whatever moment the process dies at, the next sweep finishes it (storage/local.py).
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import Connection

from app.archive.archive import Archive
from app.archive.index_batch import CONFLICT, DUPLICATE, NOT_PUBLIC, Candidate, not_public, write_batch
from app.archive.index_report import IndexReport
from app.archive.store import sweep
from app.archive.thumbnails import forget_thumbnails
from app.archive.walk import FoundFile
from app.catalog.commitments import forget_results
from app.catalog.entry import Entry, read_entry
from app.catalog.files import (
    KnownFile,
    Problem,
    folder_ids,
    forget_problems,
    forget_rows,
    holders,
    remember_problems,
)
from app.catalog.hidden import (
    HiddenFile,
    end_embargoes,
    forget_announcements,
    held_of_images,
    hidden_files,
    images_not_public,
    is_embargo_over,
    with_a_date,
)
from app.catalog.holdings import Held, held_named
from app.catalog.learning import learn_again, parents_of_held
from app.catalog.register import Location, Outcome, forget_files, register
from app.errors import ArchiveError
from app.storage.in_place import real_name

BATCH_FILES = 500

Change = Callable[[Connection], None]


@dataclass(frozen=True, slots=True)
class Hidden:
    """What was taken out at once."""

    instances: int
    deleted: int  # of them, those whose managed file is gone for good


def hide(
    archive: Archive, sop_instance_uids: Collection[str], before: Change = lambda _connection: None
) -> Hidden:
    """Take these instances out, as if they had never been held; those that are not held do no harm.

    `before` is called first within the same transaction, to note which images are not public: what is hidden
    and not noted would come back. Raises StorageFailed or CatalogUnavailable.
    """
    uids = list(dict.fromkeys(sop_instance_uids))
    try:
        with archive.storage.retiring() as retire, archive.catalog.write() as connection:
            before(connection)
            held = held_named(connection, uids)
            kept = with_a_date(connection, uids)
            purged = [each for each in held if each.folder is None and each.sop_instance_uid not in kept]
            retire(each.name for each in purged)
            _take_away(connection, uids, held, {each.sop_instance_uid for each in purged})
    finally:
        # If the catalogue is away or the disk is ill, the sweep of a later start does it.
        with suppress(ArchiveError):
            sweep(archive, is_patient=True)
    for each in held:
        with suppress(OSError):  # nobody is shown it any more; the oldest are swept away in time
            forget_thumbnails(archive.thumbnails_dir, each.sha256.hex())
    return Hidden(len(held), len(purged))


def hide_images(archive: Archive, isic_ids: Collection[str]) -> Hidden:
    """Hide whatever is held of these images, noted as not public before."""
    with archive.catalog.read() as connection:
        uids = held_of_images(connection, isic_ids)
    return hide(archive, uids) if uids else Hidden(0, 0)


def unhide(archive: Archive) -> int:
    """Register again what was kept of images that are public now; return how many instances came."""
    with archive.catalog.read() as connection:
        files = hidden_files(connection, NOT_PUBLIC)
    came = 0
    for start in range(0, len(files), BATCH_FILES):
        came += _bring_back(archive, files[start : start + BATCH_FILES])
    return came


def lift_embargoes(archive: Archive, today: str) -> int:
    """Make public the images that were to be so by `today` (ISO 8601); return how many instances came."""
    with archive.catalog.read() as connection:
        if not is_embargo_over(connection, today):
            return 0
    with archive.catalog.write() as connection:
        end_embargoes(connection, today)
    return unhide(archive)


def settle(archive: Archive, today: str) -> None:
    """Finish what was left half done: what is not public goes, and what is public now comes."""
    with archive.catalog.read() as connection:
        isic_ids = images_not_public(connection)
    if isic_ids:
        hide_images(archive, isic_ids)
    if not lift_embargoes(archive, today):
        unhide(archive)


def _take_away(connection: Connection, uids: Sequence[str], held: Sequence[Held], purged: set[str]) -> None:
    files = holders(connection, [each.sop_instance_uid for each in held])
    folders = folder_ids(connection, {each.folder for each in held if each.folder is not None})
    parents = parents_of_held(connection, files)
    forget_files(connection, [holder.file_id for holder in files.values()])
    learn_again(connection, *parents)
    forget_announcements(connection, uids)
    forget_results(connection, uids)
    remember_problems(
        connection,
        [
            Problem(
                Location(None if each.folder is None else folders[each.folder], each.name),
                each.size,
                each.mtime_ns,
                each.sha256,
                not_public(each.sop_instance_uid),
            )
            for each in held
            if each.sop_instance_uid not in purged
        ],
    )
    # What stood back for these files is looked at again, and found not public.
    forget_problems(connection, (DUPLICATE, CONFLICT))


def _bring_back(archive: Archive, files: Sequence[HiddenFile]) -> int:
    """Read files again and register them: where they lie as the index does, managed ones under their key."""
    paths = {_path(archive, each): each for each in files}
    read = [(paths[path], outcome) for path, outcome in archive.cage.map(read_entry, paths)]
    in_place = [(_candidate(each), outcome) for each, outcome in read if each.folder is not None]
    managed = [
        (each, outcome) for each, outcome in read if each.folder is None and isinstance(outcome, Entry)
    ]
    report = IndexReport()
    with archive.storage.retiring() as retire, archive.catalog.write() as connection:
        if in_place:
            write_batch(connection, in_place, report)
        came = _register(connection, managed, retire) if managed else 0
    with suppress(ArchiveError):
        sweep(archive, is_patient=True)
    return came + report.added + report.changed


def _register(
    connection: Connection,
    managed: Sequence[tuple[HiddenFile, Entry]],
    retire: Callable[[Sequence[str]], None],
) -> int:
    located = [(entry, Location(None, each.name)) for each, entry in managed]
    outcomes = register(connection, located)
    settled = [
        each for (each, _), outcome in zip(managed, outcomes, strict=True) if outcome != Outcome.NOT_PUBLIC
    ]
    retire([each.name for each in settled])  # the sweep keeps those that a row names
    forget_rows(connection, [each.id for each in settled])
    return sum(outcome == Outcome.STORED for outcome in outcomes)


def _path(archive: Archive, hidden: HiddenFile) -> str:
    if hidden.folder is None:
        return str(archive.storage.path_of(hidden.name))
    return f"{real_name(hidden.folder)}/{real_name(hidden.name)}"


def _candidate(hidden: HiddenFile) -> Candidate:
    assert hidden.folder is not None
    found = FoundFile(real_name(hidden.name), hidden.size, hidden.mtime_ns)
    known = KnownFile(hidden.id, hidden.size, hidden.mtime_ns, hidden.sha256, hidden.problem)
    return Candidate(real_name(hidden.folder), found, known)
