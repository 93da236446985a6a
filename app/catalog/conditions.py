"""Matching (PS3.4 C.2.2.2) as SQL conditions. A statement is built once for each shape of question."""

from collections.abc import Iterator
from enum import Enum, auto
from typing import Any

from sqlalchemy import ColumnElement, bindparam, func, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction
from sqlalchemy.types import Boolean

from app.catalog.attributes import Attribute
from app.catalog.models import instance, series, study
from app.dicom.matching import (
    Level,
    Match,
    Range,
    SingleValue,
    UIDList,
    Universal,
    Wildcard,
    time_bounds,
)
from app.dicom.person_names import fold_name

TABLES = {Level.STUDY: study, Level.SERIES: series, Level.INSTANCE: instance}

MAX_CODE_POINT = "\U0010ffff"  # sorts after whatever a prefix may be followed by


class Operator(Enum):
    """How a column is compared with one value."""

    EQUAL = auto()
    AMONG = auto()
    LIKE = auto()
    AT_LEAST = auto()
    AT_MOST = auto()
    NEVER = auto()


class like_dicom(GenericFunction[bool]):  # noqa: N801 the name it has in SQL expressions
    """`column like_dicom pattern`: GLOB on SQLite and LIKE on PostgreSQL, both of them heeding case."""

    type = Boolean()
    inherit_cache = True


@compiles(like_dicom, "sqlite")
def _glob(element: like_dicom, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    column, pattern = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} GLOB {pattern}"


@compiles(like_dicom, "postgresql")
def _like(element: like_dicom, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    column, pattern = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} LIKE {pattern}"


_GLOB = str.maketrans({"[": "[[]"})
_LIKE = str.maketrans({"*": "%", "?": "_", "%": r"\%", "_": r"\_", "\\": r"\\"})


def comparisons(attribute: Attribute, match: Match, *, is_sqlite: bool) -> Iterator[tuple[Operator, Any]]:
    """Yield what a match asks of its column; nothing for universal matching."""
    fold = fold_name if attribute.vr == "PN" else str
    match match:
        case Universal():
            return
        case SingleValue(value) if attribute.is_integer:
            number = int(value)
            yield (Operator.EQUAL, number) if -(2**63) <= number < 2**63 else (Operator.NEVER, None)
        case SingleValue(value) if attribute.vr == "TM":
            yield from zip((Operator.AT_LEAST, Operator.AT_MOST), time_bounds("TM", value), strict=True)
        case SingleValue(value):
            yield Operator.EQUAL, fold(value)
        case UIDList((value,)):
            yield Operator.EQUAL, value
        case UIDList(values):
            yield Operator.AMONG, list(values)
        case Wildcard(pattern):
            pattern = fold(pattern)
            if prefix := pattern[: min(pattern.find(c) % (len(pattern) + 1) for c in "*?")]:
                # So that the index narrows the search; the pattern decides.
                yield Operator.AT_LEAST, prefix
                yield Operator.AT_MOST, prefix + MAX_CODE_POINT
            yield Operator.LIKE, pattern.translate(_GLOB if is_sqlite else _LIKE)
        case Range(start, end):
            if start:
                yield Operator.AT_LEAST, time_bounds(attribute.vr, start)[0]
            if end:
                yield Operator.AT_MOST, time_bounds(attribute.vr, end)[1]


def condition(attribute: Attribute, level: Level, operator: Operator, name: str) -> ColumnElement[bool]:
    """Return the condition on rows of a level; `name` is the parameter that will hold the value."""
    if attribute.source == "modalities":
        matching = select(series.c.study_id).where(compare(series.c.modality, operator, name))
        return (study.c.id if level == Level.STUDY else series.c.study_id).in_(matching)
    return compare(TABLES[attribute.level].c[attribute.column], operator, name)


def compare(column: ColumnElement[Any], operator: Operator, name: str) -> ColumnElement[bool]:
    """Return `column operator :name`."""
    match operator:
        case Operator.EQUAL:
            return column == bindparam(name)
        case Operator.AMONG:
            return column.in_(bindparam(name, expanding=True))
        case Operator.LIKE:
            return like_dicom(column, bindparam(name))
        case Operator.AT_LEAST:
            return column >= bindparam(name)
        case Operator.AT_MOST:
            return column <= bindparam(name)
        case Operator.NEVER:
            return column.is_(None) & column.is_not(None)


STUDY_MOMENT = study.c.study_date + func.coalesce(study.c.study_time, "")
"""Study Date and Time as one value: a range over both is one range (C.2.2.2.5)."""


def moment_comparisons(date: Range, time: Range) -> Iterator[tuple[Operator, str]]:
    """Yield what a combined range of dates and times asks of STUDY_MOMENT."""
    if date.start:
        yield Operator.AT_LEAST, date.start + time_bounds("TM", time.start)[0]
    if date.end:
        yield Operator.AT_MOST, date.end + time_bounds("TM", time.end)[1]
