"""Arrivals: what was taken in and answered, and waits to be registered with others.

To register one instance alone changes some twenty pages of SQLite and asks and writes in a dozen statements;
one row here is written in a fifth of the pages. Thirty-two together cost little more than one alone. So what
comes one at a time arrives first, and is answered once that is on the disk.

Nobody sees the difference: whoever reads or writes the catalogue registers what has arrived before
(database.py), within this process or another.
"""

import logging
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
from sqlalchemy import Connection, Select, select
from sqlalchemy.exc import DatabaseError, OperationalError

from app.catalog.entry import Entry
from app.catalog.files import Problem, remember_problems
from app.catalog.models import arrival
from app.catalog.prepared import driver_of, insert_rows, prepared
from app.catalog.register import Located, Location, Outcome, judge, register

_BYTES_OF_INSTANCE = ("prefix", "frames", "bulk")
_BYTES_OF_ENTRY = ("study_attributes", "series_attributes", "document", "sha256")
_ARE_THERE = "SELECT EXISTS (SELECT 1 FROM arrival)"
_CLEAR = "DELETE FROM arrival"

logger = logging.getLogger("dermzoo.catalog")


def arrive(connection: Connection, entries: Sequence[Located]) -> list[Outcome]:
    """Note what is new, within the caller's transaction; return what is to become of each entry, in order."""
    outcomes, fresh, _ = judge(connection, entries)
    insert_rows(connection, arrival, [_row(entry, location) for entry, location in fresh])
    return outcomes


def are_waiting(connection: Connection) -> bool:
    """Whether something has arrived that is not registered."""
    (is_there,) = driver_of(connection).execute(_ARE_THERE).fetchone()
    return bool(is_there)


def settle(connection: Connection) -> None:
    """Register all that has arrived, in its order, within the caller's transaction."""
    rows = _waiting(connection.dialect).rows(connection, {})
    driver_of(connection).execute(_CLEAR)
    try:
        with _undone_by_an_error(connection):
            register(connection, [_located(row) for row in rows])
    except Exception as error:  # of whichever kind: one row must not stand in everybody's way for ever
        if _is_of_the_machine(error):
            raise
        for row in rows:
            _settle_alone(connection, row)


def _settle_alone(connection: Connection, row: Any) -> None:  # noqa: ANN401 a named tuple of the columns
    try:
        with _undone_by_an_error(connection):
            register(connection, [_located(row)])
    except Exception as error:  # as above
        if _is_of_the_machine(error):
            raise
        logger.exception(
            "an instance that was answered cannot be registered; its file is kept",
            extra={"facts": {"sop_instance_uid": row.sop_instance_uid, "key": row.name}},
        )
        why = f"it cannot be registered: {error}"
        remember_problems(connection, [Problem(Location(None, row.name), 0, 0, row.sha256, why)])


@contextmanager
def _undone_by_an_error(connection: Connection) -> Iterator[None]:
    driver = driver_of(connection)
    driver.execute("SAVEPOINT settling")
    try:
        yield
    except Exception as error:
        # After an error of the machine SQLite may have undone the whole transaction; its owner will.
        if not _is_of_the_machine(error):
            driver.execute("ROLLBACK TO settling")
            driver.execute("RELEASE settling")
        raise
    driver.execute("RELEASE settling")


def _is_of_the_machine(error: Exception) -> bool:
    """Whether it may pass: a full disk, no memory. Nothing is wrong with an instance then."""
    machine = MemoryError, OSError, OperationalError, sqlite3.OperationalError
    return isinstance(error, machine) or type(error) in {DatabaseError, sqlite3.DatabaseError}


def _row(entry: Entry, location: Location) -> dict[str, Any]:
    said = {
        "study": entry.study,
        "series": entry.series,
        "instance": {n: v for n, v in entry.instance.items() if n not in _BYTES_OF_INSTANCE},
        "facts": entry.facts,
        "size": entry.size,
        "mtime_ns": entry.mtime_ns,
    }
    row = {name: entry.instance[name] for name in _BYTES_OF_INSTANCE}
    row |= {name: getattr(entry, name) for name in _BYTES_OF_ENTRY}
    row |= {"sop_instance_uid": entry.sop_instance_uid, "name": location.name}
    return row | {"said": orjson.dumps(said)}


@prepared
def _waiting() -> Select[Any]:
    return select(arrival).order_by(arrival.c.id)


def _located(row: Any) -> Located:  # noqa: ANN401 a named tuple of the columns
    said = orjson.loads(row.said)
    instance = said.pop("instance") | {name: getattr(row, name) for name in _BYTES_OF_INSTANCE}
    facts = tuple((attribute, value) for attribute, value in said.pop("facts"))
    rest = {name: getattr(row, name) for name in _BYTES_OF_ENTRY}
    return Entry(**said, **rest, instance=instance, facts=facts, warnings=()), Location(None, row.name)
