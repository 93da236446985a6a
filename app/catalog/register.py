"""Adding to the catalogue and taking away: rows, counts and ready answers in one transaction."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, delete, func, select

from app.catalog.changes import Action, Subject, record
from app.catalog.counts import chunks, count_held, drop_empty, refresh
from app.catalog.entry import Entry
from app.catalog.facts import insert_facts, terms_of
from app.catalog.known import Known, Numbers, known_of, last_numbers
from app.catalog.models import document, file, instance, series, study
from app.catalog.parents import parents_of
from app.catalog.prepared import insert_rows
from app.catalog.remembered import names_of, welcome_back


class Outcome(StrEnum):
    """What became of an entry."""

    STORED = "stored"
    IDENTICAL = "identical"  # these very bytes are catalogued already
    CONFLICT = "conflict"  # the SOP Instance UID belongs to other bytes; the first are kept
    WITHDRAWN = "withdrawn"  # the instance was withdrawn, and nobody restored it
    NOT_PUBLIC = "not public"  # it is an image that nobody is to be shown


@dataclass(frozen=True, slots=True)
class Location:
    """Where an entry's bytes are: a name in a folder, or (no folder) the key of a managed file."""

    folder_id: int | None
    name: str


Located = tuple[Entry, Location]


def register(
    connection: Connection, entries: Sequence[Located], updated: Collection[str] = ()
) -> list[Outcome]:
    """Add what is new, within the caller's transaction; return what became of each entry, in order.

    `updated` names the instances among them that this transaction forgot to make room (forget_files).
    """
    outcomes, fresh, known = judge(connection, entries)
    if fresh:
        numbers = last_numbers(connection)
        _insert(connection, fresh, numbers)
        record(connection, [_created(entry, updated) for entry, _ in fresh], numbers.change)
        stored = {entry.sop_instance_uid for entry, _ in fresh}
        welcome_back(
            connection, *([u for u in uids if u in stored] for uids in (known.overlaid, known.members))
        )
    return outcomes


def judge(connection: Connection, entries: Sequence[Located]) -> tuple[list[Outcome], list[Located], Known]:
    """Return what is to become of each entry, in order, those that are new, and what is known of them."""
    names = names_of((entry, location.name) for entry, location in entries)
    known = known_of(connection, [entry.sop_instance_uid for entry, _ in entries], names)
    hidden = {uid for image in known.hidden for name in image if name for uid in names.get(name, ())}
    outcomes: list[Outcome] = []
    fresh: list[Located] = []
    for entry, location in entries:
        if entry.sop_instance_uid in hidden:
            outcomes.append(Outcome.NOT_PUBLIC)
            continue
        if entry.sop_instance_uid in known.withdrawn:
            outcomes.append(Outcome.WITHDRAWN)
            continue
        digest = known.digests.setdefault(entry.sop_instance_uid, entry.sha256)
        if digest is entry.sha256:  # set just now: nobody had this UID
            outcomes.append(Outcome.STORED)
            fresh.append((entry, location))
        else:
            outcomes.append(Outcome.IDENTICAL if digest == entry.sha256 else Outcome.CONFLICT)
    return outcomes, fresh, known


def forget_files(
    connection: Connection, file_ids: Iterable[int], returning: Collection[str] = ()
) -> list[str]:
    """Remove files and their instances, within the caller's transaction; return which instances went.

    Series and studies left empty go too. `returning` names the instances that the same transaction is to
    register again: for those who follow the changes they never go.
    """
    gone: list[str] = []
    for ids in chunks(list(file_ids)):
        rows = connection.execute(
            select(
                instance.c.series_id,
                series.c.study_id,
                study.c.study_instance_uid,
                series.c.series_instance_uid,
                instance.c.sop_instance_uid,
                file.c.sha256,
            )
            .join(series, instance.c.series_id == series.c.id)
            .join(study, series.c.study_id == study.c.id)
            .join(file, instance.c.file_id == file.c.id)
            .where(instance.c.file_id.in_(ids))
        ).all()
        total = connection.execute(
            select(func.coalesce(func.sum(file.c.size), 0))
            .join(instance, instance.c.file_id == file.c.id)
            .where(file.c.id.in_(ids))
        ).scalar_one()
        connection.execute(delete(instance).where(instance.c.file_id.in_(ids)))
        connection.execute(delete(file).where(file.c.id.in_(ids)))
        emptied = drop_empty(connection, {row.series_id for row in rows}, {row.study_id for row in rows})
        refresh(connection, {row.series_id for row in rows}, {row.study_id for row in rows})
        count_held(connection, -emptied[0], -emptied[1], -len(rows), -total)
        went = [Subject(*row[2:]) for row in rows]
        record(connection, [(Action.WITHDRAWN, w) for w in went if w.sop_instance_uid not in returning])
        gone += [w.sop_instance_uid for w in went]
    return gone


def _created(entry: Entry, updated: Collection[str]) -> tuple[Action, Subject]:
    uids = entry.study_instance_uid, entry.series_instance_uid, entry.sop_instance_uid
    action = Action.UPDATED if entry.sop_instance_uid in updated else Action.CREATED
    return action, Subject(*uids, entry.sha256)


def _insert(connection: Connection, fresh: Sequence[Located], numbers: Numbers) -> None:
    parents = parents_of(connection, [entry for entry, _ in fresh], numbers)
    published = terms_of(connection, [entry.facts for entry, _ in fresh])
    file_id, instance_id = numbers.file + 1, numbers.instance + 1
    files, instances, documents = [], [], []
    for number, (entry, location) in enumerate(fresh):
        files.append(
            {
                "id": file_id + number,
                "folder_id": location.folder_id,
                "name": location.name,
                "size": entry.size,
                "mtime_ns": entry.mtime_ns,
                "sha256": entry.sha256,
            }
        )
        series_id = parents.series_ids[entry.study_instance_uid, entry.series_instance_uid]
        ids = {"id": instance_id + number, "series_id": series_id, "file_id": file_id + number}
        instances.append(entry.instance | ids | published[number])
        documents.append({"instance_id": instance_id + number, "packed": entry.document})
    insert_rows(connection, file, files)
    insert_rows(connection, instance, instances)
    insert_rows(connection, document, documents)
    insert_facts(connection, [(instance_id + number, entry.facts) for number, (entry, _) in enumerate(fresh)])
    size = sum(entry.size for entry, _ in fresh)
    count_held(connection, parents.new_studies, parents.new_series, len(fresh), size)
