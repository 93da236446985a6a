"""Searches within a collection: which rows are in it, and what of them is counted there.

A member has the numbers of its study and series in the very row, so each of these is one look into an index.
"""

import re
from collections.abc import Mapping
from enum import Enum, auto
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import orjson
from sqlalchemy import (
    ColumnElement,
    Select,
    Subquery,
    Text,
    and_,
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
from app.catalog.corpus_models import member
from app.catalog.documents import dump, parse
from app.catalog.expressions import unindexed
from app.catalog.models import instance, series, study
from app.dicom.matching import Level

_MODALITIES, _RELATED_SERIES = b'"00080061":', b'"00201206":'
_RELATED_INSTANCES, _INSTANCES_OF_SERIES = b'"00201208":', b'"00201209":'
_NUMBER, _VALUES_OF_CS = b'{"vr":"IS","Value":[%d]}', b'{"vr":"CS","Value":%b}'
# What can be cut out of stored JSON without reading it, up to its brace.
_is_simple = re.compile(
    rb'\{"vr":"(?:IS|CS)"(?:,"Value":\[(?:[0-9]+|"[A-Z0-9_ ]*"(?:,"[A-Z0-9_ ]*")*)\])?'
).fullmatch
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
def _group_concat(element: joined_texts, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 SQLAlchemy's
    return f"group_concat({compiler.process(element.clauses, **options)})"


@compiles(joined_texts, "postgresql")
def _string_agg(element: joined_texts, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 SQLAlchemy's
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


def is_member(instance_id: ColumnElement[int], study_id: ColumnElement[int]) -> ColumnElement[bool]:
    """Return whether an instance of a study is in the collection `scope`."""
    return and_(*held_members(), member.c.study_id == study_id, member.c.instance_id == instance_id)


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
    pieces: dict[str, bytes] = {}
    if wanted.study and row.study_inside < row.study_every:
        pieces["study"] = _changed(row.study, _of_study(row.study_modalities, row.study_inside))
    if wanted.series and row.series_inside < row.series_every:
        pieces["series"] = _changed(row.series, {_INSTANCES_OF_SERIES: _NUMBER % row.series_inside})
    return row._replace(**pieces) if pieces else row


@lru_cache(maxsize=4096)
def _of_study(modalities: str, inside: int) -> dict[bytes, bytes]:
    """Return what is said of a study with so many members, in series of these modalities."""
    of_series = modalities.split(_BETWEEN)
    kinds = sorted({one for one in of_series if one})
    return {
        _MODALITIES: _VALUES_OF_CS % orjson.dumps(kinds) if kinds else b'{"vr":"CS"}',
        _RELATED_SERIES: _NUMBER % len(of_series),
        _RELATED_INSTANCES: _NUMBER % inside,
    }


def _changed(stored: bytes, values: dict[bytes, bytes]) -> bytes:
    """Return stored JSON with other values of attributes that it has."""
    changed = stored
    for name, value in values.items():
        before, _, rest = changed.partition(name)
        old, _, after = rest.partition(b"}")
        if name in after or not _is_simple(old):
            return _parsed_and_changed(stored, values)
        changed = b"%b%b%b%b" % (before, name, value, after)
    return changed


def _parsed_and_changed(stored: bytes, values: dict[bytes, bytes]) -> bytes:
    attributes = parse(stored)
    new = {name[1:9].decode(): orjson.loads(value) for name, value in values.items()}
    return dump(attributes | {tag: value for tag, value in new.items() if tag in attributes})
