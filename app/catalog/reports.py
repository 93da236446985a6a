"""Reports of storage commitment that are still to be delivered; whoever delivers one claims it first.

A claim moves the due time ahead: nobody else takes the report up until then, and somebody does afterwards.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from app.catalog.models import report


@dataclass(frozen=True, slots=True)
class Report:
    """The report of one request, to the peer with this AE title; `attempts` counts that of the claim too."""

    transaction_uid: str
    ae_title: str
    attempts: int


def add_report(connection: Connection, transaction_uid: str, ae_title: str, due: datetime) -> None:
    """Add the report of a request, within the caller's transaction."""
    values = {"transaction_uid": transaction_uid, "ae_title": ae_title, "attempts": 0, "due": _text(due)}
    connection.execute(insert(report).values(values))


def next_due(connection: Connection) -> datetime | None:
    """Return when the next report is due, None if none is kept."""
    due = connection.execute(select(report.c.due).order_by(report.c.due).limit(1)).scalar()
    return None if due is None else datetime.fromisoformat(due)


def claim_report(connection: Connection, now: datetime, until: datetime) -> Report | None:
    """Claim the report that is due longest, if one is, within the caller's transaction."""
    columns = report.c.transaction_uid, report.c.ae_title, report.c.attempts
    row = connection.execute(
        select(*columns).where(report.c.due <= _text(now)).order_by(report.c.due).limit(1)
    ).one_or_none()
    if row is None:
        return None
    connection.execute(
        update(report)
        .where(report.c.transaction_uid == row.transaction_uid)
        .values(attempts=row.attempts + 1, due=_text(until))
    )
    return Report(row.transaction_uid, row.ae_title, row.attempts + 1)


def claim_others(connection: Connection, ae_title: str, now: datetime, until: datetime) -> list[Report]:
    """Claim whatever else is due to a peer, within the caller's transaction."""
    is_due = (report.c.ae_title == ae_title) & (report.c.due <= _text(now))
    rows = connection.execute(select(report.c.transaction_uid, report.c.attempts).where(is_due)).all()
    connection.execute(update(report).where(is_due).values(attempts=report.c.attempts + 1, due=_text(until)))
    return [Report(row.transaction_uid, ae_title, row.attempts + 1) for row in rows]


def put_off(connection: Connection, claimed: Report, due: datetime, *, is_attempted: bool = True) -> None:
    """Let a claimed report be due at another time, unless somebody else has claimed it since."""
    attempts = claimed.attempts if is_attempted else max(0, claimed.attempts - 1)
    connection.execute(update(report).where(_is_still(claimed)).values(attempts=attempts, due=_text(due)))


def give_up(connection: Connection, claimed: Report) -> None:
    """Forget a claimed report that nobody got, unless somebody else has claimed it since."""
    connection.execute(delete(report).where(_is_still(claimed)))


def forget_report(connection: Connection, transaction_uid: str) -> None:
    """Forget a report that its peer has got."""
    connection.execute(delete(report).where(report.c.transaction_uid == transaction_uid))


def _is_still(claimed: Report) -> ColumnElement[bool]:
    return (report.c.transaction_uid == claimed.transaction_uid) & (report.c.attempts == claimed.attempts)


def _text(moment: datetime) -> str:
    """Return a moment so that texts sort as moments do."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
