"""Instances that share a fact: of one lesion, one patient, one case; each with all of its facts."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Select, func, select

from app.catalog.corpus_models import fact, terms
from app.catalog.counts import chunks
from app.catalog.models import instance, series, study
from app.dicom.private_block import tag_of_element


@dataclass(frozen=True, slots=True)
class Relative:
    """One instance: its UIDs, and the values of each private element that has any, by its number."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    facts: dict[int, list[str]]

    def first(self, number: int) -> str | None:
        """Return the first value of an element; None where it has none."""
        return next(iter(self.facts.get(number, ())), None)


def relatives(
    connection: Connection, number: int, value: str, limit: int, licences: Collection[str] | None = None
) -> tuple[int, list[Relative]]:
    """Return how many instances have a value of a private element, and the first of them as registered.

    With `licences` those alone that are under one of them.
    """
    shared = [fact.c.attribute == int(tag_of_element(number), 16), fact.c.value == value]
    if licences is not None:
        shared.append(fact.c.instance_id.in_(_under(licences)))
    total = connection.execute(select(func.count()).select_from(fact).where(*shared)).scalar_one()
    return total, _found(connection, select(fact.c.instance_id).where(*shared), limit)


def _found(connection: Connection, numbers: Select[int], limit: int) -> list[Relative]:
    rows = connection.execute(
        select(
            instance.c.id,
            study.c.study_instance_uid,
            series.c.series_instance_uid,
            instance.c.sop_instance_uid,
        )
        .select_from(instance)
        .join(series, instance.c.series_id == series.c.id)
        .join(study, series.c.study_id == study.c.id)
        .where(instance.c.id.in_(numbers))
        .order_by(instance.c.id)
        .limit(limit)
    ).all()
    facts = facts_by_instance(connection, [row.id for row in rows])
    return [Relative(*row[1:], facts.get(row.id, {})) for row in rows]


def _under(licences: Collection[str]) -> Select[int]:
    named = select(terms.c.id).where(terms.c.licence_id.in_(licences))
    return select(instance.c.id).where(instance.c.terms_id.in_(named))


def facts_by_instance(connection: Connection, instance_ids: Sequence[int]) -> dict[int, dict[int, list[str]]]:
    """Return the facts of instances, by the number of their row and that of the private element."""
    found: dict[int, dict[int, list[str]]] = {}
    for ids in chunks(list(instance_ids)):
        rows = connection.execute(
            select(fact.c.instance_id, fact.c.attribute, fact.c.value).where(fact.c.instance_id.in_(ids))
        )
        for row in rows:
            found.setdefault(row.instance_id, {}).setdefault(row.attribute & 0xFF, []).append(row.value)
    return found


def values_by_instance(connection: Connection, number: int) -> dict[int, str]:
    """Return the value that each instance has of a private element of one value, by the number of its row."""
    rows = connection.execute(
        select(fact.c.instance_id, fact.c.value).where(fact.c.attribute == int(tag_of_element(number), 16))
    )
    return {row.instance_id: row.value for row in rows}
