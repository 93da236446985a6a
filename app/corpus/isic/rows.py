"""The metadata CSV: a bad row is refused on its own, a bad table before anything is imported."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from app.corpus.isic.cells import UNKNOWN
from app.corpus.isic.fields import ALL_FIELDS, FIELD_BY_COLUMN, ID_COLUMNS, KEPT_FIELDS, Field
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


_LONGEST_CELL = 2**17


@contextmanager
def _readable(metadata: Path) -> Iterator["Reader"]:
    """Open the CSV strictly: UTF-8 with or without BOM, quotes closed; NotImportable says where it is not."""
    try:
        with metadata.open(encoding="utf-8-sig", newline="") as text:
            csv.field_size_limit(_LONGEST_CELL)  # libraries lift it for the whole process
            reader = csv.reader(text, strict=True)
            try:
                yield reader
            except UnicodeDecodeError as error:
                raise NotImportable(
                    "metadata",
                    f"{metadata} is not UTF-8 after line {reader.line_num}: {error.reason}. "
                    "Save it as CSV in UTF-8 and run this again",
                ) from None
            except csv.Error as error:
                raise NotImportable(
                    "metadata",
                    f"{metadata}, line {reader.line_num}: {error}. Is a quote not closed, or the file cut? "
                    "Mend it or fetch it again",
                ) from None
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
        columns = Columns(_header(reader))
        line = reader.line_num + 1
        for cells in reader:
            if cells:
                yield _row(line, columns, cells)
            line = reader.line_num + 1  # a quoted cell may span lines


def _header(reader: "Reader") -> tuple[str, ...]:
    header = tuple(name.strip() for name in next(reader, []))
    if not set(header) & set(ID_COLUMNS):
        raise NotImportable(
            "metadata",
            f"no column names the image: expected one of {', '.join(ID_COLUMNS)}, separated by commas; "
            f"the first line is {','.join(header)[:200]!r}",
        )
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise NotImportable("metadata", f"the column {twice[0]!r} appears twice: remove or rename one")
    return header


def _row(line: int, columns: "Columns", cells: list[str]) -> Row | BadRow:
    if len(cells) != len(columns.header):
        published = dict(zip(columns.header, cells, strict=False))
        named = next((published[column] for column in ID_COLUMNS if published.get(column)), None)
        reason = f"has {len(cells)} cells where the header has {len(columns.header)}"
        return BadRow(line, named, NotImportable("row", reason))
    return columns.row(line, [_unguarded(cell) if cell[:1] == "\t" else cell for cell in cells])


def _unguarded(cell: str) -> str:
    # The archive's export puts a TAB before what a spreadsheet would take for a formula.
    return cell[1:] if cell[1:2] in {"=", "-", "+", "@"} else cell


def row_of(line: int, published: Mapping[str, str]) -> Row | BadRow:
    """Return the row of an image whose metadata did not come as a line of a CSV."""
    return _columns(tuple(published)).row(line, list(published.values()))


_MOST_REMEMBERED = 20_000  # cells of one column


@dataclass(frozen=True, slots=True)
class _Cells:
    """A field, where its columns stand, and what cells were read as: most are the same few words."""

    field: Field
    places: tuple[int, ...]
    known: dict[str, tuple[str | None, str]] = dataclass_field(default_factory=dict)

    def read(self, cells: Sequence[str]) -> tuple[str | None, str]:
        """Return the value, None where it is not known, and the note on it if there is one."""
        for place in self.places:
            cell = cells[place]
            found = self.known.get(cell)
            if found is None:
                found = self._read(cell)
                if len(self.known) < _MOST_REMEMBERED:
                    self.known[cell] = found
            if found[0] is not None or found[1]:
                return found
        return None, ""

    def _read(self, cell: str) -> tuple[str | None, str]:
        cell = cell.strip()
        if cell.lower() in UNKNOWN:
            return None, ""
        field = self.field
        try:
            value = field.read(cell)
        except NotImportable as error:
            if field not in KEPT_FIELDS:
                raise
            return None, f"{error}; kept as published only"
        if field.choices is not None and value not in field.choices:
            return None, f"{field.name}: {cell!r} is not a known value; kept as published only"
        return value, ""


class Columns:
    """The columns of one table, and the fields that are read from them."""

    def __init__(self, header: tuple[str, ...]) -> None:
        self.header = header
        place = {column: number for number, column in enumerate(header)}
        self._fields = [
            _Cells(field, places)
            for field in ALL_FIELDS
            if (places := tuple(place[column] for column in field.columns if column in place))
        ]

    def row(self, line: int, cells: list[str]) -> Row | BadRow:
        """Read the cells of one row."""
        published = dict(zip(self.header, cells, strict=True))
        try:
            values, notes = self._values(cells)
        except NotImportable as error:
            named = next((published[column] for column in ID_COLUMNS if published.get(column)), None)
            return BadRow(line, named, error)
        if "isic_id" not in values:
            return BadRow(line, None, NotImportable("isic_id", "the row names no image"))
        return Row(line, values, published, notes)

    def _values(self, cells: list[str]) -> tuple[dict[str, str], tuple[str, ...]]:
        values: dict[str, str] = {}
        notes: list[str] = []
        for field in self._fields:
            value, note = field.read(cells)
            if value is not None:
                values[field.field.name] = value
            elif note:
                notes.append(note)
        return values, tuple(notes)


@lru_cache(maxsize=64)
def _columns(header: tuple[str, ...]) -> Columns:
    return Columns(header)


def unknown_columns(metadata: Path) -> list[str]:
    """Return the columns that no field reads; their cells are kept as published."""
    with _readable(metadata) as reader:
        return [name for name in _header(reader) if name not in FIELD_BY_COLUMN]
