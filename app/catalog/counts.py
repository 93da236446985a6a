"""What follows from what is registered: counts, totals and ready answers; kept in the same transaction."""

from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Dialect, Table, bindparam, delete, func, select, text, update

from app.catalog.answers import INSTANCES_BELOW, required, series_attributes, study_attributes
from app.catalog.documents import Attributes, dump_ordered, parse
from app.catalog.models import holding, instance, series, study
from app.catalog.prepared import Written, run_many
from app.dicom.matching import Level

T = TypeVar("T")

CHUNK = 500  # values in one IN list

Values = dict[str, Any]  # of columns, by name


def chunks(values: list[T]) -> Iterator[list[T]]:
    """Cut a list into pieces that one statement can take."""
    return (values[start : start + CHUNK] for start in range(0, len(values), CHUNK))


def drop_empty(connection: Connection, series_ids: set[int], study_ids: set[int]) -> tuple[int, int]:
    """Delete those series and studies that hold nothing any more; return how many studies and series."""
    dropped_series = sum(
        connection.execute(
            delete(series).where(
                series.c.id.in_(chunk),
                ~select(instance.c.id).where(instance.c.series_id == series.c.id).exists(),
            )
        ).rowcount
        for chunk in chunks(list(series_ids))
    )
    dropped_studies = sum(
        connection.execute(
            delete(study).where(
                study.c.id.in_(chunk), ~select(series.c.id).where(series.c.study_id == study.c.id).exists()
            )
        ).rowcount
        for chunk in chunks(list(study_ids))
    )
    return dropped_studies, dropped_series


class Answered(Protocol):
    """The row of a study or series, as far as its answers need it."""

    @property
    def number_of_instances(self) -> int:
        """How many instances it has."""

    @property
    def answer(self) -> bytes:
        """What searches return."""

    @property
    def attributes(self) -> bytes:
        """All that is known of it."""


def series_values(known: Attributes, study_instance_uid: str, instances: int) -> Values:
    """Return the columns of a series that follow from what it holds; `known` is what its instances say."""
    attributes = series_attributes(known, study_instance_uid, instances)
    return {"number_of_instances": instances} | _answers(Level.SERIES, attributes)


def study_values(known: Attributes, modalities: Collection[str], series_count: int, instances: int) -> Values:
    """Return the columns of a study that follow from what it holds; `known` is what its instances say."""
    attributes = study_attributes(known, modalities, series_count, instances)
    counts = {"number_of_series": series_count, "number_of_instances": instances}
    return counts | _answers(Level.STUDY, attributes)


def more_instances(level: Level, row: Answered, more: int) -> Values | None:
    """Return the columns of a study or series in which the number of instances alone is new.

    None where they must be made anew. To parse what is stored and write it again takes longer than all
    else that the registration of one instance does to a study.
    """
    instances = row.number_of_instances + more
    before, now = (_counted(level, number) for number in (row.number_of_instances, instances))
    if row.answer.count(before) != 1 or row.attributes.count(before) != 1:
        return None
    answer, attributes = row.answer.replace(before, now), row.attributes.replace(before, now)
    return {"number_of_instances": instances, "answer": answer, "attributes": attributes}


def _counted(level: Level, number: int) -> bytes:
    return b'"%b":{"vr":"IS","Value":[%d]}' % (INSTANCES_BELOW[level].encode(), number)


def _answers(level: Level, attributes: Attributes) -> Values:
    ordered = dict(sorted(attributes.items()))
    return {"answer": dump_ordered(required(level, ordered)), "attributes": dump_ordered(ordered)}


def refresh(connection: Connection, series_ids: set[int], study_ids: set[int]) -> None:
    """Count again what is below these series and studies, and make their answers anew."""
    for chunk in chunks(list(series_ids)):
        update_rows(connection, series, list(_counted_series(connection, chunk)))
    for chunk in chunks(list(study_ids)):
        update_rows(connection, study, list(_counted_studies(connection, chunk)))


def _counted_series(connection: Connection, ids: list[int]) -> Iterator[Values]:
    rows = connection.execute(
        select(
            series.c.id,
            series.c.attributes,
            study.c.study_instance_uid,
            func.count(instance.c.id).label("instances"),
        )
        .join(study, series.c.study_id == study.c.id)
        .join(instance, instance.c.series_id == series.c.id)
        .where(series.c.id.in_(ids))
        .group_by(series.c.id, series.c.attributes, study.c.study_instance_uid)
    )
    for row in rows:
        values = series_values(parse(row.attributes), row.study_instance_uid, row.instances)
        yield values | {"row_id": row.id}


def _counted_studies(connection: Connection, ids: list[int]) -> Iterator[Values]:
    modalities: dict[int, list[str]] = {}
    below: dict[int, tuple[int, int]] = {}
    for study_id, modality, count, instances in connection.execute(
        select(series.c.study_id, series.c.modality, func.count(), func.sum(series.c.number_of_instances))
        .where(series.c.study_id.in_(ids))
        .group_by(series.c.study_id, series.c.modality)
    ):
        if modality:
            modalities.setdefault(study_id, []).append(modality)
        so_far = below.get(study_id, (0, 0))
        below[study_id] = so_far[0] + count, so_far[1] + int(instances)
    for row in connection.execute(select(study.c.id, study.c.attributes).where(study.c.id.in_(list(below)))):
        values = study_values(parse(row.attributes), modalities.get(row.id, []), *below[row.id])
        yield values | {"row_id": row.id}


def update_rows(connection: Connection, table: Table, rows: Sequence[Values]) -> None:
    """Give each of these rows, by its `row_id`, its values; all name the same columns."""
    if rows:
        run_many(connection, _update(connection.dialect, table, tuple(rows[0])), rows)


@lru_cache
def _update(dialect: Dialect, table: Table, names: tuple[str, ...]) -> Written:
    columns: dict[str, Any] = {name: bindparam(name) for name in names if name != "row_id"}
    return Written(update(table).where(table.c.id == bindparam("row_id")).values(columns), dialect)


def count_held(connection: Connection, studies: int, new_series: int, instances: int, size: int) -> None:
    """Add to the totals, negative numbers after a removal; every change raises the generation."""
    values = {
        "studies_more": studies,
        "series_more": new_series,
        "instances_more": instances,
        "bytes_more": size,
    }
    run_many(connection, _count_held(connection.dialect), [values])


@lru_cache
def _count_held(dialect: Dialect) -> Written:
    more: dict[str, Any] = {
        name: holding.c[name] + bindparam(f"{name}_more")
        for name in ("studies", "series", "instances", "bytes")
    }
    return Written(update(holding).values(more | {"generation": holding.c.generation + text("1")}), dialect)
