"""Searches within a collection: which rows are in it, and what of them is counted there.

A member has the numbers of its study and series in the very row, so each of these is one look into an index.
"""

import re
from collections.abc import Mapping
from enum import Enum, auto
from types import MappingProxyType
from typing import Any

import orjson
from sqlalchemy import (
    ColumnElement,
    Select,
    Subquery,
    Text,
    bindparam,
    case,
    exists,
    func,
    literal_column,
    select,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

from app.catalog.answering import Plan
from app.catalog.answers import MODALITIES_IN_STUDY
from app.catalog.corpus_models import member
from app.catalog.documents import dump, parse
from app.catalog.expressions import unindexed
from app.catalog.models import instance, series, study
from app.dicom.matching import Level

_RELATED_SERIES, _RELATED_INSTANCES, _INSTANCES_OF_SERIES = "00201206", "00201208", "00201209"
# What can be cut out of stored JSON without reading it: up to the first brace that closes.
_SIMPLE = re.compile(rb'\{"vr":"(IS|CS)"(,"Value":\[([0-9]+|"[A-Z0-9_ ]*"(,"[A-Z0-9_ ]*")*)\])?')
_BETWEEN = "\\"  # which no CS holds (PS3.5 6.2)

NUMBERS = {
    Level.STUDY: member.c.study_id,
    Level.SERIES: member.c.series_id,
    Level.INSTANCE: member.c.instance_id,
}
_OWN = {Level.STUDY: study.c.id, Level.SERIES: series.c.id, Level.INSTANCE: instance.c.id}


class joined_texts(GenericFunction[str]):  # noqa: N801 the name it has in SQL expressions
    """`joined_texts(column, separator)`: the texts of all rows in one."""

    type = Text()
    inherit_cache = True


@compiles(joined_texts, "sqlite")
def _group_concat(element: joined_texts, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    return f"group_concat({compiler.process(element.clauses, **options)})"


@compiles(joined_texts, "postgresql")
def _string_agg(element: joined_texts, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    return f"string_agg({compiler.process(element.clauses, **options)})"


class Sieve(Enum):
    """How rows of a collection are told from others."""

    EACH = auto()  # each that matches otherwise is looked for among the members
    ALL = auto()  # the members are listed, and matched: they are few
    PAGE = auto()  # nothing else is asked: as many members as the page takes, in their order


def held_members() -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Return the conditions on rows of `member`: of the collection `scope`, and held."""
    # SQLite would take an index in which all that are held follow one another for the best there is.
    return member.c.collection_id == bindparam("scope"), unindexed(member.c.instance_id).is_not(None)


def is_within(level: Level, sieve: Sieve) -> ColumnElement[bool]:
    """Return the condition on rows of a level, that they are in the collection `scope`."""
    if sieve is Sieve.EACH:
        return exists().where(*held_members(), NUMBERS[level] == _OWN[level])
    return _OWN[level].in_(select(NUMBERS[level]).where(*held_members()))


def page_of(level: Level, *, skips: bool) -> Subquery:
    """Return the numbers of the first `limit` rows of a level in the collection `scope`, and their members.

    If it skips, those after the row `after`. They lie in this order in the index: no more is read.
    """
    number = NUMBERS[level]
    listed = select(number.label("id"), func.count().label("inside")).where(*held_members())
    if skips:
        listed = listed.where(number > bindparam("after"))
    return listed.group_by(number).order_by(number).limit(bindparam("limit")).subquery("page")


def numbers(level: Level) -> Select[Any]:
    """Return the numbers of the rows of a level that are in the collection `scope`, each once."""
    return select(NUMBERS[level].label("id")).where(*held_members()).distinct()


def has_members(series_id: ColumnElement[int]) -> ColumnElement[bool]:
    """Return whether a series has members in the collection `scope`."""
    return exists().where(*held_members(), member.c.series_id == series_id)


def counted(level: Level, column: str) -> ColumnElement[Any]:
    """Return how many series or instances of a row of a level are in the collection `scope`."""
    counts = func.count(member.c.series_id.distinct()) if column == "number_of_series" else func.count()
    within = *held_members(), NUMBERS[level] == _OWN[level]
    return select(counts).select_from(member).where(*within).scalar_subquery()


def columns(
    wanted: Plan, inside_of: Mapping[Level, ColumnElement[Any]] = MappingProxyType({})
) -> list[ColumnElement[Any]]:
    """Return what fitted() needs to know of a row, beside what its answer is made of.

    `inside_of` has the number of members of a level's rows where that is at hand.
    """
    found: list[ColumnElement[Any]] = []
    if wanted.study:
        inside = inside_of.get(Level.STUDY, counted(Level.STUDY, "number_of_instances"))
        every = study.c.number_of_instances
        each = series.alias("each_series")
        of_series = joined_texts(func.coalesce(each.c.modality, ""), literal_column(f"'{_BETWEEN}'"))
        within = *held_members(), member.c.study_id == study.c.id
        there = select(member.c.series_id).where(*within).distinct().correlate(study).subquery("there")
        modalities = select(of_series).join_from(there, each, each.c.id == there.c.series_id).correlate(study)
        found += [
            inside.label("study_inside"),
            every.label("study_every"),
            case((inside < every, modalities.scalar_subquery())).label("study_modalities"),
        ]
    if wanted.series:
        inside = inside_of.get(Level.SERIES, counted(Level.SERIES, "number_of_instances"))
        found += [inside.label("series_inside"), series.c.number_of_instances.label("series_every")]
    return found


def fitted(wanted: Plan, row: Any) -> Any:  # noqa: ANN401 a row of the plan's columns and of columns()
    """Return the row with the stored JSON of its study and series as the collection has them."""
    if wanted.study and row.study_inside < row.study_every:
        modalities = row.study_modalities.split(_BETWEEN)
        kinds = sorted(set(filter(None, modalities)))
        row = row._replace(
            study=_changed(
                row.study,
                {
                    MODALITIES_IN_STUDY: {"vr": "CS", "Value": kinds} if kinds else {"vr": "CS"},
                    _RELATED_SERIES: {"vr": "IS", "Value": [len(modalities)]},
                    _RELATED_INSTANCES: {"vr": "IS", "Value": [row.study_inside]},
                },
            )
        )
    if wanted.series and row.series_inside < row.series_every:
        inside = {_INSTANCES_OF_SERIES: {"vr": "IS", "Value": [row.series_inside]}}
        row = row._replace(series=_changed(row.series, inside))
    return row


def _changed(stored: bytes, values: dict[str, Any]) -> bytes:
    """Return stored JSON with other values of attributes that it has."""
    for tag, value in values.items():
        before, name, after = stored.partition(b'"%b":' % tag.encode())
        old, _, after = after.partition(b"}")
        if not (name and _SIMPLE.fullmatch(old) and b'"%b":' % tag.encode() not in after):
            return _parsed_and_changed(stored, values)
        stored = b"".join((before, name, orjson.dumps(value), after))
    return stored


def _parsed_and_changed(stored: bytes, values: dict[str, Any]) -> bytes:
    attributes = parse(stored)
    return dump(attributes | {tag: value for tag, value in values.items() if tag in attributes})
