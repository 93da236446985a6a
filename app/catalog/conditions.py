"""Matching (PS3.4 C.2.2.2) as SQL conditions. A statement is built once for each shape of question."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    FromClause,
    and_,
    bindparam,
    exists,
    func,
    literal,
    or_,
    select,
    union,
)

from app.catalog.attributes import Attribute
from app.catalog.comparisons import Comparison, NameTerms, Operator
from app.catalog.corpus_models import fact
from app.catalog.expressions import like_dicom, unindexed
from app.catalog.models import instance, name_term, series, study
from app.catalog.scope import Sieve, counted, has_members, is_member, is_within
from app.dicom.matching import Level

TABLES = {Level.STUDY: study, Level.SERIES: series, Level.INSTANCE: instance}


def condition(
    attribute: Attribute,
    level: Level,
    comparison: Comparison,
    name: str,
    *,
    leads: bool = True,
    is_scoped: bool = False,
) -> ColumnElement[bool]:
    """Return the condition on rows of a level; `name` is the parameter that will hold the value.

    One that does not lead is looked at row by row, as the rows come in their order. If `is_scoped`, what is
    below a row is what the collection `scope` has of it.
    """
    if attribute.source == "modalities":
        return _modalities_condition(level, comparison, name, leads=leads, is_scoped=is_scoped)
    if attribute.source == "sop_classes":
        return _sop_classes_condition(level, comparison, name, is_scoped=is_scoped)
    if attribute.source == "fact":
        return fact_condition(attribute, comparison, name)
    table = TABLES[attribute.level]
    column = table.c[attribute.column]
    if is_scoped and attribute.source == "count":
        assert isinstance(comparison, Operator)
        return compare(counted(attribute.level, attribute.column), comparison, name)
    if isinstance(comparison, NameTerms):
        return table.c.id.in_(_named(column, comparison, name))
    if comparison is Operator.LIKE_ANYWHERE:
        # The index alone is read, which is a fraction of the rows.
        return table.c.id.in_(select(table.c.id).where(compare(column, comparison, name)))
    return compare(column if leads else unindexed(column), comparison, name)


def _modalities_condition(
    level: Level, comparison: Comparison, name: str, *, leads: bool, is_scoped: bool
) -> ColumnElement[bool]:
    assert isinstance(comparison, Operator)
    study_id = study.c.id if level == Level.STUDY else series.c.study_id
    other = series.alias("other_series")
    there = (has_members(other.c.id),) if is_scoped else ()
    if comparison is Operator.EMPTY:
        return study_id.not_in(select(other.c.study_id).where(other.c.modality != "", *there))
    matches = compare(other.c.modality, comparison, name)
    if not leads or is_scoped:
        return exists().where(other.c.study_id == study_id, matches, *there)
    return study_id.in_(select(other.c.study_id).where(matches))


def _sop_classes_condition(
    level: Level, comparison: Comparison, name: str, *, is_scoped: bool
) -> ColumnElement[bool]:
    """Return the condition that a study has an instance of a SOP class; no index leads to those that have."""
    assert isinstance(comparison, Operator)
    study_id = study.c.id if level == Level.STUDY else series.c.study_id
    own = instance.alias("other_instance")
    if is_scoped:
        here = is_member(own.c.id, study_id)
    else:
        other = series.alias("other_series")
        here = (other.c.study_id == study_id) & (own.c.series_id == other.c.id)
    return exists().where(here, compare(own.c.sop_class_uid, comparison, name))


def fact_condition(
    attribute: Attribute, comparison: Comparison, name: str, *, leads: bool = True
) -> ColumnElement[bool]:
    """Return the condition on instances that a fact of theirs is compared with a value, as condition()."""
    assert isinstance(comparison, Operator)
    number = int(attribute.tag, 16)
    own = exists().where(fact.c.instance_id == instance.c.id, fact.c.attribute == number)
    if comparison is Operator.EMPTY:
        return ~own
    if not leads:
        return own.where(compare(fact.c.value, comparison, name))
    found = select(fact.c.instance_id).where(fact.c.attribute == number)
    return instance.c.id.in_(found.where(compare(fact.c.value, comparison, name)))


def any_below(
    level: Level, every: Sequence[ColumnElement[bool]], *, leads: bool, is_scoped: bool
) -> ColumnElement[bool]:
    """Return the condition on a study or series that any of its instances meets every one of some."""
    own = and_(*every, *((is_within(Level.INSTANCE, Sieve.EACH),) if is_scoped else ()))
    if level == Level.SERIES:
        number, found = series.c.id, select(instance.c.series_id)
        linked = instance.c.series_id == series.c.id
    else:
        other = series.alias("other_series")
        number = study.c.id
        found = select(other.c.study_id).join(instance, instance.c.series_id == other.c.id)
        linked = other.c.study_id == study.c.id
    return number.in_(found.where(own)) if leads else found.where(own, linked).exists()


def compare(column: ColumnElement[Any], operator: Operator, name: str) -> ColumnElement[bool]:
    """Return `column operator :name`."""
    match operator:
        case Operator.EQUAL:
            return column == bindparam(name)
        case Operator.AMONG:
            return column.in_(bindparam(name, expanding=True))
        case Operator.LIKE | Operator.LIKE_ANYWHERE:
            return like_dicom(column, bindparam(name))
        case Operator.AT_LEAST:
            return column >= bindparam(name)
        case Operator.AT_MOST:
            return column <= bindparam(name)
        case Operator.EMPTY:
            return column.is_(None) if column.type.python_type is int else or_(column.is_(None), column == "")
        case Operator.NEVER:
            return literal(1) == literal(0)


def _named(column: ColumnElement[Any], terms: NameTerms, name: str) -> CompoundSelect[Any]:
    """Return the studies that have each word, or that match literally."""
    here = select(name_term.c.study_id).where(name_term.c.attribute == bindparam(f"{name}_attribute"))
    others = [_has_word(name, number) for number in range(1, terms.words)]
    # Two selections, as the index leads to either: a word that begins so, and one that sounds so.
    every = [here.where(found, *others) for found in _is_word(name_term, name, 0)]
    literally = select(study.c.id).where(
        *(compare(column, operator, f"{name}_{number}") for number, operator in enumerate(terms.literal))
    )
    return union(*every, literally)


def _has_word(name: str, number: int) -> ColumnElement[bool]:
    other = name_term.alias(f"word_{number}")
    return exists().where(
        other.c.study_id == name_term.c.study_id,
        other.c.attribute == name_term.c.attribute,
        or_(*_is_word(other, name, number)),
    )


def _is_word(terms: FromClause, name: str, number: int) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    term = terms.c.term
    begins = (term >= bindparam(f"{name}_low{number}")) & (term < bindparam(f"{name}_high{number}"))
    return begins, term == bindparam(f"{name}_sound{number}")


def moment(date: Attribute, time: Attribute) -> ColumnElement[str]:
    """Return a date and a time as one value: a range over both is one range (C.2.2.2.5)."""
    columns = TABLES[date.level].c
    return columns[date.column] + func.coalesce(columns[time.column], "")
