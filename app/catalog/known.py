"""What must be known before rows are written: one question for a batch of instances, one for the numbers.

A question costs more than what SQLite does to answer it, and most batches are of one instance.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import (
    Column,
    ColumnElement,
    CompoundSelect,
    Connection,
    LargeBinary,
    Select,
    Text,
    cast,
    func,
    literal_column,
    null,
    or_,
    select,
    union_all,
)

from app.catalog.corpus_models import image, member, overlay
from app.catalog.models import arrival, change, file, instance, series, study, tombstone
from app.catalog.prepared import as_list, listed, prepared


@dataclass(slots=True)
class Known:
    """What is known of instances, by SOP Instance UID."""

    digests: dict[str, bytes] = field(default_factory=dict)  # of the files of those that are held, or arrived
    withdrawn: set[str] = field(default_factory=set)
    hidden: list[tuple[str | None, str | None]] = field(default_factory=list)  # images: UID and identifier
    overlaid: list[str] = field(default_factory=list)
    members: list[str] = field(default_factory=list)


def known_of(connection: Connection, sop_instance_uids: Sequence[str], names: Iterable[str]) -> Known:
    """Return what is known of instances; `names` are the identifiers by which images of theirs are known."""
    known = Known()
    values = {"uids": as_list(sop_instance_uids), "names": as_list(names)}
    for what, uid, name, sha256 in _known(connection.dialect).rows(connection, values):
        match what:
            case "held":
                known.digests[uid] = sha256
            case "withdrawn":
                known.withdrawn.add(uid)
            case "hidden":
                known.hidden.append((uid, name))
            case "overlaid":
                known.overlaid.append(uid)
            case _:
                known.members.append(uid)
    return known


@prepared
def _known() -> CompoundSelect[Any]:
    held = _told("held", instance.c.sop_instance_uid, sha256=file.c.sha256)
    hidden = _told("hidden", image.c.sop_instance_uid, name=image.c.isic_id)
    return union_all(
        _told("held", arrival.c.sop_instance_uid, sha256=arrival.c.sha256).where(_is_asked(arrival)),
        held.join_from(instance, file, instance.c.file_id == file.c.id).where(_is_asked(instance)),
        _told("withdrawn", tombstone.c.sop_instance_uid).where(_is_asked(tombstone)),
        hidden.where(image.c.is_public == 0, or_(listed(image.c.isic_id, "names"), _is_asked(image))),
        _told("overlaid", overlay.c.sop_instance_uid).where(_is_asked(overlay)),
        _told("member", member.c.sop_instance_uid).where(_is_asked(member)).distinct(),
    )


def _told(
    what: str,
    uid: Column[str],
    name: ColumnElement[Any] | None = None,
    sha256: ColumnElement[Any] | None = None,
) -> Select[Any]:
    return select(
        literal_column(f"'{what}'").label("what"),
        uid.label("uid"),
        (cast(null(), Text) if name is None else name).label("name"),
        (cast(null(), LargeBinary) if sha256 is None else sha256).label("sha256"),
    )


def _is_asked(table: Any) -> ColumnElement[bool]:  # noqa: ANN401 any table that names instances
    return listed(table.c.sop_instance_uid, "uids")


class Numbers(NamedTuple):
    """The last number of each table; writers take turns (database.py), so that the next ones are free."""

    study: int
    series: int
    file: int
    instance: int
    change: int


def last_numbers(connection: Connection) -> Numbers:
    """Return the last numbers, 0 where there is no row."""
    (row,) = _last_numbers(connection.dialect).rows(connection, {})
    return Numbers(*(number or 0 for number in row))


@prepared
def _last_numbers() -> Select[Any]:
    columns = study.c.id, series.c.id, file.c.id, instance.c.id, change.c.sequence
    return select(
        *(
            select(func.max(column)).scalar_subquery().label(name)
            for name, column in zip(Numbers._fields, columns, strict=True)
        )
    )
