"""Adding to the catalogue and taking away: rows, counts and ready answers in one transaction."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Column, Connection, Table, delete, func, select

from app.catalog.changes import Action, Subject, record
from app.catalog.counts import chunks, count_held, drop_empty, refresh
from app.catalog.documents import dump
from app.catalog.entry import Entry
from app.catalog.models import document, file, instance, series, study
from app.catalog.prepared import insert_rows
from app.catalog.tombstones import withdrawn_reasons


class Outcome(StrEnum):
    """What became of an entry."""

    STORED = "stored"
    IDENTICAL = "identical"  # these very bytes are catalogued already
    CONFLICT = "conflict"  # the SOP Instance UID belongs to other bytes; the first are kept
    WITHDRAWN = "withdrawn"  # the instance was withdrawn, and nobody restored it


@dataclass(frozen=True, slots=True)
class Location:
    """Where an entry's bytes are: a name in a folder, or (no folder) the key of a managed file."""

    folder_id: int | None
    name: str


def register(
    connection: Connection, entries: Sequence[tuple[Entry, Location]], updated: Collection[str] = ()
) -> list[Outcome]:
    """Add what is new, within the caller's transaction; return what became of each entry, in order.

    `updated` names the instances among them that this transaction forgot to make room (forget_files).
    """
    uids = [entry.sop_instance_uid for entry, _ in entries]
    known, withdrawn = _digests(connection, uids), withdrawn_reasons(connection, uids)
    outcomes: list[Outcome] = []
    fresh: list[tuple[Entry, Location]] = []
    for entry, location in entries:
        if entry.sop_instance_uid in withdrawn:
            outcomes.append(Outcome.WITHDRAWN)
            continue
        digest = known.setdefault(entry.sop_instance_uid, entry.sha256)
        if digest is entry.sha256:  # set just now: nobody had this UID
            outcomes.append(Outcome.STORED)
            fresh.append((entry, location))
        else:
            outcomes.append(Outcome.IDENTICAL if digest == entry.sha256 else Outcome.CONFLICT)
    if fresh:
        _insert(connection, fresh)
        record(connection, [_created(entry, updated) for entry, _ in fresh])
    return outcomes


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


def _digests(connection: Connection, uids: list[str]) -> dict[str, bytes]:
    statement = select(instance.c.sop_instance_uid, file.c.sha256).join(file, instance.c.file_id == file.c.id)
    return {
        uid: digest
        for chunk in chunks(uids)
        for uid, digest in connection.execute(statement.where(instance.c.sop_instance_uid.in_(chunk)))
    }


def _insert(connection: Connection, fresh: Sequence[tuple[Entry, Location]]) -> None:
    studies, new_studies = _study_ids(connection, fresh)
    series_ids, new_series = _series_ids(connection, fresh, studies)
    file_id, instance_id = _next_id(connection, file), _next_id(connection, instance)
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
        key = (studies[entry.study_instance_uid], entry.series_instance_uid)
        ids = {"id": instance_id + number, "series_id": series_ids[key], "file_id": file_id + number}
        instances.append(entry.instance | ids)
        documents.append({"instance_id": instance_id + number, "packed": entry.document})
    insert_rows(connection, file, files)
    insert_rows(connection, instance, instances)
    insert_rows(connection, document, documents)
    refresh(connection, set(series_ids.values()), set(studies.values()))
    count_held(connection, new_studies, new_series, len(fresh), sum(entry.size for entry, _ in fresh))


def _study_ids(connection: Connection, fresh: Sequence[tuple[Entry, Location]]) -> tuple[dict[str, int], int]:
    entries: dict[str, Entry] = {}
    for entry, _ in fresh:  # what the first says of the study stays
        entries.setdefault(entry.study_instance_uid, entry)
    ids: dict[str, int] = {}
    for chunk in chunks(list(entries)):
        statement = select(study.c.study_instance_uid, study.c.id).where(
            study.c.study_instance_uid.in_(chunk)
        )
        ids.update((row.study_instance_uid, row.id) for row in connection.execute(statement))
    rows = []
    for number, uid in enumerate((uid for uid in entries if uid not in ids), _next_id(connection, study)):
        entry = entries[uid]
        rows.append(
            entry.study | {"id": number, "answer": b"", "attributes": dump(entry.study_attributes)},
        )
    if rows:
        insert_rows(connection, study, rows)
    ids.update({row["study_instance_uid"]: row["id"] for row in rows})
    return ids, len(rows)


def _series_ids(
    connection: Connection, fresh: Sequence[tuple[Entry, Location]], studies: dict[str, int]
) -> tuple[dict[tuple[int, str], int], int]:
    entries: dict[tuple[int, str], Entry] = {}
    for entry, _ in fresh:
        entries.setdefault((studies[entry.study_instance_uid], entry.series_instance_uid), entry)
    ids: dict[tuple[int, str], int] = {}
    for chunk in chunks(list({uid for _, uid in entries})):
        for study_id, uid, series_id in connection.execute(
            select(series.c.study_id, series.c.series_instance_uid, series.c.id).where(
                series.c.series_instance_uid.in_(chunk)
            )
        ):
            if (study_id, uid) in entries:
                ids[study_id, uid] = series_id
    rows = []
    for number, key in enumerate((key for key in entries if key not in ids), _next_id(connection, series)):
        entry = entries[key]
        own = {
            "id": number,
            "study_id": key[0],
            "answer": b"",
            "attributes": dump(entry.series_attributes),
        }
        rows.append(entry.series | own)
        ids[key] = number
    if rows:
        insert_rows(connection, series, rows)
    return ids, len(rows)


def _next_id(connection: Connection, table: Table) -> int:
    # Writers take turns (database.py), so the next number is free.
    key: Column[int] = table.c.id
    return (connection.execute(select(func.max(key))).scalar() or 0) + 1
