"""Searches that no index answers: what SQL leaves is compared document by document, in bounded time."""

from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, sleep, thread_time
from typing import Any

import orjson
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from app.catalog.attributes import ATTRIBUTES, level_of
from app.catalog.counts import chunks
from app.catalog.documents import parse, unpack
from app.catalog.question import Key, Question
from app.catalog.scope import Sieve
from app.catalog.statements import documents, following_rows, matching_rows
from app.dicom.document_matching import Test, document_test
from app.dicom.encoding import is_private
from app.dicom.matching import WILDCARD_VRS, Empty, Level, SingleValue
from app.dicom.tags import value_representation
from app.errors import SearchTooBroad

MOST_CANDIDATES = 250_000  # more than can be compared in any time that a caller waits
WINDOW = 250  # of them that are compared before those that match are answered
PATIENCE = 4  # times the work, on a machine that is busy with other things
# What is matched is the very text that is stored.
_AS_WRITTEN = WILDCARD_VRS - {"PN"}
# Other threads wait for the interpreter: it is theirs after so many documents, a third of a millisecond.
_UNBROKEN = 16
_PAUSE_S = 50e-6
_STEPS = 20_000  # of SQLite's machine between looks at the clock: about a millisecond


class Deadline:
    """When a search must be done: its thread's own work counts, or the clock where others keep it waiting."""

    def __init__(self, work_s: float) -> None:
        self.work_s = work_s
        self._work_ends = thread_time() + work_s
        self._clock_ends = monotonic() + work_s * PATIENCE

    @property
    def has_passed(self) -> bool:
        """Whether the time is up."""
        return thread_time() >= self._work_ends or monotonic() >= self._clock_ends

    def check(self) -> None:
        """Raise SearchTooBroad when the time is up."""
        if self.has_passed:
            raise too_broad(self.work_s)


def too_broad(work_s: float) -> SearchTooBroad:
    """Return the refusal, which says how to ask for less."""
    names = ", ".join(a.name for a in ATTRIBUTES if a.indexed)
    return SearchTooBroad(
        f"This search did not end within {work_s:g} seconds of work: there is no answer. Narrow it: name "
        f"one of the attributes that have an index ({names}), or ask below a study or series."
    )


@contextmanager
def within(connection: Connection, work_s: float) -> Iterator[Deadline]:
    """Bound the work of all statements of a search; raises SearchTooBroad when the time is up."""
    deadline = Deadline(work_s)
    driver: Any = connection.connection.dbapi_connection
    dialect: Any = connection.dialect
    is_sqlite = dialect.name == "sqlite"
    if is_sqlite:
        driver.set_progress_handler(lambda: deadline.has_passed, _STEPS)
    else:
        driver.execute(f"SET statement_timeout = {max(1, int(work_s * 1000))}")
    try:
        yield deadline
    except (OperationalError, dialect.loaded_dbapi.OperationalError) as error:
        if deadline.has_passed or _was_cancelled(error):
            raise too_broad(work_s) from error
        raise
    finally:
        if is_sqlite:
            driver.set_progress_handler(None, 0)
        elif not driver.closed:
            driver.execute("SET statement_timeout = 0")


def _was_cancelled(error: Exception) -> bool:
    """Tell whether PostgreSQL stopped the statement, being out of its time."""
    return getattr(getattr(error, "orig", error), "sqlstate", None) == "57014"


def tested_rows(
    connection: Connection, asked: Question, sieve: Sieve | None, deadline: Deadline
) -> "array[int]":
    """Return the numbers of all rows whose documents match, in the order asked for."""
    candidates = matching_rows(connection.dialect, asked.level, asked.shape, asked.order, sieve)
    rows = candidates.rows(connection, {**asked.values, "limit": MOST_CANDIDATES + 1, "offset": 0})
    if len(rows) > MOST_CANDIDATES:
        raise too_broad(deadline.work_s)
    return array("q", _tested(connection, asked, [row.id for row in rows], deadline))


def next_tested_rows(
    connection: Connection, asked: Question, sieve: Sieve | None, deadline: Deadline, after: int, most: int
) -> tuple["array[int]", int | None]:
    """Return the next rows after a row whose documents match, and the row to go on after, None at the end.

    As soon as there are any, they are returned.
    """
    candidates = following_rows(connection.dialect, asked.level, asked.shape, sieve)
    found = array("q")
    while not found:
        rows = candidates.rows(connection, {**asked.values, "after": after, "limit": WINDOW})
        for row_id in _tested(connection, asked, [row.id for row in rows], deadline):
            found.append(row_id)
            if len(found) == most:
                return found, row_id
        if len(rows) < WINDOW:
            return found, None
        after = rows[-1].id
    return found, after


def _tested(
    connection: Connection, asked: Question, candidates: list[int], deadline: Deadline
) -> Iterator[int]:
    """Yield those of the rows whose documents match."""
    is_match = _row_test(asked)
    wanted = frozenset(level_of(path) for path, _ in asked.tested)
    statement = documents(connection.dialect, asked.level, wanted)
    for ids in chunks(candidates):
        deadline.check()
        read = {row.id: row for row in statement.rows(connection, {"ids": ids})}
        for number, row_id in enumerate(ids):
            if number % _UNBROKEN == 0:
                deadline.check()
                sleep(_PAUSE_S)
            if row_id in read and is_match(read[row_id]):
                yield row_id


def _row_test(asked: Question) -> Callable[[Any], bool]:
    """Return the test of a row of documents()."""
    levels: dict[Level, list[Key]] = {}
    for path, match in asked.tested:
        levels.setdefault(level_of(path), []).append((path, match))
    tests: list[tuple[str, Test, tuple[bytes, ...]]] = [
        (level.name.lower(), document_test(keys), _needed(keys)) for level, keys in sorted(levels.items())
    ]

    def is_match(row: Any) -> bool:  # noqa: ANN401 a named tuple of the statement's columns
        for name, test, needed in tests:
            document = getattr(row, name)
            if name == "instance":
                document = unpack(document)
            # Most documents lack a rare attribute, and need not be parsed to know it.
            if not all(tag in document for tag in needed) or not test(parse(document)):
                return False
        return True

    return is_match


def _needed(keys: list[Key]) -> tuple[bytes, ...]:
    """Return what stands in the text of every document that matches."""
    needed: list[bytes] = []
    for path, match in keys:
        if not is_private(path) and ("." in path or not isinstance(match, Empty)):
            needed.append(b'"%b":' % path[:8].encode())
        if (
            isinstance(match, SingleValue)
            and value_representation(path) in _AS_WRITTEN
            and "\\" not in match.value
        ):
            needed.append(orjson.dumps(match.value))
    return tuple(needed)
