"""Requests for storage commitment and their results, kept so that an answer outlives the process."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import orjson
from sqlalchemy import Connection, insert, select, update

from app.catalog.counts import chunks
from app.catalog.models import commitment, file, instance


@dataclass(frozen=True, slots=True)
class SopReference:
    """An instance as a request names it."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class Assessed:
    """What became of one reference; `failure_reason` is that of PS3.3 C.14.1.1, None for a commitment."""

    reference: SopReference
    failure_reason: int | None


@dataclass(frozen=True, slots=True)
class Commitment:
    """A request and, once it was looked at, its result; times are ISO 8601 in UTC."""

    transaction_uid: str
    requested_by: str
    requested_at: str
    references: tuple[SopReference, ...]
    result: tuple[Assessed, ...] | None
    completed_at: str | None


@dataclass(frozen=True, slots=True)
class Kept:
    """What is held under a SOP Instance UID; `key` is None where the file is not ours."""

    sop_class_uid: str
    key: str | None
    size: int
    sha256: bytes


def add_commitment(
    connection: Connection, transaction_uid: str, references: Iterable[SopReference], by: str, now: str
) -> bool:
    """Add a request, within the caller's transaction; return False if its UID names another already."""
    if find_commitment(connection, transaction_uid) is not None:
        return False
    pairs = [[each.sop_class_uid, each.sop_instance_uid] for each in references]
    values = {"transaction_uid": transaction_uid, "requested_by": by, "requested_at": now}
    connection.execute(insert(commitment).values(values | {"request": orjson.dumps(pairs)}))
    return True


def complete_commitment(
    connection: Connection, transaction_uid: str, result: Iterable[Assessed], now: str
) -> None:
    """Keep the result of a request, unless there is one."""
    reasons = orjson.dumps([each.failure_reason for each in result])
    connection.execute(
        update(commitment)
        .where(commitment.c.transaction_uid == transaction_uid, commitment.c.result.is_(None))
        .values(result=reasons, completed_at=now)
    )


def forget_results(connection: Connection, sop_instance_uids: Iterable[str]) -> None:
    """Let the results that name one of these instances be made anew, when they are asked for."""
    named = set(sop_instance_uids)
    rows = connection.execute(
        select(commitment.c.transaction_uid, commitment.c.request).where(commitment.c.result.is_not(None))
    )
    stale = [
        row.transaction_uid
        for row in rows
        if not named.isdisjoint(uid for _, uid in orjson.loads(row.request))
    ]
    for some in chunks(stale):
        connection.execute(
            update(commitment)
            .where(commitment.c.transaction_uid.in_(some))
            .values(result=None, completed_at=None)
        )


def find_commitment(connection: Connection, transaction_uid: str) -> Commitment | None:
    """Return the request of this UID."""
    row = connection.execute(
        select(commitment).where(commitment.c.transaction_uid == transaction_uid)
    ).one_or_none()
    if row is None:
        return None
    references = tuple(SopReference(*pair) for pair in orjson.loads(row.request))
    result = None
    if row.result is not None:
        reasons = orjson.loads(row.result)
        result = tuple(Assessed(*pair) for pair in zip(references, reasons, strict=True))
    return Commitment(
        row.transaction_uid, row.requested_by, row.requested_at, references, result, row.completed_at
    )


def kept_instances(connection: Connection, sop_instance_uids: Iterable[str]) -> Iterator[tuple[str, Kept]]:
    """Yield those of these instances that are held, each with its SOP Instance UID."""
    statement = select(
        instance.c.sop_instance_uid,
        instance.c.sop_class_uid,
        file.c.folder_id,
        file.c.name,
        file.c.size,
        file.c.sha256,
    ).join(file, instance.c.file_id == file.c.id)
    for uids in chunks(list(sop_instance_uids)):
        for row in connection.execute(statement.where(instance.c.sop_instance_uid.in_(uids))):
            key = row.name if row.folder_id is None else None
            yield row.sop_instance_uid, Kept(row.sop_class_uid, key, row.size, row.sha256)
