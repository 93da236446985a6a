"""Facts: what the private block of an instance says, in rows that searches and the rules of licences read.

They follow from the document that is shown (overlays.py adds to what the file says), in the same transaction.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, and_, delete, exists, func, or_, select, update

from app.catalog.corpus_models import collection, fact, member, terms
from app.catalog.counts import chunks, update_rows
from app.catalog.models import instance
from app.catalog.prepared import insert_rows
from app.dicom import private_block
from app.dicom.private_block import Facts, tag_of_element

LICENCE_ID, ATTRIBUTION, ISIC_ID = (
    int(tag_of_element(number), 16)
    for number in (private_block.LICENCE_ID, private_block.ATTRIBUTION, private_block.ISIC_ID)
)


def add_facts(connection: Connection, found: Sequence[tuple[int, Facts]]) -> None:
    """Add the facts of instances, by the numbers of their rows, and the terms that follow from them."""
    if not found:
        return
    rows = [
        {"attribute": attribute, "value": value, "instance_id": instance_id}
        for instance_id, facts in found
        for attribute, value in facts
    ]
    # In the order of the table itself: four times as fast as in the order they come.
    insert_rows(connection, fact, sorted(rows, key=lambda row: (row["attribute"], row["value"])))
    stated = {
        instance_id: (_first(facts, LICENCE_ID), _first(facts, ATTRIBUTION), bool(_first(facts, ISIC_ID)))
        for instance_id, facts in found
    }
    ids = _terms_ids(connection, {each[:2] for each in stated.values()})
    update_rows(
        connection,
        instance,
        [
            {"row_id": instance_id, "terms_id": ids[licence_id, attribution], "is_bound": int(is_corpus)}
            for instance_id, (licence_id, attribution, is_corpus) in stated.items()
        ],
    )


def replace_facts(connection: Connection, found: Sequence[tuple[int, Facts]]) -> None:
    """Give instances other facts than they had."""
    numbers = [instance_id for instance_id, _ in found]
    for ids in chunks(numbers):
        connection.execute(delete(fact).where(fact.c.instance_id.in_(ids)))
    add_facts(connection, found)
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
    last = connection.execute(select(func.max(terms.c.id))).scalar() or 0
    for licence_id, attribution in sorted(wanted - ids.keys(), key=str):
        found = select(terms.c.id).where(
            and_(
                terms.c.licence_id.is_(None) if licence_id is None else terms.c.licence_id == licence_id,
                terms.c.attribution.is_(None) if attribution is None else terms.c.attribution == attribution,
            )
        )
        known = connection.execute(found.limit(1)).scalar()
        if known is None:
            known = last = last + 1
            insert_rows(
                connection, terms, [{"id": known, "licence_id": licence_id, "attribution": attribution}]
            )
        ids[licence_id, attribution] = known
    return ids
