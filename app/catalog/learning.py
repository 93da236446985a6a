"""What studies and series say after instances went that must leave no trace: what those that stay say."""

from collections.abc import Collection

from sqlalchemy import Connection, delete, func, select

from app.catalog.counts import chunks, refresh, update_rows
from app.catalog.documents import parse, unpack
from app.catalog.entry import said_of
from app.catalog.models import document, instance, name_term, series, study
from app.catalog.names import name_rows
from app.catalog.prepared import insert_rows
from app.dicom.matching import Level


def parents_of_held(connection: Connection, sop_instance_uids: Collection[str]) -> tuple[set[int], set[int]]:
    """Return the numbers of the series and of the studies of these instances."""
    series_ids: set[int] = set()
    study_ids: set[int] = set()
    for some in chunks(list(sop_instance_uids)):
        rows = connection.execute(
            select(series.c.id, series.c.study_id)
            .join(instance, instance.c.series_id == series.c.id)
            .where(instance.c.sop_instance_uid.in_(some))
        )
        for row in rows:
            series_ids.add(row.id)
            study_ids.add(row.study_id)
    return series_ids, study_ids


def learn_again(connection: Connection, series_ids: set[int], study_ids: set[int]) -> None:
    """Have these series and studies, as far as they are still there, say what their first instance says."""
    for some in chunks(list(series_ids)):
        first = (
            select(func.min(instance.c.id).label("id"), instance.c.series_id.label("of"))
            .where(instance.c.series_id.in_(some))
            .group_by(instance.c.series_id)
            .subquery()
        )
        rows = connection.execute(
            select(first.c.of, document.c.packed).join(first, document.c.instance_id == first.c.id)
        )
        said = [said_of(Level.SERIES, parse(unpack(row.packed))) | {"row_id": row.of} for row in rows]
        update_rows(connection, series, said)
    for some in chunks(list(study_ids)):
        first = (
            select(func.min(instance.c.id).label("id"), series.c.study_id.label("of"))
            .join(series, instance.c.series_id == series.c.id)
            .where(series.c.study_id.in_(some))
            .group_by(series.c.study_id)
            .subquery()
        )
        rows = connection.execute(
            select(first.c.of, document.c.packed).join(first, document.c.instance_id == first.c.id)
        )
        found = {row.of: parse(unpack(row.packed)) for row in rows}
        update_rows(
            connection,
            study,
            [said_of(Level.STUDY, attributes) | {"row_id": number} for number, attributes in found.items()],
        )
        connection.execute(delete(name_term).where(name_term.c.study_id.in_(list(found))))
        names = [row for number, attributes in found.items() for row in name_rows(number, attributes)]
        insert_rows(connection, name_term, names)
    refresh(connection, series_ids, study_ids)
