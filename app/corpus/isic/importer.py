"""The run: every row of the CSV to one stored instance, or to a reason why not.

Rows stand alone and UIDs follow from the rows, so a run that was killed is simply run again: what is held
already says so, and the rest is stored.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from stat import S_ISREG
from typing import Protocol

from app.corpus.isic.mapping import MappingOptions, find_terms, map_to_dicom
from app.corpus.isic.part10 import write_part10
from app.corpus.isic.picture import RunCaged, read_picture
from app.corpus.isic.rows import BadRow, Row, read_rows
from app.errors import ArchiveError, CagedFailure, NotImportable

_JPEG_SUFFIXES = {".jpg", ".jpeg"}
_OTHER_SUFFIXES = {".png", ".tif", ".tiff"}


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


# Keeps Part 10 files and tells what became of each, in order, once they are durable.
StoreFiles = Callable[[Sequence[bytes]], Sequence[Stored]]

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
class Pictures:
    """The image files of a folder by ISIC id; symbolic links are followed inside the folder only."""

    root: Path
    by_id: dict[str, list[Path]]

    def find(self, isic_id: str) -> Path:
        """Return the one JPEG of that id; NotImportable when there is none, or none that may be read."""
        found = self.by_id.get(isic_id, [])
        jpegs = [path for path in found if path.suffix.lower() in _JPEG_SUFFIXES]
        if not jpegs:
            other = f": {found[0].name} is no JPEG" if found else ""
            raise NotImportable("image", f"no {isic_id}.jpg in {self.root}{other}")
        if len(jpegs) > 1:
            places = ", ".join(str(path.relative_to(self.root)) for path in sorted(jpegs))
            raise NotImportable("image", f"more than one file has that name: {places}")
        path = jpegs[0]
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise NotImportable("image", "is a symbolic link that leads out of the folder")
        try:
            regular = S_ISREG(path.stat().st_mode)
        except OSError as error:
            raise NotImportable("image", f"cannot be read: {error.strerror}") from None
        if not regular:
            raise NotImportable("image", "is not a regular file")
        return path


def list_pictures(root: Path) -> Pictures:
    """Walk a folder for image files, as the archive's ZIPs and the challenges' nested folders hold them."""
    if not root.is_dir():
        raise NotImportable("images", f"{root} is not a folder")
    by_id: dict[str, list[Path]] = {}
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in names:
            path = Path(folder, name)
            if path.suffix.lower() in _JPEG_SUFFIXES | _OTHER_SUFFIXES:
                by_id.setdefault(path.stem, []).append(path)
    return Pictures(root, by_id)


def import_rows(
    pictures: Pictures,
    metadata: Path,
    options: MappingOptions,
    store_files: StoreFiles,
    run_caged: RunCaged,
) -> Iterator[RowOutcome]:
    """Import row by row; an outcome comes once its image is durable.

    Raises NotImportable when the CSV is no table of images, and the ArchiveError that ended the run when the
    storage or the catalogue failed: every outcome before it stands.
    """
    batch: list[tuple[RowOutcome, bytes | None]] = []
    for row in read_rows(metadata):
        batch.append(
            _refused(row) if isinstance(row, BadRow) else _convert(pictures, row, options, run_caged)
        )
        files = [file for _, file in batch if file is not None]
        if len(batch) >= BATCH_FILES or sum(map(len, files)) >= BATCH_BYTES:
            yield from _store(batch, store_files)
            batch = []
    yield from _store(batch, store_files)


def _refused(row: BadRow) -> tuple[RowOutcome, None]:
    error = row.error
    return RowOutcome(row.line, row.isic_id, Outcome.REFUSED, field=error.field, reason=error.reason), None


def _convert(
    pictures: Pictures, row: Row, options: MappingOptions, run_caged: RunCaged
) -> tuple[RowOutcome, bytes | None]:
    """Return the file of a row, with the outcome if it is stored; or no file, and why."""
    outcome = RowOutcome(row.line, row.isic_id, Outcome.IMPORTED, notes=row.notes)
    try:
        find_terms(row, options)  # before its pixels are touched
        path = pictures.find(row.isic_id)
        outcome = replace(outcome, file=str(path))
        dataset = map_to_dicom(row, read_picture(path, run_caged), options)
    except (NotImportable, CagedFailure) as error:
        return _with_error(outcome, error), None
    return outcome, write_part10(dataset)


def _store(batch: list[tuple[RowOutcome, bytes | None]], store_files: StoreFiles) -> Iterator[RowOutcome]:
    stored = iter(store_files([file for _, file in batch if file is not None]))
    for outcome, file in batch:
        if file is None:
            yield outcome
            continue
        result = next(stored)
        if result.error is not None:
            yield _with_error(outcome, result.error)
        else:
            yield outcome if result.is_new else replace(outcome, outcome=Outcome.ALREADY_THERE)


def _with_error(outcome: RowOutcome, error: ArchiveError) -> RowOutcome:
    at, reason = (error.field, error.reason) if isinstance(error, NotImportable) else ("image", str(error))
    return replace(outcome, outcome=Outcome.REFUSED, field=at, reason=reason)


def files_without_row(pictures: Pictures, seen: set[str]) -> list[str]:
    """Return the image files that no row named, in order."""
    return sorted(
        str(path) for isic_id, paths in pictures.by_id.items() if isic_id not in seen for path in paths
    )
