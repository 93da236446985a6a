"""What there is to tell of collections: how much they hold, and on which terms."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from app.archive.archive import Archive
from app.archive.collections import find_named
from app.archive.licences import LICENCE_IDS
from app.catalog.collections import Collection, all_collections, parts
from app.catalog.members import Extent


@dataclass(frozen=True, slots=True)
class Summary:
    """A collection, what it holds, and the names of that above and those below it that may be told."""

    collection: Collection
    extent: Extent
    parent: str | None
    parts: list[str]

    @property
    def licences(self) -> dict[str | None, int]:
        """How many instances there are under each licence; None where it is not known."""
        counts: dict[str | None, int] = {}
        for licence_id, _, instances in self.extent.terms:
            counts[licence_id] = counts.get(licence_id, 0) + instances
        return counts

    @property
    def licence_id(self) -> str | None:
        """The strictest of these licences, which all of it can be used under; None where one is not known."""
        ids = [licence_id for licence_id in self.licences if licence_id in LICENCE_IDS]
        is_known = bool(ids) and len(ids) == len(self.licences)
        return max(ids, key=LICENCE_IDS.index) if is_known else None

    @property
    def attributions(self) -> list[str]:
        """Everybody who must be named."""
        return sorted({attribution for _, attribution, _ in self.extent.terms if attribution})

    def told(self) -> dict[str, Any]:
        """Return all of it as JSON has it."""
        one, held = self.collection, self.extent
        return {
            "slug": one.slug,
            "title": one.title,
            "description": one.description,
            "public": one.is_public,
            "pinned": one.is_pinned,
            "locked": one.is_locked,
            "requires_licence": one.requires_licence,
            "created_at": one.created_at,
            "parent": self.parent,
            "parts": self.parts,
            "studies": held.studies,
            "series": held.series,
            "instances": held.instances,
            "licences": [{"id": one, "instances": count} for one, count in self.licences.items()],
            "licence": self.licence_id,
            "attributions": self.attributions,
        }


def summaries(archive: Archive, limit: int, offset: int, *, sees_all: bool) -> tuple[list[Summary], int]:
    """Return a page of the collections that are public, or of all of them, and how many there are."""
    with archive.catalog.read() as connection:
        told = _told(connection, sees_all=sees_all)
        page = list(told.values())[offset : offset + limit]
        return [_summary(archive, connection, told, one) for one in page], len(told)


def summary_of(archive: Archive, slug: str, *, sees_all: bool) -> Summary:
    """Return what there is to tell of a collection; raises NotFound, as of one that is not to be seen."""
    with archive.catalog.read() as connection:
        told = _told(connection, sees_all=sees_all)
        return _summary(archive, connection, told, find_named(told, slug))


def _told(connection: Connection, *, sees_all: bool) -> dict[int, Collection]:
    return {number: one for number, one in all_collections(connection).items() if sees_all or one.is_public}


def _summary(
    archive: Archive, connection: Connection, told: Mapping[int, Collection], one: Collection
) -> Summary:
    above = told.get(one.parent_id) if one.parent_id is not None else None
    below = [each.slug for each in parts(told, one.id)]
    return Summary(one, archive.extents.get(connection, one.id), above.slug if above else None, below)
