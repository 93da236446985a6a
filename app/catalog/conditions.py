"""Matching (PS3.4 C.2.2.2) as SQL conditions. A statement is built once for each shape of question."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
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
from app.catalog.corpus_models import fact
from app.catalog.expressions import like_dicom, unindexed
from app.catalog.models import instance, name_term, series, study
from app.catalog.scope import Sieve, counted, has_members, is_member, is_within
from app.dicom.matching import (
    Empty,
    Every,
    Fuzzy,
    Level,
    Match,
    Range,
    SingleValue,
    UIDList,
    Wildcard,
    names_groups,
    time_bounds,
)
from app.dicom.person_names import GROUPS, fold_name, key_groups, sound

TABLES = {Level.STUDY: study, Level.SERIES: series, Level.INSTANCE: instance}

MAX_CODE_POINT = "\U0010ffff"  # sorts after whatever a prefix may be followed by


class Operator(Enum):
    """How a column is compared with one value."""

    EQUAL = auto()
    AMONG = auto()
    LIKE = auto()
    LIKE_ANYWHERE = auto()  # no prefix to look up, but an index to read through
    AT_LEAST = auto()
    AT_MOST = auto()
    EMPTY = auto()
    NEVER = auto()


@dataclass(frozen=True, slots=True)
class NameTerms:
    """A person name by so many words of it, or by what its column is compared with."""

    words: int
    literal: tuple[Operator, ...]


Comparison = Operator | NameTerms
Asked = tuple[Comparison, Any]  # the values of NameTerms are a dict, by the end of the parameter's name


_NEVER_EMPTY = frozenset({"count", "sop_classes"})
_GLOB = str.maketrans({"[": "[[]"})
_LIKE = str.maketrans({"*": "%", "?": "_", "%": r"\%", "_": r"\_", "\\": r"\\"})


def comparisons(attribute: Attribute, match: Match, *, is_sqlite: bool) -> Iterator[Asked]:
    """Yield what a match asks of its column; nothing for universal matching.

    Of an attribute in a sequence the column holds the values of all items: it narrows, and does not decide.
    """
    if attribute.is_in_sequence:
        if isinstance(match, SingleValue | Wildcard):
            text = match.value if isinstance(match, SingleValue) else match.pattern
            yield Operator.LIKE, _pattern(f"*{text}*", is_sqlite=is_sqlite)
        return
    if names_groups(attribute.tag, match):
        yield from _first_group_comparisons(attribute, match, is_sqlite=is_sqlite)
        return
    match match:
        case Empty():
            yield Operator.NEVER if attribute.source in _NEVER_EMPTY else Operator.EMPTY, None
        case SingleValue(value):
            yield from _value_comparisons(attribute, value)
        case Every(values):
            yield from ((Operator.EQUAL, value) for value in values)
        case UIDList((value,)):
            yield Operator.EQUAL, value
        case UIDList(values):
            yield Operator.AMONG, list(values)
        case Wildcard(pattern):
            yield from _like_comparisons(attribute, pattern, is_sqlite=is_sqlite)
        case Fuzzy():
            yield _fuzzy_comparison(attribute, match, is_sqlite=is_sqlite)
        case Range(start, end):
            bounds = (time_bounds(attribute.vr, start)[0], time_bounds(attribute.vr, end)[1])
            both = zip((start, end), (Operator.AT_LEAST, Operator.AT_MOST), bounds, strict=True)
            yield from ((operator, bound) for given, operator, bound in both if given)


def _value_comparisons(attribute: Attribute, value: str) -> Iterator[Asked]:
    if attribute.is_integer:
        number = int(value)
        yield (Operator.EQUAL, number) if -(2**63) <= number < 2**63 else (Operator.NEVER, None)
    elif attribute.vr == "TM":
        yield from zip((Operator.AT_LEAST, Operator.AT_MOST), time_bounds("TM", value), strict=True)
    else:
        yield Operator.EQUAL, fold_name(value) if attribute.vr == "PN" else value


def _first_group_comparisons(attribute: Attribute, match: Match, *, is_sqlite: bool) -> Iterator[Asked]:
    """Yield what narrows a search for component groups of a name; their documents decide."""
    assert isinstance(match, SingleValue | Wildcard)
    key = match.value if isinstance(match, SingleValue) else match.pattern
    for group, text in key_groups(key):
        if group == GROUPS[0]:  # a name that has it, has it in its column
            is_pattern = isinstance(match, Wildcard) and ("*" in text or "?" in text)
            yield from comparisons(
                attribute, Wildcard(text) if is_pattern else SingleValue(text), is_sqlite=is_sqlite
            )


def _pattern(pattern: str, *, is_sqlite: bool) -> str:
    return pattern.translate(_GLOB if is_sqlite else _LIKE)


def _like_comparisons(attribute: Attribute, pattern: str, *, is_sqlite: bool) -> Iterator[Asked]:
    if attribute.vr == "PN":
        pattern = fold_name(pattern)
    prefix = pattern[: min(pattern.find(c) % (len(pattern) + 1) for c in "*?")]
    if prefix:
        # So that the index narrows the search; the pattern decides.
        yield Operator.AT_LEAST, prefix
        yield Operator.AT_MOST, prefix + MAX_CODE_POINT
    anywhere = attribute.indexed and attribute.source in {"column", "fact"} and not prefix
    yield (
        Operator.LIKE_ANYWHERE if anywhere else Operator.LIKE,
        _pattern(pattern, is_sqlite=is_sqlite),
    )


def _fuzzy_comparison(attribute: Attribute, match: Fuzzy, *, is_sqlite: bool) -> Asked:
    values: dict[str, Any] = {"_attribute": int(attribute.tag, 16)}
    # The longest is likely the rarest, and leads; the others are looked for beside it.
    for number, word in enumerate(sorted(match.words, key=len, reverse=True)):
        values |= {
            f"_low{number}": word,
            f"_high{number}": word + MAX_CODE_POINT,
            f"_sound{number}": sound(word) or word,
        }
    literally: list[Operator] = [Operator.NEVER] if names_groups(attribute.tag, match.literal) else []
    for operator, value in comparisons(attribute, match.literal, is_sqlite=is_sqlite):
        assert isinstance(operator, Operator)
        values[f"_{len(literally)}"] = value
        literally.append(Operator.LIKE if operator is Operator.LIKE_ANYWHERE else operator)
    return NameTerms(len(match.words), tuple(literally)), values


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
