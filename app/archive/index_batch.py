"""Writing a batch of files that were read where they lie, within one transaction."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from app.archive.index_report import IndexReport
from app.archive.walk import FoundFile
from app.catalog.entry import Entry
from app.catalog.files import (
    Holder,
    KnownFile,
    Problem,
    folder_ids,
    forget_problems,
    holders,
    move_file,
    remember_problems,
)
from app.catalog.register import Location, Outcome, forget_files, register
from app.errors import ArchiveError, CagedFailure
from app.storage.in_place import real_name, stored_name

DUPLICATE = "identical to an instance that is catalogued"
CONFLICT = "its SOP Instance UID is taken by other content, and the first is kept"
WITHDRAWN = "the instance was withdrawn from this archive"
NOT_PUBLIC = "the image is not public"
_MOVED = "moved"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file to read: as it lies there, and as it is known, if it is."""

    folder: str
    found: FoundFile
    known: KnownFile | None

    @property
    def name(self) -> str:
        """Its name as the catalogue has it."""
        return stored_name(self.found.name)

    @property
    def path(self) -> str:
        """Where it lies."""
        return os.path.join(self.folder, self.found.name)  # noqa: PTH118 a name that is no text stays what it is


ReadFile = tuple[Candidate, Entry | ArchiveError]


@dataclass(slots=True)
class Written:
    """What a batch did beside adding."""

    has_released: bool  # files that stood back for another have their turn again
    moved: set[int] = field(default_factory=set)  # numbers of the rows of files that lie elsewhere now


def write_batch(connection: Connection, batch: Sequence[ReadFile], report: IndexReport) -> Written:
    """Register what was read, and count it."""
    # Instances whose file is forgotten and which come again are updated, not withdrawn and created.
    returning = {read.sop_instance_uid for _, read in batch if isinstance(read, Entry)}
    known = [candidate.known.id for candidate, _ in batch if candidate.known]
    replaced = forget_files(connection, known, returning)
    written = Written(bool(known) and _release(connection))
    folders = folder_ids(connection, (stored_name(candidate.folder) for candidate, _ in batch))
    located = [
        (candidate, outcome, Location(folders[stored_name(candidate.folder)], candidate.name))
        for candidate, outcome in batch
    ]
    entries = [(entry, location) for _, entry, location in located if isinstance(entry, Entry)]
    outcomes = register(connection, entries, frozenset(replaced))
    others = [
        entry.sop_instance_uid
        for (entry, _), outcome in zip(entries, outcomes, strict=True)
        if outcome != Outcome.STORED
    ]
    held = holders(connection, others)
    remaining = iter(outcomes)
    problems = []
    for candidate, outcome, location in located:
        if isinstance(outcome, Entry):
            holder = held.get(outcome.sop_instance_uid)
            problem = _problem(candidate, outcome, holder, next(remaining), report)
            if holder and problem == _MOVED:
                move_file(connection, holder.file_id, location, outcome.mtime_ns)
                written.moved.add(holder.file_id)
                problem = ""
        else:
            problem = str(outcome)
            report.refused.append((candidate.path, problem))
        # What failed in the cage may succeed another day: it has no row, and is read again.
        if problem and not isinstance(outcome, CagedFailure):
            digest = outcome.sha256 if isinstance(outcome, Entry) else None
            found = candidate.found
            problems.append(Problem(location, found.size, found.mtime_ns, digest, problem))
    remember_problems(connection, problems)
    return written


def not_public(sop_instance_uid: str) -> str:
    """Return the problem of a file whose image is not public; the UID tells whether it still is not."""
    return f"{NOT_PUBLIC}: {sop_instance_uid}"


def forget(connection: Connection, file_ids: Sequence[int]) -> bool:
    """Forget files; return whether others had stood back for any file: those will be read again."""
    if not file_ids:
        return False
    forget_files(connection, file_ids)
    return _release(connection)


def _release(connection: Connection) -> bool:
    return forget_problems(connection, (DUPLICATE, CONFLICT)) > 0


def _problem(
    candidate: Candidate, entry: Entry, holder: Holder | None, outcome: Outcome, report: IndexReport
) -> str:
    """Count one file that was read; return what keeps it out of the catalogue, if anything does."""
    if outcome == Outcome.WITHDRAWN:
        report.withdrawn.append((candidate.path, WITHDRAWN))
        return WITHDRAWN
    if outcome == Outcome.NOT_PUBLIC:
        report.not_public.append(candidate.path)
        return not_public(entry.sop_instance_uid)
    if outcome == Outcome.STORED or holder is None:
        report.added += candidate.known is None
        report.changed += candidate.known is not None
        return ""
    if outcome == Outcome.CONFLICT:
        problem = f"{CONFLICT}: {_place(holder)}"
        report.refused.append((candidate.path, problem))
        return problem
    if holder.folder_path is not None and not os.path.lexists(_path(holder)):
        report.moved += 1
        return _MOVED
    report.duplicates.append(candidate.path)
    return f"{DUPLICATE}: {_place(holder)}"


def _path(holder: Holder) -> str:
    assert holder.folder_path is not None
    return os.path.join(real_name(holder.folder_path), real_name(holder.name))  # noqa: PTH118 as above


def _place(holder: Holder) -> str:
    return "a managed file" if holder.folder_path is None else f"{holder.folder_path}/{holder.name}"
