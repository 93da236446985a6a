"""Following what changes: for mirrors, and for whoever announces news."""

from dataclasses import dataclass

from app.archive.archive import Archive
from app.catalog.changes import Change, changes_after, last_sequence


@dataclass(frozen=True, slots=True)
class ChangePage:
    """Some changes in order, and the number of the newest there is."""

    changes: list[Change]
    latest: int


def follow(archive: Archive, since: int, limit: int) -> ChangePage:
    """Return at most `limit` changes after the one numbered `since`."""
    with archive.catalog.read() as connection:
        # In this order: what comes in between is in the page and not beyond `latest`.
        latest = last_sequence(connection)
        changes = changes_after(connection, since, limit)
    return ChangePage(changes, max(latest, changes[-1].sequence) if changes else latest)
