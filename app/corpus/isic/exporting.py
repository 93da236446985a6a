"""The metadata of the images that are held and public, as their documents tell it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import orjson

from app.archive.archive import Archive
from app.archive.query import search_attributes
from app.catalog.documents import Attributes
from app.corpus.isic import cells
from app.corpus.isic.fields import ALL_FIELDS, FIELD_BY_COLUMN, Field
from app.corpus.isic.rows import BadRow, row_of
from app.dicom import private_block as private
from app.dicom.matching import Level, Match, Query
from app.errors import NotImportable

Cell = str | int | float | bool
FIRST_COLUMNS = ("isic_id", "attribution", "copyright_license")
# The answer to who may see it, and where it is, are no metadata of an image.
_NOT_BY_DEFAULT = {"public", "sop_instance_uid"}
_FIELDS = {field.name: field for field in ALL_FIELDS}
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
        field = FIELD_BY_COLUMN.get(name)
        if field is None:
            return self.published.get(name) or None
        if form is Form.CANONICAL:
            return self.values.get(field.name)
        told = next((cell for column in field.columns if (cell := self.published.get(column))), None)
        return told or (self.values.get(field.name) if field.name in FIRST_COLUMNS else None)

    def names(self) -> Iterator[str]:
        """Yield the fields that are known, and the columns that no field reads."""
        yield from self.values
        yield from (
            column for column, cell in self.published.items() if cell and column not in FIELD_BY_COLUMN
        )


def exported_images(archive: Archive, matches: Sequence[tuple[str, Match]]) -> Iterator[Exported]:
    """Yield the images of the instances that match, each once, in the order of registration."""
    seen: set[str] = set()
    query = Query(Level.INSTANCE, matches=tuple(matches), include="all")
    for attributes in search_attributes(archive, query):
        isic_id = _first(attributes, private.ISIC_ID)
        if isic_id and isic_id not in seen:  # the levels of a pyramid are one image
            seen.add(isic_id)
            yield _exported(isic_id, attributes)


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
    """A column of an export: how it is headed, and which field it holds."""

    header: str
    name: str

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
        columns.append(Column(pair[0], pair[1].rpartition(".")[2]))  # meta.clinical.sex is sex
    if not columns:
        raise NotImportable("fields", f"{path} names no field")
    return columns
