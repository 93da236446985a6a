"""Cataloguing DICOM files where they lie: never moved, never changed, read once.

A file whose size and time of change are those of its row is not opened. Everything else is read in the cage
and written in batches, each in a transaction of its own: a run that is killed is simply run again. A file
that adds nothing keeps a row too, with its problem, so that it is not read again either.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

from sqlalchemy import Connection

from app.archive.archive import Archive
from app.archive.index_batch import (
    DUPLICATE,
    NOT_PUBLIC,
    WITHDRAWN,
    Candidate,
    ReadFile,
    forget,
    write_batch,
)
from app.archive.index_report import IndexReport
from app.archive.walk import Listing, walk
from app.catalog.entry import read_entry
from app.catalog.files import KnownFile, files_of_folder, folders_below, forget_copies
from app.storage.in_place import real_name, stored_name

BATCH_FILES = 4000
BATCH_S = 2.0
PASSES = 3  # one; one for what stood back; one more for what stood back for what was forgotten then

Advance = Callable[[int], None]


def index_folder(
    archive: Archive, folder: Path, *, prune: bool = False, advance: Advance = lambda _: None
) -> IndexReport:
    """Catalogue what lies in `folder` and below; `advance` is told how many more files are done with.

    Files that are gone are reported; `prune` forgets them. Raises CatalogUnavailable.
    """
    report = IndexReport()
    for number in range(PASSES):
        run = _Run(archive, os.path.realpath(folder), advance if number == 0 else lambda _: None)
        run.go(prune=prune)
        report = report.followed_by(run.report) if number else run.report
        # Files that changed or went made room: what stood back for them has its turn in another pass.
        if not run.has_released:
            break
    return report


class _Run:
    """One pass over a folder."""

    def __init__(self, archive: Archive, root: str, advance: Advance) -> None:
        self.report = IndexReport()
        self.root = root
        self.has_released = False
        self._archive = archive
        self._advance = advance
        settings = archive.settings
        self._own = {os.path.realpath(path) for path in (settings.data_dir, settings.objects_dir)}
        self._reading: dict[str, Candidate] = {}  # by path; no more than the cage takes ahead
        self._vanished: dict[int, str] = {}  # path by the number of the file's row
        self._moved: set[int] = set()
        self._stale: list[int] = []
        self._seen: set[str] = set()  # folders, as stored
        self._unreadable: list[str] = []

    def go(self, *, prune: bool) -> None:
        """Read what is new or changed, then settle what is gone."""
        self._read()
        self._note_vanished_folders()
        vanished = {number: path for number, path in self._vanished.items() if number not in self._moved}
        self.report.vanished = sorted(vanished.values())
        if vanished or self._stale:
            with self._archive.catalog.write() as connection:
                self._settle(connection, list(vanished), prune=prune)

    def _settle(self, connection: Connection, vanished: list[int], *, prune: bool) -> None:
        """Let copies take the place of what is gone; without any, forget it if `prune` says so."""
        self.has_released |= forget_copies(connection, vanished) > 0
        self.has_released |= forget(connection, self._stale)
        if prune and not self.has_released:
            self.has_released = forget(connection, vanished)
            self.report.pruned = len(vanished)

    def _read(self) -> None:
        batch: list[ReadFile] = []
        since_s = monotonic()
        for path, outcome in self._archive.cage.map(read_entry, self._paths_to_read()):
            batch.append((self._reading.pop(path), outcome))
            if len(batch) >= BATCH_FILES or monotonic() - since_s >= BATCH_S:
                self._write(batch)
                batch, since_s = [], monotonic()
        if batch:
            self._write(batch)

    def _write(self, batch: list[ReadFile]) -> None:
        with self._archive.catalog.write() as connection:
            written = write_batch(connection, batch, self.report)
        self.has_released |= written.has_released
        self._moved |= written.moved
        self._advance(len(batch))

    def _paths_to_read(self) -> Iterator[str]:
        for listing in walk(self.root, self._own):
            self._seen.add(stored_name(listing.folder))
            self.report.refused += listing.refused
            self.report.passed_over += listing.passed_over
            if not listing.is_readable:
                self._unreadable.append(listing.folder)
                continue
            for candidate in self._new_or_changed(listing):
                self._reading[candidate.path] = candidate
                yield candidate.path

    def _new_or_changed(self, listing: Listing) -> Iterator[Candidate]:
        known = self._known_files(stored_name(listing.folder))
        for found in listing.files:
            self.report.files += 1
            candidate = Candidate(listing.folder, found, known.pop(stored_name(found.name), None))
            before = candidate.known
            if before and (before.size, before.mtime_ns) == (found.size, found.mtime_ns):
                self._count_unchanged(candidate.path, before)
            else:
                yield candidate
        self._note_vanished(listing.folder, known)

    def _known_files(self, folder: str) -> dict[str, KnownFile]:
        with self._archive.catalog.read() as connection:
            return files_of_folder(connection, folder)

    def _count_unchanged(self, path: str, known: KnownFile) -> None:
        self._advance(1)
        if known.problem.startswith(DUPLICATE):
            self.report.duplicates.append(path)
        elif known.problem.startswith(WITHDRAWN):
            self.report.withdrawn.append((path, known.problem))
        elif known.problem.startswith(NOT_PUBLIC):
            self.report.not_public.append(path)
        elif known.problem:
            self.report.refused.append((path, known.problem))
        else:
            self.report.unchanged += 1

    def _note_vanished_folders(self) -> None:
        # A folder's own path, and all below it; a path that is not UTF-8 is stored quoted.
        roots = {stored_name(self.root), stored_name(self.root + "/\udcff").removesuffix("/%FF")}
        with self._archive.catalog.read() as connection:
            folders = [*roots, *folders_below(connection, (root.rstrip("/") + "/" for root in roots))]
        for folder in folders:
            path = real_name(folder)
            hidden = any(path == other or path.startswith(other + "/") for other in self._unreadable)
            if folder not in self._seen and not hidden:
                self._note_vanished(path, self._known_files(folder))

    def _note_vanished(self, folder: str, known: dict[str, KnownFile]) -> None:
        """Note files of a folder that are not there; a row that only told of a problem is no loss."""
        for name, file in known.items():
            if file.problem:
                self._stale.append(file.id)
            else:
                self._vanished[file.id] = os.path.join(folder, real_name(name))  # noqa: PTH118 may be no text
