"""Members of collections: rows by SOP Instance UID, their own and those of their parts."""

from collections.abc import Collection as Some
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, bindparam, delete, exists, func, insert, literal, select, update

from app.catalog.collections import Collection
from app.catalog.corpus_models import collection, image, member, terms
from app.catalog.counts import chunks, count_held
from app.catalog.facts import bind
from app.catalog.models import instance, series
from app.catalog.prepared import as_list, listed, prepared

_NUMBERS = ("study_id", "series_id", "instance_id")


def members_of(connection: Connection, number: int, uids: Iterable[str]) -> dict[str, bool]:
    """Return those of these UIDs that are members, and whether a collection has them of its own."""
    rows = connection.execute(
        select(member.c.sop_instance_uid, member.c.is_own).where(
            member.c.collection_id == number, listed(member.c.sop_instance_uid, "uids")
        ),
        {"uids": as_list(uids)},
    )
    return {row.sop_instance_uid: bool(row.is_own) for row in rows}


def own_members(connection: Connection, number: int) -> list[str]:
    """Return the UIDs of a collection's own members, held or not."""
    own = member.c.collection_id == number, member.c.is_own == 1
    return list(connection.execute(select(member.c.sop_instance_uid).where(*own)).scalars())


def add_own(connection: Connection, line: Sequence[Collection], uids: Some[str]) -> None:
    """Make instances a collection's own members, and members of all that it is a part of (`line`)."""
    number, values = line[0].id, {"uids": as_list(uids)}
    inherited = member.c.collection_id == number, listed(member.c.sop_instance_uid, "uids")
    connection.execute(update(member).where(*inherited).values(is_own=1), values)
    there = members_of(connection, number, uids)
    held = _numbers(connection, uids)
    rows = [
        {
            "collection_id": number,
            "sop_instance_uid": uid,
            **dict(zip(_NUMBERS, held.get(uid, (None,) * 3), strict=True)),
            "is_own": 1,
        }
        for uid in sorted(uids)
        if uid not in there
    ]
    if rows:
        connection.execute(insert(member), rows)
    settle(connection, line[1:], uids)


def remove_own(connection: Connection, line: Sequence[Collection], uids: Some[str]) -> None:
    """End memberships of a collection's own, and those that follow from them."""
    own = member.c.collection_id == line[0].id, listed(member.c.sop_instance_uid, "uids")
    connection.execute(update(member).where(*own).values(is_own=0), {"uids": as_list(uids)})
    settle(connection, line, uids)


def settle(connection: Connection, line: Sequence[Collection], uids: Some[str]) -> None:
    """Have collections, from the nearest on, hold what their parts hold; then what follows from that."""
    values = {"uids": as_list(uids)}
    for one in line:
        _drop_inherited(connection, one.id, values)
        _inherit(connection, one.id, values)
    follow_up(connection, uids)


def _drop_inherited(connection: Connection, number: int, values: dict[str, str]) -> None:
    """End memberships that no part of a collection gives it any more."""
    other = member.alias("other")
    given = exists().where(
        other.c.collection_id.in_(_parts(number)), other.c.sop_instance_uid == member.c.sop_instance_uid
    )
    statement = delete(member).where(
        member.c.collection_id == number,
        listed(member.c.sop_instance_uid, "uids"),
        member.c.is_own == 0,
        ~given,
    )
    connection.execute(statement, values)


def _inherit(connection: Connection, number: int, values: dict[str, str]) -> None:
    """Make members of a collection what its parts have, and it has not yet."""
    here = member.alias("here")
    is_there = exists().where(
        here.c.collection_id == number, here.c.sop_instance_uid == member.c.sop_instance_uid
    )
    numbers = (func.max(member.c[name]) for name in _NUMBERS)
    missing = (
        select(literal(number), member.c.sop_instance_uid, *numbers, literal(0))
        .where(member.c.collection_id.in_(_parts(number)), listed(member.c.sop_instance_uid, "uids"))
        .where(~is_there)
        .group_by(member.c.sop_instance_uid)
    )
    names = ["collection_id", "sop_instance_uid", *_NUMBERS, "is_own"]
    connection.execute(insert(member).from_select(names, missing), values)


def follow_up(connection: Connection, uids: Some[str]) -> None:
    """Bind what is bound now, and have what was remembered of searches forgotten."""
    bind(connection, [row_instance for _, _, row_instance in _numbers(connection, uids).values()])
    count_held(connection, 0, 0, 0, 0)


def all_members(connection: Connection, number: int) -> list[str]:
    """Return the UIDs of all members, held or not."""
    statement = select(member.c.sop_instance_uid).where(member.c.collection_id == number)
    return list(connection.execute(statement).scalars())


def not_public(connection: Connection, uids: Iterable[str]) -> list[str]:
    """Return the ISIC ids of those of these instances whose images nobody is to be shown."""
    hidden = select(image.c.isic_id).where(image.c.is_public == 0, listed(image.c.sop_instance_uid, "uids"))
    return list(connection.execute(hidden.order_by(image.c.isic_id), {"uids": as_list(uids)}).scalars())


@dataclass(frozen=True, slots=True)
class Extent:
    """What a collection holds: counts, and how many instances there are on each terms."""

    studies: int
    series: int
    instances: int
    terms: tuple[tuple[str | None, str | None, int], ...]  # licence, whom to name, instances


def extent(connection: Connection, number: int) -> Extent:
    """Count what a collection holds; that reads through all of its members."""
    counts = [_count(connection.dialect, name).scalar(connection, {"scope": number}) for name in _NUMBERS]
    rows = _terms(connection.dialect).rows(connection, {"scope": number})
    return Extent(
        counts[0],
        counts[1],
        counts[2],
        tuple((row.licence_id, row.attribution, row.instances) for row in rows),
    )


@prepared
def _count(name: str) -> Select[Any]:
    held = member.c.collection_id == bindparam("scope"), member.c.instance_id.is_not(None)
    if name == "instance_id":
        return select(func.count()).select_from(member).where(*held)
    return select(func.count()).select_from(select(member.c[name]).where(*held).distinct().subquery())


@prepared
def _terms() -> Select[Any]:
    counted = func.count().label("instances")
    return (
        select(terms.c.licence_id, terms.c.attribution, counted)
        .select_from(member)
        .join(instance, member.c.instance_id == instance.c.id)
        .outerjoin(terms, instance.c.terms_id == terms.c.id)
        .where(member.c.collection_id == bindparam("scope"))
        .group_by(terms.c.licence_id, terms.c.attribution)
        .order_by(counted.desc(), terms.c.licence_id, terms.c.attribution)
    )


def _parts(number: int) -> Select[Any]:
    return select(collection.c.id).where(collection.c.parent_id == number)


def _numbers(connection: Connection, uids: Some[str]) -> dict[str, tuple[int, int, int]]:
    found: dict[str, tuple[int, int, int]] = {}
    for some in chunks(list(uids)):
        rows = connection.execute(
            select(instance.c.sop_instance_uid, series.c.study_id, instance.c.series_id, instance.c.id)
            .join(series, instance.c.series_id == series.c.id)
            .where(instance.c.sop_instance_uid.in_(some))
        )
        found |= {uid: (study_id, series_id, number) for uid, study_id, series_id, number in rows}
    return found
