"""Which instances names stand for: ISIC ids, and UIDs of whatever level."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from app.catalog.corpus_models import fact, image
from app.catalog.facts import ISIC_ID
from app.catalog.models import instance, series, study
from app.catalog.prepared import as_list, listed


@dataclass(frozen=True)
class Meant:
    """What names stand for.

    `held` has the SOP Instance UIDs of each name; `hidden` names images that nobody is to be shown, with
    their UID where it is known.
    """

    held: dict[str, set[str]] = field(default_factory=dict)
    hidden: dict[str, str | None] = field(default_factory=dict)


def meant_by(connection: Connection, names: Iterable[str]) -> Meant:
    """Return which instances are meant; a name that is in neither answer is of nothing that is known."""
    values = {"names": as_list(names)}
    found = Meant()
    uid = instance.c.sop_instance_uid
    held = (
        select(uid.label("name"), uid).where(listed(uid, "names")),
        select(fact.c.value.label("name"), uid)
        .join(instance, fact.c.instance_id == instance.c.id)
        .where(fact.c.attribute == ISIC_ID, listed(fact.c.value, "names")),
        select(image.c.isic_id.label("name"), uid)
        .join(instance, image.c.sop_instance_uid == uid)
        .where(listed(image.c.isic_id, "names")),
        select(series.c.series_instance_uid.label("name"), uid)
        .join(instance, instance.c.series_id == series.c.id)
        .where(listed(series.c.series_instance_uid, "names")),
        select(study.c.study_instance_uid.label("name"), uid)
        .join_from(study, series, series.c.study_id == study.c.id)
        .join(instance, instance.c.series_id == series.c.id)
        .where(listed(study.c.study_instance_uid, "names")),
    )
    for statement in held:
        for name, sop_instance_uid in connection.execute(statement, values):
            found.held.setdefault(name, set()).add(sop_instance_uid)
    hidden = select(image.c.isic_id, image.c.sop_instance_uid).where(image.c.is_public == 0)
    for column in (image.c.isic_id, image.c.sop_instance_uid):
        for isic_id, sop_instance_uid in connection.execute(hidden.where(listed(column, "names")), values):
            name = isic_id if column is image.c.isic_id else sop_instance_uid
            found.hidden[name] = sop_instance_uid
    return found
