"""The metadata of the images that are held and public, as their documents tell it."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import orjson

from app.archive.archive import Archive
from app.archive.query import search_archive, search_attributes
from app.catalog.documents import Attributes
from app.corpus.isic import cells
from app.corpus.isic.fields import FIELD_BY_COLUMN, Field
from app.corpus.isic.rows import BadRow, row_of
from app.dicom import private_block as private
from app.dicom.matching import Level, Match, Query
from app.errors import NotImportable, SearchTooBroad

Cell = str | int | float | bool
FIRST_COLUMNS = ("isic_id", "attribution", "copyright_license")
# The answer to who may see it, and where it is, are no metadata of an image.
_NOT_BY_DEFAULT = {"public", "sop_instance_uid"}
_INTEGERS, _NUMBERS = {cells.integer, cells.age}, {cells.decimal, cells.millimetres, cells.measurement}


class Form(StrEnum):
    """Which values are exported."""

    CANONICAL = "canonical"  # as the registry reads them, by the current names
    PUBLISHED = "published"  # word for word


@dataclass(frozen=True, slots=True)
class Exported:
    """One image: its fields in canonical form, and its columns as published."""

    values: dict[str, str]
    published: dict[str, str]

    def cell(self, name: str, form: Form) -> str | None:
        """Return a field, by any of its names, or a column that no field reads; None if not known."""
        known = FIELD_BY_COLUMN.get(name)
        if known is None:
            return self.published.get(name) or None
        if form is Form.CANONICAL:
            return self.values.get(known.name)
        told = next((cell for column in known.columns if (cell := self.published.get(column))), None)
        return told or (self.values.get(known.name) if known.name in FIRST_COLUMNS else None)

    def names(self) -> Iterator[str]:
        """Yield the fields that are known, and the columns that no field reads."""
        yield from self.values
        yield from (
            column for column, cell in self.published.items() if cell and column not in FIELD_BY_COLUMN
        )


@dataclass
class Reading:
    """The images of the instances that match, each once, in the order of registration; goes on where it was.

    `read` is how many instances were read, `seen` the images among them; `advance` is told of each.
    """

    archive: Archive
    matches: Sequence[tuple[str, Match]]
    advance: Callable[[], None]
    read: int = 0
    seen: set[str] = field(default_factory=set)

    def __iter__(self) -> Iterator[Exported]:
        """Yield the images of what has not been read."""
        query = Query(Level.INSTANCE, matches=tuple(self.matches), include="all", offset=self.read)
        for attributes in search_attributes(self.archive, query):
            self.read += 1
            self.advance()
            isic_id = _first(attributes, private.ISIC_ID)
            if isic_id and isic_id not in self.seen:  # the levels of a pyramid are one image
                self.seen.add(isic_id)
                yield _exported(isic_id, attributes)


def count_instances(archive: Archive, matches: Sequence[tuple[str, Match]]) -> int | None:
    """Return how many instances match; None where counting them takes too long."""
    try:
        page = search_archive(archive, Query(Level.INSTANCE, matches=tuple(matches), limit=1))
    except SearchTooBroad:
        return None
    return len(page.answers) + page.remaining


def _exported(isic_id: str, attributes: Attributes) -> Exported:
    text = _first(attributes, private.METADATA_AS_PUBLISHED)
    loaded = orjson.loads(text) if text else {}
    published = {str(column): str(cell) for column, cell in loaded.items()}
    row = row_of(0, {**published, "isic_id": isic_id})
    values = {} if isinstance(row, BadRow) else dict(row.values)
    # On which terms it is shown: the stricter of its own and its set's.
    for name, number in (("attribution", private.ATTRIBUTION), ("copyright_license", private.LICENCE_ID)):
        if held := _first(attributes, number):
            values[name] = held
    return Exported({**values, "isic_id": isic_id}, published)


def _first(attributes: Attributes, number: int) -> str | None:
    found = private.values_of(attributes, number)
    return str(found[0]) if found else None


def count_fields(images: Iterable[Exported]) -> Counter[str]:
    """Return how many images have each field."""
    counts: Counter[str] = Counter()
    for image in images:
        counts.update(image.names())
    return counts


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an export: how it is headed, which field it holds, and the line that asks for it."""

    header: str
    name: str
    line: int | None = None

    @property
    def field(self) -> Field | None:
        """The field, None for a column that no field reads."""
        return FIELD_BY_COLUMN.get(self.name)

    @property
    def kind(self) -> type[Cell]:
        """What its cells are in canonical form."""
        parse = self.field.parse if self.field else None
        if parse in _INTEGERS:
            return int
        return float if parse in _NUMBERS else bool if parse is cells.boolean else str

    def typed(self, text: str) -> Cell:
        """Return a cell in canonical form as what it is."""
        if self.kind is bool:
            return text == "YES"
        return self.kind(text)


def used_columns(counts: Counter[str]) -> list[Column]:
    """Return the archive's own columns: identifier, attribution, licence, then what is used by name."""
    others = sorted(counts.keys() - {*FIRST_COLUMNS, *_NOT_BY_DEFAULT})
    return [Column(name, name) for name in (*FIRST_COLUMNS, *others)]


def read_mapping(path: Path) -> list[Column]:
    """Return the columns that a file of pairs asks for: our header, a comma, ISIC's name of the field."""
    columns: list[Column] = []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise NotImportable("fields", f"{path} cannot be read: {error}") from None
    for number, line in enumerate(lines, 1):
        pair = [part.strip() for part in line.split(",")]
        if not line.strip() or (number == 1 and [part.lower() for part in pair] == ["internal", "isic"]):
            continue
        if len(pair) != 2 or not all(pair):
            reason = f"{path}, line {number}: expected internal,ISIC but found {line[:100]!r}"
            raise NotImportable("fields", reason)
        columns.append(Column(pair[0], pair[1].rpartition(".")[2], number))  # meta.clinical.sex is sex
    if not columns:
        raise NotImportable("fields", f"{path} names no field")
    return columns
