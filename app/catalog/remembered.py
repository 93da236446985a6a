"""What is remembered of an instance while its file comes and goes.

What is shown of it, where it is a member, and that nobody is to be shown it at all.
"""

import re
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, bindparam, select, update

from app.catalog.corpus_models import member
from app.catalog.entry import Entry
from app.catalog.facts import ISIC_ID, bind
from app.catalog.models import instance, series
from app.catalog.overlays import overlays_of, show
from app.catalog.prepared import as_list, listed

ISIC_NAME = re.compile(r"ISIC_[0-9]{7}", re.ASCII)


def names_of(arriving: Iterable[tuple[Entry, str]]) -> dict[str, set[str]]:
    """Return by which names images of entries, each with its file's name, are known, and of which instances.

    An image is known by its instance's UID, by the identifier that its file states, or by its file's name.
    """
    names: dict[str, set[str]] = {}
    for entry, file_name in arriving:
        stated = {value for attribute, value in entry.facts if attribute == ISIC_ID}
        for name in {*stated, *ISIC_NAME.findall(file_name), entry.sop_instance_uid}:
            names.setdefault(name, set()).add(entry.sop_instance_uid)
    return names


def welcome_back(connection: Connection, overlaid: Sequence[str], members: Sequence[str]) -> None:
    """Show what was shown of instances that have just been registered, and make them members again."""
    if overlaid:
        show(connection, overlays_of(connection, overlaid))
    if members:
        resolve_members(connection, members)


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
