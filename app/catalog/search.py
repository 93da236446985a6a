"""Answering a Query from the catalogue: ready JSON, read in the order of registration."""

from collections import OrderedDict
from collections.abc import Hashable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, Select, bindparam, func, select

from app.catalog.answering import Plan, answer, plan
from app.catalog.attributes import BY_TAG
from app.catalog.conditions import (
    STUDY_MOMENT,
    TABLES,
    Operator,
    compare,
    comparisons,
    condition,
    moment_comparisons,
)
from app.catalog.models import document, holding, instance, series, study
from app.catalog.prepared import prepared
from app.dicom.matching import Level, Query, Range
from app.dicom.tags import parse_attribute

STUDY_DATE, STUDY_TIME = parse_attribute("StudyDate"), parse_attribute("StudyTime")
MOMENT = "moment"  # stands for Study Date and Time taken together

Shape = tuple[tuple[str, Operator], ...]


@dataclass(frozen=True, slots=True)
class Page:
    """One page of results: DICOM JSON objects, the byte 0x01 in them standing for the service root."""

    answers: list[bytes]
    remaining: int  # how many more there are after this page
    unmatched: tuple[str, ...]  # keys that we hold no column for: returned, not matched (PS3.18 10.6.1.1)


@dataclass
class PageMemory:
    """Where pages began, so that a deep `offset` is a short read; forgotten when the catalogue changes."""

    size: int = 4096
    _known: OrderedDict[Hashable, int] = field(default_factory=OrderedDict)

    def get(self, key: Hashable) -> int | None:
        """Return what is remembered under a key."""
        return self._known.get(key)

    def put(self, key: Hashable, value: int) -> int:
        """Remember a value; the oldest is forgotten when there are too many."""
        self._known[key] = value
        if len(self._known) > self.size:
            self._known.popitem(last=False)
        return value


def search(connection: Connection, query: Query, memory: PageMemory) -> Page:
    """Return the page of results that the query's limit and offset name, in a stable order."""
    shape, values, unmatched = _shape(query, is_sqlite=connection.dialect.name == "sqlite")
    question = _Question(connection, query, shape, values, memory)
    wanted = plan(query, unmatched)
    parameters: dict[str, Any] = dict(values)
    if query.offset:
        after = question.after_offset()
        if after is None:
            return Page([], 0, unmatched)
        parameters["after"] = after
    if query.limit is not None:
        parameters["limit"] = query.limit + 1
    statement = _page(
        connection.dialect, query.level, shape, wanted, query.offset > 0, query.limit is not None
    )
    rows = statement.rows(connection, parameters)
    remaining = 0
    if query.limit is not None and len(rows) > query.limit:
        rows = rows[: query.limit]
        remaining = question.total() - query.offset - len(rows)
        if rows:
            question.remember(query.offset + len(rows), rows[-1].id)
    return Page([answer(query.level, wanted, row) for row in rows], remaining, unmatched)


@dataclass
class _Question:
    """A query without its page: what its total and the beginnings of its pages are remembered under."""

    connection: Connection
    query: Query
    shape: Shape
    values: dict[str, Any]
    memory: PageMemory

    @cached_property
    def held(self) -> Any:  # noqa: ANN401 the row of `holding`
        """The totals and the generation at this moment."""
        return _held(self.connection.dialect).rows(self.connection, {})[0]

    def total(self) -> int:
        """Count the results; without a condition that is a number we keep."""
        if not self.shape:
            counts = {Level.STUDY: self.held.studies, Level.SERIES: self.held.series}
            return int(counts.get(self.query.level, self.held.instances))
        key = self._key("total")
        known = self.memory.get(key)
        if known is None:
            counted = _total(self.connection.dialect, self.query.level, self.shape)
            known = self.memory.put(key, counted.scalar(self.connection, self.values))
        return known

    def after_offset(self) -> int | None:
        """Return the id before the first row of the page, None where there is no such page."""
        key = self._key(self.query.offset)
        known = self.memory.get(key)
        if known is None:
            skipped = _skipped(self.connection.dialect, self.query.level, self.shape)
            known = skipped.scalar(self.connection, self.values | {"skip": self.query.offset - 1})
            if known is not None:
                self.memory.put(key, known)
        return known

    def remember(self, offset: int, last_id: int) -> None:
        """Remember where the page after this one begins."""
        self.memory.put(self._key(offset), last_id)

    def _key(self, what: Hashable) -> Hashable:
        values = tuple(tuple(v) if isinstance(v, list) else v for v in self.values.values())
        return self.held.generation, self.query.level, self.shape, values, what


@prepared
def _held() -> Select[Any]:
    return select(holding)


@prepared
def _total(level: Level, shape: Shape) -> Select[Any]:
    return _narrow(level, shape, func.count().label("total"))


@prepared
def _skipped(level: Level, shape: Shape) -> Select[Any]:
    table = TABLES[level]
    return _narrow(level, shape, table.c.id).order_by(table.c.id).limit(1).offset(bindparam("skip"))


def _shape(query: Query, *, is_sqlite: bool) -> tuple[Shape, dict[str, Any], tuple[str, ...]]:
    """Return the question's shape, its values by parameter, and the keys that cannot be matched."""
    asked: list[tuple[str, Operator, Any]] = []
    for tag, uid in (("0020000D", query.study_instance_uid), ("0020000E", query.series_instance_uid)):
        if uid is not None:
            asked.append((tag, Operator.EQUAL, uid))
    unmatched: list[str] = []
    matches = dict(query.matches)
    date, time = matches.get(STUDY_DATE), matches.get(STUDY_TIME)
    if isinstance(date, Range) and isinstance(time, Range):
        asked += [(MOMENT, operator, value) for operator, value in moment_comparisons(date, time)]
        del matches[STUDY_TIME]
    for tag, match in matches.items():
        attribute = BY_TAG.get(tag)
        if attribute is None or attribute.level > query.level:
            unmatched.append(tag)
            continue
        asked += [
            (tag, operator, value) for operator, value in comparisons(attribute, match, is_sqlite=is_sqlite)
        ]
    shape = tuple((tag, operator) for tag, operator, _ in asked)
    return shape, {f"p{number}": value for number, (_, _, value) in enumerate(asked)}, tuple(unmatched)


@prepared
def _page(level: Level, shape: Shape, wanted: Plan, skips: bool, limited: bool) -> Select[Any]:  # noqa: FBT001
    above = {Level.STUDY: wanted.study, Level.SERIES: wanted.series}
    needed = set(Level) if level == Level.INSTANCE else {one for one, piece in above.items() if piece}
    statement = _narrow(level, shape, *wanted.columns(level), levels=needed)
    if wanted.instance == "attributes":
        statement = statement.join(document, document.c.instance_id == instance.c.id)
    table = TABLES[level]
    if skips:
        statement = statement.where(table.c.id > bindparam("after"))
    if limited:
        statement = statement.limit(bindparam("limit"))
    return statement.order_by(table.c.id)


def _narrow(
    level: Level,
    shape: Shape,
    *columns: Any,  # noqa: ANN401 columns of any type
    levels: AbstractSet[Level] = frozenset(),
) -> Select[Any]:
    """Return a selection of columns from the rows that match, joining no more tables than it needs."""
    attributes = [BY_TAG.get(tag) for tag, _ in shape]
    needed = {level, *levels}
    needed |= {
        Level.STUDY if a is None else a.level for a in attributes if a is None or a.source != "modalities"
    }
    if any(a is not None and a.source == "modalities" for a in attributes) and level == Level.INSTANCE:
        needed.add(Level.SERIES)
    statement = select(*columns).select_from(TABLES[level])
    if level == Level.INSTANCE and needed & {Level.SERIES, Level.STUDY}:
        statement = statement.join(series, instance.c.series_id == series.c.id)
    if level > Level.STUDY and Level.STUDY in needed:
        statement = statement.join(study, series.c.study_id == study.c.id)
    for number, ((_, operator), attribute) in enumerate(zip(shape, attributes, strict=True)):
        name = f"p{number}"
        statement = statement.where(
            compare(STUDY_MOMENT, operator, name)
            if attribute is None
            else condition(attribute, level, operator, name)
        )
    return statement
