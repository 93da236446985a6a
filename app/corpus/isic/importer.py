"""The run: every row of the CSV to one stored instance, or to a reason why not.

Rows stand alone and UIDs follow from the rows, so a run that was killed is simply run again: what is held
already says so, and the rest is stored.
"""

import errno
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from app.corpus.isic.caged import RunCaged
from app.corpus.isic.dictionary import Dictionary
from app.corpus.isic.files import Pictures
from app.corpus.isic.levels import sizes_of
from app.corpus.isic.mapping import MappingOptions, find_terms, map_to_dicom
from app.corpus.isic.part10 import write_part10, write_with_frames
from app.corpus.isic.picture import Picture, read_picture
from app.corpus.isic.rows import BadRow, Row, read_rows
from app.corpus.isic.subject import layout_of
from app.corpus.working import working_folder
from app.errors import ArchiveError, CagedFailure, NotImportable, StorageFailed, StorageFull


class Outcome(StrEnum):
    """What became of a row."""

    IMPORTED = "imported"
    ALREADY_THERE = "already there"
    REFUSED = "refused"


class Stored(Protocol):
    """What became of one file; `error` is None when it is held."""

    @property
    def error(self) -> ArchiveError | None:
        """Why it was not stored."""

    @property
    def is_new(self) -> bool:
        """Whether it was not held before."""


# A Part 10 file: its bytes, or where it lies.
File = bytes | Path
# Keeps files and tells what became of each, in order, once they are durable.
StoreFiles = Callable[[Sequence[File]], Sequence[Stored]]

# Notes what is known of images whose files are held.
Remember = Callable[[Sequence[Row]], None]

# A batch costs one group of fsyncs and one transaction. It is held in memory, and lost if the run is killed.
BATCH_FILES = 32
BATCH_BYTES = 32 * 2**20


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """One line of the report."""

    line: int
    isic_id: str | None
    outcome: Outcome
    file: str | None = None
    field: str = ""  # for a refusal: what is wrong
    reason: str = ""
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Report:
    """What a run did, for people and machines."""

    counts: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    refused: list[RowOutcome] = field(default_factory=list)
    noted: list[RowOutcome] = field(default_factory=list)
    files_without_row: list[str] = field(default_factory=list)

    def add(self, outcome: RowOutcome) -> None:
        """Count one row."""
        self.counts[outcome.outcome] += 1
        if outcome.outcome is Outcome.REFUSED:
            self.refused.append(outcome)
        if outcome.notes:
            self.noted.append(outcome)

    def to_json(self) -> dict[str, object]:
        """Return the report as plain JSON values."""
        return {
            "imported": self.counts[Outcome.IMPORTED],
            "already_there": self.counts[Outcome.ALREADY_THERE],
            "refused": [
                {
                    "file": row.file,
                    "line": row.line,
                    "isic_id": row.isic_id,
                    "field": row.field,
                    "reason": row.reason,
                }
                for row in self.refused
            ],
            "notes": [
                {"line": row.line, "isic_id": row.isic_id, "note": note}
                for row in self.noted
                for note in row.notes
            ],
            "files_without_row": self.files_without_row,
        }


@dataclass(frozen=True, slots=True)
class _Converted:
    """A row with its files, none of them if it was refused, and the folder that goes when they are stored."""

    outcome: RowOutcome
    files: tuple[File, ...] = ()
    folder: Path | None = None
    row: Row | None = None


def import_rows(
    pictures: Pictures,
    metadata: Path,
    options: MappingOptions,
    store_files: StoreFiles,
    run_caged: RunCaged,
    *,
    work_in: Path,
    remember: Remember = lambda _rows: None,
) -> Iterator[RowOutcome]:
    """Import row by row; an outcome comes once its image is durable.

    Raises NotImportable when the CSV is no table of images, and the ArchiveError that ended the run when the
    storage or the catalogue failed: every outcome before it stands. Large pictures are worked on in a folder
    of `work_in`.
    """
    with working_folder(work_in) as folder:
        batch: list[_Converted] = []
        for row in Dictionary().judged(read_rows(metadata)):
            batch.append(
                _Converted(_refused(row))
                if isinstance(row, BadRow)
                else _convert(pictures, row, options, run_caged, folder)
            )
            sizes = [_size(file) for converted in batch for file in converted.files]
            if len(batch) >= BATCH_FILES or sum(sizes) >= BATCH_BYTES:
                yield from _store(batch, store_files, remember)
                batch = []
        yield from _store(batch, store_files, remember)


def _refused(row: BadRow) -> RowOutcome:
    error = row.error
    return RowOutcome(row.line, row.isic_id, Outcome.REFUSED, field=error.field, reason=error.reason)


def _convert(
    pictures: Pictures, row: Row, options: MappingOptions, run_caged: RunCaged, working: Path
) -> _Converted:
    """Return the files of a row, with the outcome if they are stored; or no file, and why."""
    outcome = RowOutcome(row.line, row.isic_id, Outcome.IMPORTED, notes=row.notes)
    try:
        find_terms(row, options)  # before its pixels are touched
        _refuse_before_its_day(row)
        path = pictures.find(row.isic_id)
        outcome = replace(outcome, file=str(path))
        folder = _new_folder(working)
        try:
            picture = read_picture(path, run_caged, layout_of(row.values), folder)
            files = _write(row, picture, options, folder)
        except (NotImportable, CagedFailure):
            shutil.rmtree(folder, ignore_errors=True)
            raise
    except (NotImportable, CagedFailure) as error:
        return _Converted(_with_error(outcome, error))
    if len(files) > 1:
        note = f"stored as a pyramid of {len(files)} levels: {sizes_of(picture.levels)}"
        outcome = replace(outcome, notes=(*outcome.notes, note))
    return _Converted(outcome, files, folder, row)


def _refuse_before_its_day(row: Row) -> None:
    day = row.values.get("public_from")
    if day is not None and day > datetime.now(UTC).date().isoformat():
        raise NotImportable("public_from", f"the image is not public before {day}: import it then")


def _new_folder(working: Path) -> Path:
    try:
        return Path(tempfile.mkdtemp(dir=working))
    except OSError as error:
        raise _disk_error(error) from error


def _write(row: Row, picture: Picture, options: MappingOptions, folder: Path) -> tuple[File, ...]:
    """Return the file of every level."""
    if picture.jpeg:
        return (write_part10(map_to_dicom(row, picture, options)),)
    files = []
    for number, level in enumerate(picture.levels):
        dataset = map_to_dicom(row, picture, options, number)
        target = folder / f"{number}.dcm"
        try:
            write_with_frames(dataset, level.frames, picture.transfer_syntax_uid, target)
        except OSError as error:
            raise _disk_error(error) from error
        files.append(target)
    return tuple(files)


def _disk_error(error: OSError) -> StorageFull | StorageFailed:
    kind = StorageFull if error.errno in {errno.ENOSPC, errno.EDQUOT} else StorageFailed
    return kind(f"A picture could not be worked on: {error.strerror}.")


def _size(file: File) -> int:
    return len(file) if isinstance(file, bytes) else file.stat().st_size


def _store(batch: Sequence[_Converted], store_files: StoreFiles, remember: Remember) -> Iterator[RowOutcome]:
    stored = iter(store_files([file for converted in batch for file in converted.files]))
    outcomes = [_outcome(converted, stored) for converted in batch]
    remember(
        [
            converted.row
            for converted, outcome in zip(batch, outcomes, strict=True)
            if converted.row and outcome.outcome is not Outcome.REFUSED
        ]
    )
    yield from outcomes


def _outcome(converted: _Converted, stored: Iterator[Stored]) -> RowOutcome:
    """Return what became of a row, from what became of its files, which come next."""
    outcome = converted.outcome
    results = [next(stored) for _ in converted.files]
    if converted.folder:
        shutil.rmtree(converted.folder, ignore_errors=True)
    error = next((result.error for result in results if result.error is not None), None)
    if error is not None:
        return _with_error(outcome, error)
    if results and not any(result.is_new for result in results):
        return replace(outcome, outcome=Outcome.ALREADY_THERE)
    return outcome


def _with_error(outcome: RowOutcome, error: ArchiveError) -> RowOutcome:
    at, reason = (error.field, error.reason) if isinstance(error, NotImportable) else ("image", str(error))
    return replace(outcome, outcome=Outcome.REFUSED, field=at, reason=reason)
