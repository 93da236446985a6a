"""Collections as rows: each a name, a place below another, and what holds for it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, bindparam, delete, func, insert, select, update

from app.catalog.corpus_models import collection
from app.catalog.prepared import prepared


@dataclass(frozen=True, slots=True)
class Collection:
    """One collection; `parent_id` is that of the one it is a part of. `created_at` is ISO 8601 in UTC."""

    id: int
    slug: str
    title: str
    description: str
    parent_id: int | None
    is_public: bool
    is_pinned: bool
    is_locked: bool
    requires_licence: bool
    created_at: str


_FLAGS = ("is_public", "is_pinned", "is_locked", "requires_licence")


def all_collections(connection: Connection) -> dict[int, Collection]:
    """Return every collection by its number: the pinned first, each group by title."""
    rows = connection.execute(
        select(collection).order_by(collection.c.is_pinned.desc(), collection.c.title, collection.c.slug)
    )
    return {
        row.id: Collection(
            row.id,
            row.slug,
            row.title,
            row.description,
            row.parent_id,
            bool(row.is_public),
            bool(row.is_pinned),
            bool(row.is_locked),
            bool(row.requires_licence),
            row.created_at,
        )
        for row in rows
    }


def public_id(connection: Connection, slug: str) -> int | None:
    """Return the number of the public collection of that name."""
    found: int | None = _public(connection.dialect).scalar(connection, {"slug": slug})
    return found


@prepared
def _public() -> Select[Any]:
    return select(collection.c.id).where(collection.c.slug == bindparam("slug"), collection.c.is_public == 1)


def insert_collection(connection: Connection, values: Mapping[str, Any]) -> int:
    """Add a collection of these columns; return its number."""
    number = (connection.execute(select(func.max(collection.c.id))).scalar() or 0) + 1
    connection.execute(insert(collection).values(id=number, **_written(values)))
    return number


def update_collection(connection: Connection, number: int, values: Mapping[str, Any]) -> None:
    """Give a collection other values of some columns."""
    connection.execute(update(collection).where(collection.c.id == number).values(_written(values)))


def delete_collection(connection: Connection, number: int) -> None:
    """Delete a collection and its memberships."""
    connection.execute(delete(collection).where(collection.c.id == number))


def lineage(known: Mapping[int, Collection], number: int | None) -> list[Collection]:
    """Return a collection and those that it is a part of, from the nearest on."""
    found: list[Collection] = []
    while number is not None and number in known:
        found.append(known[number])
        number = known[number].parent_id
    return found


def parts(known: Mapping[int, Collection], number: int) -> list[Collection]:
    """Return the collections that are directly a part of one."""
    return [one for one in known.values() if one.parent_id == number]


def with_all_parts(known: Mapping[int, Collection], number: int) -> list[Collection]:
    """Return a collection and all below it."""
    return [known[number], *_below(known, parts(known, number))]


def _below(known: Mapping[int, Collection], some: Iterable[Collection]) -> Sequence[Collection]:
    return [each for one in some for each in with_all_parts(known, one.id)]


def _written(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: int(value) if name in _FLAGS else value for name, value in values.items()}
