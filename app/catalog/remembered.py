"""What is remembered of an instance while its file comes and goes.

What is shown of it, where it is a member, and that nobody is to be shown it at all.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Select, bindparam, or_, select, update

from app.catalog.corpus_models import image, member, overlay
from app.catalog.entry import Entry
from app.catalog.facts import ISIC_ID, bind
from app.catalog.models import instance, series
from app.catalog.overlays import overlays_of, show
from app.catalog.prepared import as_list, listed, prepared

ISIC_NAME = re.compile(r"ISIC_[0-9]{7}", re.ASCII)


def hidden_instances(connection: Connection, arriving: Iterable[tuple[Entry, str]]) -> set[str]:
    """Return the SOP Instance UIDs among entries, each with its file's name, of images that are not public.

    An image is known by its instance's UID, by the identifier that its file states, or by its file's name.
    """
    names: dict[str, set[str]] = {}
    for entry, file_name in arriving:
        stated = {value for attribute, value in entry.facts if attribute == ISIC_ID}
        for name in {*stated, *ISIC_NAME.findall(file_name)}:
            names.setdefault(name, set()).add(entry.sop_instance_uid)
        names.setdefault(entry.sop_instance_uid, set()).add(entry.sop_instance_uid)
    rows = _not_public(connection.dialect).rows(connection, {"names": as_list(names), "uids": as_list(names)})
    return {uid for row in rows for name in row if name is not None for uid in names.get(name, ())}


@prepared
def _not_public() -> Select[Any]:
    return select(image.c.isic_id, image.c.sop_instance_uid).where(
        image.c.is_public == 0,
        or_(listed(image.c.isic_id, "names"), listed(image.c.sop_instance_uid, "uids")),
    )


def welcome_back(connection: Connection, sop_instance_uids: Sequence[str]) -> None:
    """Show what was shown of instances that have just been registered, and make them members again."""
    values = {"uids": as_list(sop_instance_uids)}
    if rows := _overlaid(connection.dialect).rows(connection, values):
        show(connection, overlays_of(connection, [row.sop_instance_uid for row in rows]))
    if rows := _members(connection.dialect).rows(connection, values):
        resolve_members(connection, [row.sop_instance_uid for row in rows])


@prepared
def _overlaid() -> Select[Any]:
    return select(overlay.c.sop_instance_uid).where(listed(overlay.c.sop_instance_uid, "uids"))


@prepared
def _members() -> Select[Any]:
    return select(member.c.sop_instance_uid).where(listed(member.c.sop_instance_uid, "uids")).distinct()


def resolve_members(connection: Connection, sop_instance_uids: Sequence[str]) -> None:
    """Note which rows the members are that have these UIDs."""
    held = connection.execute(
        select(
            instance.c.sop_instance_uid.label("uid"),
            instance.c.id.label("row_instance"),
            instance.c.series_id.label("row_series"),
            series.c.study_id.label("row_study"),
        )
        .join(series, instance.c.series_id == series.c.id)
        .where(listed(instance.c.sop_instance_uid, "uids")),
        {"uids": as_list(sop_instance_uids)},
    ).all()
    if held:
        connection.execute(
            update(member)
            .where(member.c.sop_instance_uid == bindparam("uid"))
            .values(
                instance_id=bindparam("row_instance"),
                series_id=bindparam("row_series"),
                study_id=bindparam("row_study"),
            ),
            [row._asdict() for row in held],
        )
        bind(connection, [row.row_instance for row in held])
