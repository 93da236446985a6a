"""The statements of searches, each built once for its shape and prepared."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, bindparam, func, literal_column, select

from app.catalog import scope
from app.catalog.answering import Plan
from app.catalog.attributes import BY_TAG, Attribute
from app.catalog.comparisons import Comparison, Operator
from app.catalog.conditions import TABLES, any_below, compare, condition, fact_condition, moment
from app.catalog.corpus_models import fact
from app.catalog.models import document, holding, instance, series, study
from app.catalog.prepared import prepared
from app.catalog.question import Shape, is_led
from app.catalog.scope import NUMBERS, Sieve, counted, held_members, is_within, numbers, page_of
from app.dicom.matching import Level, Order


@prepared
def held() -> Select[Any]:
    """Return the totals and the generation."""
    return select(holding)


@prepared
def total(level: Level, shape: Shape, sieve: Sieve | None) -> Select[Any]:
    """Count what matches."""
    if sieve and not shape:
        return select(func.count().label("total")).select_from(numbers(level).subquery())
    return _narrow(level, shape, func.count().label("total"), counts=True, sieve=sieve)


@prepared
def members() -> Select[Any]:
    """Count the instances in the collection `scope`."""
    return select(func.count().label("members")).where(*held_members())


@prepared
def skipped(level: Level, shape: Shape, sieve: Sieve | None) -> Select[Any]:
    """Return the number of the row after `skip` others that match."""
    rows, number = _narrow(level, shape, TABLES[level].c.id, sieve=sieve), _number(level, shape)
    if sieve and not shape:
        rows, number = numbers(level), NUMBERS[level]
    return rows.order_by(number).limit(1).offset(bindparam("skip"))


@prepared
def matching_rows(
    level: Level, shape: Shape, order: tuple[Order, ...], sieve: Sieve | None = None
) -> Select[Any]:
    """Return the numbers of at most `limit` rows that match, after `offset` others, in order."""
    table = TABLES[level]
    attributes = [BY_TAG[one.tag] for one in order]
    columns = [
        counted(attribute.level, attribute.column)
        if sieve and attribute.source == "count"
        else TABLES[attribute.level].c[attribute.column]
        for attribute in attributes
    ]
    # Alike in both databases: rows without a value come first, or last where the order descends.
    sorting = [
        column.desc().nulls_last() if one.descends else column.asc().nulls_first()
        for column, one in zip(columns, order, strict=True)
    ]
    levels = {attribute.level for attribute in attributes}
    statement = _narrow(level, shape, table.c.id, levels=levels, sieve=sieve)
    return statement.order_by(*sorting, table.c.id).limit(bindparam("limit")).offset(bindparam("offset"))


@prepared
def following_rows(level: Level, shape: Shape, sieve: Sieve | None) -> Select[Any]:
    """Return the numbers of at most `limit` rows that match, after row `after`, in their order."""
    number = _number(level, shape)
    statement = _narrow(level, shape, TABLES[level].c.id, sieve=sieve).where(number > bindparam("after"))
    return statement.order_by(number).limit(bindparam("limit"))


@prepared
def listed_rows(level: Level, shape: Shape, sieve: Sieve | None) -> Select[Any]:
    """Return the numbers of at most `limit` rows that match, in no order: the index alone may be read."""
    return _narrow(level, shape, TABLES[level].c.id, counts=True, sieve=sieve).limit(bindparam("limit"))


@prepared
def page(
    level: Level,
    shape: Shape,
    wanted: Plan,
    skips: bool,  # noqa: FBT001 a key of the cache
    limited: bool,  # noqa: FBT001 a key of the cache
    in_order: bool,  # noqa: FBT001 a key of the cache
    sieve: Sieve | None = None,
) -> Select[Any]:
    """Return what answers are made of: at most `limit` if it is limited, after row `after` if it skips.

    `in_order`: rows are read in their order until there are enough, whatever index there is for a key.
    """
    table, levels = TABLES[level], _levels(level, wanted)
    if sieve is Sieve.PAGE:
        inside = page_of(level, skips=skips)
        columns = [*wanted.columns(level), *scope.columns(wanted, {level: inside.c.inside})]
        statement = _narrow(level, (), *columns, levels=levels).join(inside, inside.c.id == table.c.id)
        return _with_document(statement, wanted).order_by(table.c.id)
    columns = _columns(level, wanted, is_scoped=sieve is not None)
    statement = _narrow(level, shape, *columns, levels=levels, leads=not in_order, sieve=sieve)
    statement = _with_document(statement, wanted)
    number = _number(level, shape, leads=not in_order)
    if skips:
        statement = statement.where(number > bindparam("after"))
    if limited:
        statement = statement.limit(bindparam("limit"))
    return statement.order_by(number)


@prepared
def chosen(level: Level, wanted: Plan, is_scoped: bool) -> Select[Any]:  # noqa: FBT001 a key of the cache
    """Return what the answers of the rows `ids` are made of, in no order."""
    columns = _columns(level, wanted, is_scoped=is_scoped)
    statement = _narrow(level, (), *columns, levels=_levels(level, wanted))
    return _with_document(statement, wanted).where(TABLES[level].c.id.in_(bindparam("ids", expanding=True)))


@prepared
def documents(level: Level, wanted: frozenset[Level]) -> Select[Any]:
    """Return the stored JSON of the rows `ids` at each level that is wanted, in no order."""
    pieces: dict[Level, ColumnElement[Any]] = {
        Level.STUDY: study.c.attributes.label("study"),
        Level.SERIES: series.c.attributes.label("series"),
        Level.INSTANCE: document.c.packed.label("instance"),
    }
    table = TABLES[level]
    columns = [table.c.id, *(piece for one, piece in pieces.items() if one in wanted)]
    statement = _narrow(level, (), *columns, levels=wanted)
    if Level.INSTANCE in wanted:
        statement = statement.join(document, document.c.instance_id == instance.c.id)
    return statement.where(table.c.id.in_(bindparam("ids", expanding=True)))


def _columns(level: Level, wanted: Plan, *, is_scoped: bool) -> list[ColumnElement[Any]]:
    return [*wanted.columns(level), *(scope.columns(wanted) if is_scoped else ())]


def _levels(level: Level, wanted: Plan) -> set[Level]:
    above = {Level.STUDY: wanted.study, Level.SERIES: wanted.series}
    return set(Level) if level == Level.INSTANCE else {one for one, piece in above.items() if piece}


def _with_document(statement: Select[Any], wanted: Plan) -> Select[Any]:
    if wanted.instance != "attributes":
        return statement
    return statement.join(document, document.c.instance_id == instance.c.id)


def _narrow(
    level: Level,
    shape: Shape,
    *columns: Any,  # noqa: ANN401 columns of any type
    levels: AbstractSet[Level] = frozenset(),
    counts: bool = False,
    leads: bool = True,
    sieve: Sieve | None = None,
) -> Select[Any]:
    """Return a selection of columns from the rows that match, joining no more tables than it needs."""
    attributes = [BY_TAG[tag.partition("+")[0]] for tag, _ in shape]
    needed = {level, *levels, *(a.level for a in attributes if not a.is_gathered)}
    if any(a.is_gathered for a in attributes) and level == Level.INSTANCE:
        needed.add(Level.SERIES)
    statement = select(*columns).select_from(TABLES[level])
    facts = _joined_facts(level, shape)
    if level == Level.INSTANCE and needed & {Level.SERIES, Level.STUDY}:
        statement = statement.join(series, instance.c.series_id == series.c.id)
    if level > Level.STUDY and Level.STUDY in needed:
        statement = statement.join(study, series.c.study_id == study.c.id)
    options = {"alone": counts and len(shape) == 1, "leads": leads, "is_scoped": sieve is not None}
    for number, rows in facts.items():
        statement = statement.join(rows, rows.c.instance_id == instance.c.id).where(
            rows.c.attribute == literal_column(str(int(attributes[number].tag, 16))),
            compare(rows.c.value, Operator.EQUAL, f"p{number}"),
        )
    for number, ((tag, comparison), attribute) in enumerate(zip(shape, attributes, strict=True)):
        if attribute.source == "fact":
            continue
        statement = statement.where(_condition(tag, attribute, level, comparison, f"p{number}", **options))
    # Of few images each is looked at, sooner than all that have a fact are listed.
    lists = (leads or level == Level.INSTANCE) and not is_led(shape)
    of_image = _conditions_of_image(shape, facts, leads=lists)
    if of_image and level < Level.INSTANCE:
        of_image = [any_below(level, of_image, leads=lists, is_scoped=sieve is not None)]
    statement = statement.where(*of_image)
    return statement if sieve is None else statement.where(is_within(level, sieve))


@lru_cache(maxsize=1024)
def _joined_facts(level: Level, shape: Shape) -> Mapping[int, FromClause]:
    """Return the rows of facts that are compared with one value, of which an instance has at most one.

    They lead to the instances in their order, so that a page is read without the rest. Always the same
    ones for a shape, so that a statement may name them again.
    """
    return {
        number: fact.alias(f"fact_{number}")
        for number, (tag, comparison) in enumerate(shape)
        if level == Level.INSTANCE and comparison is Operator.EQUAL and _is_fact(tag) and not is_led(shape)
    }


def _conditions_of_image(
    shape: Shape, joined: Mapping[int, FromClause], *, leads: bool
) -> list[ColumnElement[bool]]:
    """Return what facts that are not joined ask of an instance: of the same one below a study or series."""
    return [
        fact_condition(BY_TAG[tag], comparison, f"p{number}", leads=leads)
        for number, (tag, comparison) in enumerate(shape)
        if _is_fact(tag) and number not in joined
    ]


def _is_fact(tag: str) -> bool:
    attribute = BY_TAG.get(tag)
    return attribute is not None and attribute.source == "fact"


def _number(level: Level, shape: Shape, *, leads: bool = True) -> ColumnElement[int]:
    """Return the number of a row, from the index that leads to it in this order if there is one.

    SQLite does not see that the column which another is equal to is in order when that is.
    """
    facts = _joined_facts(level, shape) if leads else {}
    return next(iter(facts.values())).c.instance_id if facts else TABLES[level].c.id


def _condition(
    tag: str,
    attribute: Attribute,
    level: Level,
    comparison: Comparison,
    name: str,
    *,
    alone: bool,
    leads: bool,
    is_scoped: bool,
) -> ColumnElement[bool]:
    if "+" in tag:
        assert isinstance(comparison, Operator)
        return compare(moment(attribute, BY_TAG[tag.partition("+")[2]]), comparison, name)
    if alone and comparison is Operator.LIKE_ANYWHERE and attribute.level == level:
        comparison = Operator.LIKE  # counted in the index that it is found in
    return condition(attribute, level, comparison, name, leads=leads, is_scoped=is_scoped)
