"""Answering a Query from the catalogue: ready JSON, in the order of registration or the one asked for."""

from array import array
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import Connection

from app.catalog import statements
from app.catalog.answering import answer, plan
from app.catalog.counts import chunks
from app.catalog.pages import PageMemory
from app.catalog.question import Question, question
from app.catalog.scanning import Deadline, next_tested_rows, tested_rows, within
from app.catalog.scope import Sieve, fitted
from app.dicom.matching import Level, Query

__all__ = ["Page", "PageMemory", "search", "search_within"]

FEW = 1000  # rows that are looked up and put in order sooner than a page of them is come upon
FEW_OF = 8  # times the members of a collection: less than is held, and they are listed first
MOST_LISTED = 100_000  # rows found by reading through an index that are kept for the next pages


@dataclass(frozen=True, slots=True)
class Page:
    """One page of results: DICOM JSON objects, the byte 0x01 in them standing for the service root."""

    answers: list[bytes]
    remaining: int  # how many more there are after this page
    unmatched: tuple[str, ...]  # keys of a lower level: neither matched nor returned (PS3.18 10.6.1.2)


def search_within(
    connection: Connection, query: Query, memory: PageMemory, work_s: float, *, counts: bool = True
) -> Page:
    """Return a page as search() does, of any search; raises SearchTooBroad when it takes longer.

    Without `counts` it may be shorter than its limit, although more follow.
    """
    with within(connection, work_s) as deadline:
        asked = question(query, is_sqlite=connection.dialect.name == "sqlite")
        one = _Search(connection, query, asked, memory)
        if asked.tested:
            page = None if counts or asked.order else _next_page(one, deadline)
            if page is not None:
                return page
            return _found_page(one, one.found(lambda: tested_rows(connection, asked, one.sieve, deadline)))
        if asked.order:
            return _ordered_page(one)
        if asked.is_listed and len(rows := one.found(one.listed)) < MOST_LISTED:
            return _found_page(one, rows)
        few = one.few() if asked.is_broad else None
        if few is not None:
            return _found_page(one, few)
        return _page(one, counts=counts, in_order=asked.is_broad)


def search(connection: Connection, query: Query, memory: PageMemory, *, counts: bool = True) -> Page:
    """Return a page of results of a search that SQL alone decides, in the order of registration.

    Without `counts` what remains is 1 if there is more: counting may take longer than the page.
    """
    asked = question(query, is_sqlite=connection.dialect.name == "sqlite")
    assert not asked.tested
    assert not asked.order
    return _page(_Search(connection, query, asked, memory), counts=counts)


def _page(one: "_Search", *, counts: bool, in_order: bool = False) -> Page:
    """Return the page that SQL makes of a question."""
    query, asked, connection = one.query, one.asked, one.connection
    wanted = plan(query)
    parameters: dict[str, Any] = dict(asked.values)
    if query.offset:
        after = one.after_offset()
        if after is None:
            return Page([], 0, asked.unmatched)
        parameters["after"] = after
    if query.limit is not None:
        parameters["limit"] = query.limit + 1
    statement = statements.page(
        connection.dialect,
        query.level,
        asked.shape,
        wanted,
        query.offset > 0,
        query.limit is not None,
        in_order,
        Sieve.PAGE if one.sieve and not asked.shape and query.limit is not None else one.sieve,
    )
    rows = statement.rows(connection, parameters)
    remaining = 0
    if query.limit is not None and len(rows) > query.limit:
        rows = rows[: query.limit]
        remaining = one.total() - query.offset - len(rows) if counts else 1
        if rows:
            one.remember(query.offset + len(rows), rows[-1].id)
    if one.sieve:
        rows = [fitted(wanted, row) for row in rows]
    return Page([answer(query.level, wanted, row) for row in rows], remaining, asked.unmatched)


def _found_page(one: "_Search", found: "array[int]") -> Page:
    """Return the page from the numbers of all rows that match."""
    query = one.query
    ids = found[query.offset :] if query.limit is None else found[query.offset : query.offset + query.limit]
    remaining = max(0, len(found) - query.offset - len(ids))
    return Page(_answers(one, ids), remaining, one.asked.unmatched)


def _next_page(one: "_Search", deadline: Deadline) -> Page | None:
    """Return the first that match after the page before; None if nobody knows any more where that ended."""
    query, asked = one.query, one.asked
    after = one.compared_to() if query.offset else 0
    if after is None or query.limit is None:
        return None
    ids, after = next_tested_rows(one.connection, asked, one.sieve, deadline, after, query.limit)
    if after is not None:
        one.remember_compared(query.offset + len(ids), after)
    return Page(_answers(one, ids), 0 if after is None else 1, asked.unmatched)


def _ordered_page(one: "_Search") -> Page:
    """Return the page in the order asked for."""
    query = one.query
    ids = one.ordered()
    remaining = 0
    if query.limit is not None and len(ids) > query.limit:
        ids = ids[: query.limit]
        remaining = one.total() - query.offset - len(ids)
    return Page(_answers(one, ids), remaining, one.asked.unmatched)


def _answers(one: "_Search", ids: Sequence[int]) -> list[bytes]:
    level, wanted = one.query.level, plan(one.query)
    statement = statements.chosen(one.connection.dialect, level, wanted, one.sieve is not None)
    answers = {
        row.id: answer(level, wanted, fitted(wanted, row) if one.sieve else row)
        for chunk in chunks(list(ids))
        for row in statement.rows(one.connection, {"ids": chunk, "scope": one.query.scope})
    }
    return [answers[row_id] for row_id in ids if row_id in answers]


@dataclass
class _Search:
    """A question asked of a connection, its total and the beginnings of its pages remembered."""

    connection: Connection
    query: Query
    asked: Question
    memory: PageMemory

    @cached_property
    def held(self) -> Any:  # noqa: ANN401 the row of `holding`
        """The totals and the generation at this moment."""
        return statements.held(self.connection.dialect).rows(self.connection, {})[0]

    @property
    def sieve(self) -> Sieve | None:
        """How rows of the collection that is searched are told from others; None without one."""
        return None if self.query.scope is None else self._sieve

    @cached_property
    def _sieve(self) -> Sieve:
        key = self.held.generation, self.query.scope
        members = self.memory.get(key)
        if members is None:
            counted = statements.members(self.connection.dialect)
            members = self.memory.put(key, counted.scalar(self.connection, {"scope": self.query.scope}))
        # An index that leads to few rows goes before a list of members, and that before all that is held.
        is_small = members * FEW_OF < self.held.instances and not self.asked.is_led
        return Sieve.ALL if is_small else Sieve.EACH

    def total(self) -> int:
        """Count the results; without a condition that is a number we keep."""
        if not self.asked.shape and not self.sieve:
            counts = {Level.STUDY: self.held.studies, Level.SERIES: self.held.series}
            return int(counts.get(self.query.level, self.held.instances))
        key = self._key("total")
        known = self.memory.get(key)
        if known is None:
            counted = statements.total(
                self.connection.dialect, self.query.level, self.asked.shape, self.sieve
            )
            known = self.memory.put(key, counted.scalar(self.connection, self.asked.values))
        return known

    def after_offset(self) -> int | None:
        """Return the id before the first row of the page, None where there is no such page."""
        key = self._key(self.query.offset)
        known = self.memory.get(key)
        if known is None:
            skipped = statements.skipped(
                self.connection.dialect, self.query.level, self.asked.shape, self.sieve
            )
            values = {**self.asked.values, "skip": self.query.offset - 1}
            known = skipped.scalar(self.connection, values)
            if known is not None:
                self.memory.put(key, known)
        return known

    def remember(self, offset: int, last_id: int) -> None:
        """Remember where the page after this one begins."""
        self.memory.put(self._key(offset), last_id)

    def compared_to(self) -> int | None:
        """Return the row up to which documents were compared for the pages before this one."""
        return self.memory.get(self._key((self.asked.tested, self.query.offset)))

    def remember_compared(self, offset: int, last_id: int) -> None:
        """Remember up to which row documents were compared for the pages before an offset."""
        self.memory.put(self._key((self.asked.tested, offset)), last_id)

    def ordered(self) -> list[int]:
        """Return the rows of the page in the order asked for, and one more if there is one."""
        statement = statements.matching_rows(
            self.connection.dialect, self.query.level, self.asked.shape, self.asked.order, self.sieve
        )
        limit = 2**62 if self.query.limit is None else self.query.limit + 1
        values = {**self.asked.values, "limit": limit, "offset": self.query.offset}
        return [row.id for row in statement.rows(self.connection, values)]

    def listed(self, most: int = MOST_LISTED) -> "array[int]":
        """Return the rows that match, as far as they are few enough to keep."""
        statement = statements.listed_rows(
            self.connection.dialect, self.query.level, self.asked.shape, self.sieve
        )
        rows = statement.rows(self.connection, {**self.asked.values, "limit": most})
        return array("q", sorted(row.id for row in rows))

    def few(self) -> "array[int] | None":
        """Return the rows that match if they are few, found by whatever index leads to them; else None."""
        are_many = self._key("many")
        if self.memory.get(are_many):
            return None
        rows = self.found(lambda: self.listed(FEW))
        if len(rows) < FEW:
            return rows
        self.memory.put(are_many, 1)
        return None

    def found(self, find: Callable[[], "array[int]"]) -> "array[int]":
        """Return all rows that match, found once, however many pages are asked for."""
        key = self._key((self.asked.tested, self.asked.order))
        found = self.memory.found(key)
        if found is None:
            found = find()
            self.memory.put_found(key, found)
        return found

    def _key(self, what: Hashable) -> Hashable:
        values = tuple(tuple(v) if isinstance(v, list) else v for v in self.asked.values.values())
        return self.held.generation, self.query.level, self.asked.shape, values, what
