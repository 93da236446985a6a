"""Which instances unique keys address, for a retrieval (PS3.4 C.4.2.2.1): columns alone, of all at once."""

from typing import Any

from sqlalchemy import Connection, Select, select

from app.catalog.attributes import BY_TAG
from app.catalog.conditions import condition
from app.catalog.models import instance, series, study
from app.catalog.prepared import prepared
from app.catalog.question import Shape, question
from app.catalog.scanning import within
from app.catalog.scope import Sieve, is_within
from app.dicom.matching import Level, Query

_LOCATED = (
    study.c.study_instance_uid,
    series.c.series_instance_uid,
    instance.c.sop_instance_uid,
    instance.c.sop_class_uid,
    instance.c.transfer_syntax_uid,
)


def located(connection: Connection, query: Query, work_s: float) -> list[tuple[str, str, str, str, str]]:
    """Return study, series and instance UID, SOP class and transfer syntax, in the order of registration.

    The keys have columns of their own. Raises SearchTooBroad when it takes longer.
    """
    with within(connection, work_s):
        asked = question(query, is_sqlite=connection.dialect.name == "sqlite")
        assert not asked.tested
        statement = _statement(connection.dialect, asked.shape, query.scope is not None)
        return statement.rows(connection, asked.values)


@prepared
def _statement(shape: Shape, is_scoped: bool) -> Select[Any]:  # noqa: FBT001 a key of the cache
    statement = (
        select(*_LOCATED)
        .select_from(instance)
        .join(series, instance.c.series_id == series.c.id)
        .join(study, series.c.study_id == study.c.id)
    )
    for number, (tag, comparison) in enumerate(shape):
        statement = statement.where(condition(BY_TAG[tag], Level.INSTANCE, comparison, f"p{number}"))
    if is_scoped:
        statement = statement.where(is_within(Level.INSTANCE, Sieve.EACH))
    return statement.order_by(instance.c.id)
