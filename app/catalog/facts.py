"""Facts: what the private block of an instance says, in rows that searches and the rules of licences read.

They follow from the document that is shown (overlays.py adds to what the file says), in the same transaction.
"""

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, Select, Text, bindparam, delete, exists, func, or_, select, update

from app.catalog.corpus_models import collection, fact, member, terms
from app.catalog.counts import Values, chunks, update_rows
from app.catalog.models import instance
from app.catalog.prepared import insert_rows, insert_tuples, prepared
from app.dicom import private_block
from app.dicom.private_block import Facts, tag_of_element

LICENCE_ID, ATTRIBUTION, ISIC_ID = (
    int(tag_of_element(number), 16)
    for number in (private_block.LICENCE_ID, private_block.ATTRIBUTION, private_block.ISIC_ID)
)


def insert_facts(connection: Connection, found: Sequence[tuple[int, Facts]]) -> None:
    """Add the facts of instances, by the numbers of their rows; their columns are from terms_of()."""
    rows = [(attribute, value, instance_id) for instance_id, facts in found for attribute, value in facts]
    # In the order of the table itself: four times as fast as in the order they come.
    rows.sort()
    if len(rows) >= _MANY and connection.dialect.name == "sqlite":
        # One call of SQLite's, during which other threads of this process work.
        connection.exec_driver_sql(_INSERT_MANY, (orjson.dumps(rows).decode(),))
    else:
        insert_tuples(connection, fact, ("attribute", "value", "instance_id"), rows)


_MANY = 10_000
_INSERT_MANY = (
    "INSERT INTO fact (attribute, value, instance_id) SELECT json_extract(value, '$[0]'), "
    "json_extract(value, '$[1]'), json_extract(value, '$[2]') FROM json_each(?)"
)


def add_facts(connection: Connection, found: Sequence[tuple[int, Facts]]) -> None:
    """Add the facts of instances, by the numbers of their rows, and the terms that follow from them."""
    insert_facts(connection, found)
    state_terms(connection, found)


def state_terms(connection: Connection, found: Sequence[tuple[int, Facts]]) -> None:
    """Note the terms that follow from the facts of instances."""
    published = terms_of(connection, [facts for _, facts in found])
    rows = [each | {"row_id": number} for each, (number, _) in zip(published, found, strict=True)]
    update_rows(connection, instance, rows)


def terms_of(connection: Connection, found: Sequence[Facts]) -> list[Values]:
    """Return the columns of instances that follow from their facts, in order; new terms are added."""
    stated = [(_first(facts, LICENCE_ID), _first(facts, ATTRIBUTION)) for facts in found]
    ids = _terms_ids(connection, set(stated))
    return [
        {"terms_id": ids[each], "is_bound": int(bool(_first(facts, ISIC_ID)))}
        for each, facts in zip(stated, found, strict=True)
    ]


def replace_facts(connection: Connection, found: Sequence[tuple[int, Facts]]) -> None:
    """Give instances, whose terms are stated already, other facts than they had."""
    numbers = [instance_id for instance_id, _ in found]
    for ids in chunks(numbers):
        connection.execute(delete(fact).where(fact.c.instance_id.in_(ids)))
    insert_facts(connection, found)
    bind(connection, numbers)


def bind(connection: Connection, instance_ids: Sequence[int]) -> None:
    """Note of which instances the pixels are served on complete terms alone.

    They are those of the corpus, and the members of collections that ask for it.
    """
    of_corpus = exists().where(fact.c.instance_id == instance.c.id, fact.c.attribute == ISIC_ID)
    in_collection = exists().where(
        member.c.instance_id == instance.c.id,
        member.c.collection_id == collection.c.id,
        collection.c.requires_licence == 1,
    )
    for ids in chunks(list(instance_ids)):
        wanted = update(instance).where(instance.c.id.in_(ids))
        is_bound = or_(of_corpus, in_collection)
        connection.execute(wanted.where(is_bound, instance.c.is_bound == 0).values(is_bound=1))
        connection.execute(wanted.where(~is_bound, instance.c.is_bound == 1).values(is_bound=0))


def _first(facts: Facts, attribute: int) -> str | None:
    return next((value for each, value in facts if each == attribute), None)


def _terms_ids(
    connection: Connection, wanted: set[tuple[str | None, str | None]]
) -> dict[tuple[str | None, str | None], int | None]:
    ids: dict[tuple[str | None, str | None], int | None] = {(None, None): None}
    for licence_id, attribution in sorted(wanted - ids.keys(), key=str):
        stated = {"licence_id": licence_id, "attribution": attribution}
        known = _known_terms(connection.dialect).scalar(connection, stated)
        if known is None:
            known = (_last_terms(connection.dialect).scalar(connection, {}) or 0) + 1
            insert_rows(connection, terms, [stated | {"id": known}])
        ids[licence_id, attribution] = known
    return ids


@prepared
def _known_terms() -> Select[Any]:
    return select(terms.c.id).where(
        terms.c.licence_id.is_not_distinct_from(bindparam("licence_id", type_=Text)),
        terms.c.attribution.is_not_distinct_from(bindparam("attribution", type_=Text)),
    )


@prepared
def _last_terms() -> Select[Any]:
    return select(func.max(terms.c.id))
