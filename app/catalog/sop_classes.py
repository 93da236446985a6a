"""SOP Classes in Study (0008,0062): kept nowhere, and found out for those who ask for it."""

from collections import defaultdict
from collections.abc import Collection

from sqlalchemy import Connection, bindparam, select

from app.catalog.models import instance, series, study
from app.catalog.scope import Sieve, is_within
from app.dicom.matching import Level

SOP_CLASSES_IN_STUDY = "00080062"


def sop_classes_of(
    connection: Connection, study_instance_uids: Collection[str], scope: int | None
) -> dict[str, list[str]]:
    """Return the SOP classes that studies hold, or that a collection has of them, in ascending order."""
    statement = (
        select(study.c.study_instance_uid, instance.c.sop_class_uid)
        .distinct()
        .join_from(study, series, series.c.study_id == study.c.id)
        .join(instance, instance.c.series_id == series.c.id)
        .where(study.c.study_instance_uid.in_(bindparam("studies", expanding=True)))
    )
    values: dict[str, object] = {"studies": list(study_instance_uids)}
    if scope is not None:
        statement = statement.where(is_within(Level.INSTANCE, Sieve.EACH))
        values["scope"] = scope
    found: dict[str, list[str]] = defaultdict(list)
    for uid, sop_class in connection.execute(statement, values):
        found[uid].append(sop_class)
    return {uid: sorted(sop_classes) for uid, sop_classes in found.items()}
