"""What happened to instances, numbered in the order of commits, for those who keep a copy."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Select, func, select

from app.catalog.models import change
from app.catalog.prepared import insert_rows, prepared


class Action(StrEnum):
    """What happened to an instance."""

    CREATED = "created"
    UPDATED = "updated"  # its file, indexed where it lies, has other content now
    WITHDRAWN = "withdrawn"  # it is not held any more; a tombstone says why, if it was taken down


@dataclass(frozen=True, slots=True)
class Subject:
    """The instance that a change is about; `sha256` is that of its file, None where it is not known."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sha256: bytes | None


@dataclass(frozen=True, slots=True)
class Change:
    """One change; `time` is ISO 8601 in UTC, and may run backwards where `sequence` never does."""

    sequence: int
    action: str
    time: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sha256: bytes | None


def record(
    connection: Connection, changes: Sequence[tuple[Action, Subject]], last: int | None = None
) -> None:
    """Add changes, within the caller's transaction; `last` is the number of the newest, if it is known.

    Writers take turns (database.py) and none gives its turn away before its commit, so whoever has read up to
    a number will never see a smaller one appear.
    """
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    rows = [
        {
            "sequence": number,
            "action": str(action),
            "time": time,
            "study_instance_uid": subject.study_instance_uid,
            "series_instance_uid": subject.series_instance_uid,
            "sop_instance_uid": subject.sop_instance_uid,
            "sha256": subject.sha256,
        }
        for number, (action, subject) in enumerate(
            changes, (last_sequence(connection) if last is None else last) + 1
        )
    ]
    insert_rows(connection, change, rows)


def last_sequence(connection: Connection) -> int:
    """Return the number of the newest change, 0 where there is none."""
    return _last(connection.dialect).scalar(connection, {}) or 0


@prepared
def _last() -> Select[Any]:
    return select(func.max(change.c.sequence))


def changes_after(connection: Connection, sequence: int, limit: int) -> list[Change]:
    """Return at most `limit` changes with numbers greater than `sequence`, in order."""
    statement = select(change).where(change.c.sequence > sequence).order_by(change.c.sequence).limit(limit)
    return [Change(*row) for row in connection.execute(statement)]
