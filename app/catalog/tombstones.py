"""What was held and is withdrawn: told apart from what never was, and kept from coming back."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, delete, exists, select

from app.catalog.corpus_models import image
from app.catalog.counts import chunks
from app.catalog.models import tombstone
from app.catalog.prepared import insert_rows

_UID = {
    "study": tombstone.c.study_instance_uid,
    "series": tombstone.c.series_instance_uid,
    "instance": tombstone.c.sop_instance_uid,
}


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A withdrawn instance; the time is ISO 8601 in UTC, `withdrawn_by` a token's id or the command line."""

    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    sha256: bytes | None
    reason: str
    withdrawn_at: str
    withdrawn_by: str


def bury(connection: Connection, tombstones: Sequence[Tombstone]) -> None:
    """Add tombstones, within the caller's transaction."""
    names = Tombstone.__slots__
    insert_rows(connection, tombstone, [{name: getattr(each, name) for name in names} for each in tombstones])


def tombstones_of(
    connection: Connection,
    named: Mapping[str, str],
    limit: int | None = None,
    where: ColumnElement[bool] | None = None,
) -> list[Tombstone]:
    """Return the tombstones below a reference (its parameters()), the newest first."""
    statement = select(tombstone) if where is None else select(tombstone).where(where)
    for level, uid in named.items():
        statement = statement.where(_UID[level] == uid)
    statement = statement.order_by(tombstone.c.withdrawn_at.desc(), tombstone.c.sop_instance_uid)
    return [Tombstone(*row) for row in connection.execute(statement.limit(limit))]


def tombstones_told(connection: Connection, named: Mapping[str, str]) -> list[Tombstone]:
    """Return the newest tombstone below a reference, of those that are not of hidden images."""
    is_hidden = exists().where(
        image.c.sop_instance_uid == tombstone.c.sop_instance_uid, image.c.is_public == 0
    )
    return tombstones_of(connection, named, limit=1, where=~is_hidden)


def tombstones_named(connection: Connection, uid: str) -> list[Tombstone]:
    """Return the tombstones that a UID names, of whatever level it is."""
    found = (tombstones_of(connection, {level: uid}) for level in _UID)
    return next((tombstones for tombstones in found if tombstones), [])


def exhume(connection: Connection, sop_instance_uids: Iterable[str]) -> None:
    """Delete tombstones, within the caller's transaction: these instances may come back."""
    for uids in chunks(list(sop_instance_uids)):
        connection.execute(delete(tombstone).where(tombstone.c.sop_instance_uid.in_(uids)))
