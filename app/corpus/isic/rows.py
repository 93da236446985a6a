"""The metadata CSV: a bad row is refused on its own, a bad table before anything is imported."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.corpus.isic.fields import FIELD_BY_COLUMN, FIELDS, ID_COLUMNS, UNKNOWN
from app.errors import NotImportable

if TYPE_CHECKING:
    from _csv import Reader


@dataclass(frozen=True, slots=True)
class Row:
    """One image's metadata."""

    line: int  # of the CSV, the header is 1
    values: dict[str, str]  # field name -> canonical text; what is unknown is absent
    published: dict[str, str]  # column -> cell, as published, blanks included
    notes: tuple[str, ...]  # words outside the known vocabulary, kept as published only

    @property
    def isic_id(self) -> str:
        """The image's name, never empty."""
        return self.values["isic_id"]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be read."""

    line: int
    isic_id: str | None
    error: NotImportable


@contextmanager
def _readable(metadata: Path) -> Iterator["Reader"]:
    """Open the CSV strictly: UTF-8 with or without BOM, quotes closed; NotImportable says where it is not."""
    try:
        with metadata.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text, strict=True)
            try:
                yield reader
            except UnicodeDecodeError as error:
                raise NotImportable(
                    "metadata", f"{metadata} is not UTF-8 after line {reader.line_num}: {error.reason}"
                ) from None
            except csv.Error as error:
                raise NotImportable("metadata", f"{metadata}, line {reader.line_num}: {error}") from None
    except OSError as error:
        raise NotImportable("metadata", f"{metadata} cannot be read: {error.strerror}") from None


def count_rows(metadata: Path) -> int:
    """Read the whole CSV once and return its number of rows; NotImportable when it is no table of images."""
    with _readable(metadata) as reader:
        _header(reader)
        return sum(1 for cells in reader if cells)


def read_rows(metadata: Path) -> Iterator[Row | BadRow]:
    """Yield every row in order, blank lines left out; NotImportable when it is no table of images."""
    with _readable(metadata) as reader:
        header = _header(reader)
        line = reader.line_num + 1
        for cells in reader:
            if cells:
                yield _row(line, header, cells)
            line = reader.line_num + 1  # a quoted cell may span lines


def _header(reader: "Reader") -> list[str]:
    header = [name.strip() for name in next(reader, [])]
    if not set(header) & set(ID_COLUMNS):
        raise NotImportable(
            "metadata",
            f"no column names the image: expected one of {', '.join(ID_COLUMNS)}, separated by commas; "
            f"the first line is {','.join(header)[:200]!r}",
        )
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise NotImportable("metadata", f"the column {twice[0]!r} appears twice")
    return header


def _row(line: int, header: list[str], cells: list[str]) -> Row | BadRow:
    published = dict(zip(header, map(_unguarded, cells), strict=False))
    named = next((published[column] for column in ID_COLUMNS if published.get(column)), None)
    if len(cells) != len(header):
        reason = f"has {len(cells)} cells where the header has {len(header)}"
        return BadRow(line, named, NotImportable("row", reason))
    try:
        values, notes = _values(published)
    except NotImportable as error:
        return BadRow(line, named, error)
    return Row(line, values, published, notes)


def _unguarded(cell: str) -> str:
    # The archive's export puts a TAB before what a spreadsheet would take for a formula.
    return cell[1:] if cell.startswith("\t") and cell[1:2] in {"=", "-", "+", "@"} else cell


def _values(published: dict[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    values: dict[str, str] = {}
    notes: list[str] = []
    for field in FIELDS:
        cells = (published.get(column, "").strip() for column in field.columns)
        cell = next((cell for cell in cells if cell.lower() not in UNKNOWN), None)
        if cell is None:
            continue
        value = field.read(cell)
        if field.choices is not None and value not in field.choices:
            notes.append(f"{field.name}: {cell!r} is not a known value; kept as published only")
        else:
            values[field.name] = value
    if "isic_id" not in values:
        raise NotImportable("isic_id", "the row names no image")
    return values, tuple(notes)


def unknown_columns(metadata: Path) -> list[str]:
    """Return the columns that no field reads; their cells are kept as published."""
    with _readable(metadata) as reader:
        return [name for name in _header(reader) if name not in FIELD_BY_COLUMN]
