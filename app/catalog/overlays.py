"""What is shown of an instance beside what its file says: attributes that every door finds in its document.

The document in the catalogue is the file's with these in it, so that no reader needs to know; what the file
said there is kept, and comes back when the overlay goes. The file itself is never changed.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, select, update

from app.catalog.changes import Action, Subject, record
from app.catalog.corpus_models import overlay
from app.catalog.counts import chunks, count_held
from app.catalog.documents import Attributes, dump, pack, parse, unpack
from app.catalog.facts import replace_facts, state_terms
from app.catalog.holdings import Reference
from app.catalog.models import document, file, instance, series, study
from app.catalog.prepared import Written, insert_rows, run_many
from app.dicom.private_block import CREATOR, CREATOR_TAG, GROUP, Facts, block_of, facts_of

_BLOCK = f"{GROUP:04X}10"
_NOTHING = pack(dump({}))


def show(
    connection: Connection,
    overlays: Mapping[str, Attributes],
    packed: Mapping[str, bytes] | None = None,
    later: list[tuple[int, Facts]] | None = None,
) -> set[str]:
    """Show these attributes of instances, by SOP Instance UID, within the caller's transaction.

    Elements of our private block are named in block 10, wherever the file has it; whatever the file says in
    that block is hidden. An empty overlay takes back what was shown. Returns the UIDs that are held.
    `packed` are the overlays as packed_overlay() has them, where the caller knows that already. A caller that
    gives `later` finds there what it is to give replace_facts() before the transaction ends.
    """
    held: set[str] = set()
    for uids in chunks(list(overlays)):
        rows = _rows(connection, uids)
        held.update(row.sop_instance_uid for row in rows)
        found = _write(connection, rows, overlays, packed or {})
        if later is None:
            replace_facts(connection, found)
        else:
            later += found
    if held:
        count_held(connection, 0, 0, 0, 0)  # what is remembered of searches is stale
    return held


def packed_overlay(shown: Attributes) -> bytes:
    """Return an overlay as its row has it."""
    return pack(dump(shown))


def remember(connection: Connection, overlays: Mapping[str, Attributes]) -> None:
    """Keep overlays of instances that are not held, for when they come."""
    for uids in chunks(list(overlays)):
        connection.execute(delete(overlay).where(overlay.c.sop_instance_uid.in_(uids)))
        rows = [
            {"sop_instance_uid": uid, "shown": packed_overlay(overlays[uid]), "replaced": None}
            for uid in uids
            if overlays[uid]
        ]
        insert_rows(connection, overlay, rows)


def overlays_of(connection: Connection, sop_instance_uids: Sequence[str]) -> dict[str, Attributes]:
    """Return what is shown of those of these instances that have an overlay."""
    found: dict[str, Attributes] = {}
    for uids in chunks(list(sop_instance_uids)):
        rows = connection.execute(
            select(overlay.c.sop_instance_uid, overlay.c.shown).where(overlay.c.sop_instance_uid.in_(uids))
        )
        found |= {row.sop_instance_uid: parse(unpack(row.shown)) for row in rows}
    return found


def overlaid(connection: Connection, after: int, limit: int) -> list[tuple[int, Reference, bytes]]:
    """Return the first instances with an overlay after this row: their rows' numbers, and what is shown."""
    rows = connection.execute(
        select(
            instance.c.id,
            study.c.study_instance_uid,
            series.c.series_instance_uid,
            instance.c.sop_instance_uid,
            overlay.c.shown,
        )
        .select_from(overlay)
        .join(instance, instance.c.sop_instance_uid == overlay.c.sop_instance_uid)
        .join(series, instance.c.series_id == series.c.id)
        .join(study, series.c.study_id == study.c.id)
        .where(instance.c.id > after)
        .order_by(instance.c.id)
        .limit(limit)
    )
    return [(row.id, Reference(*row[1:4]), unpack(row.shown)) for row in rows]


def count_overlaid(connection: Connection) -> int:
    """Return how many instances that are held have an overlay."""
    held = overlay.join(instance, instance.c.sop_instance_uid == overlay.c.sop_instance_uid)
    return connection.execute(select(func.count()).select_from(held)).scalar_one()


def _rows(connection: Connection, uids: Sequence[str]) -> Sequence[Any]:
    return connection.execute(
        select(
            instance.c.id,
            study.c.study_instance_uid,
            series.c.series_instance_uid,
            instance.c.sop_instance_uid,
            file.c.sha256,
            document.c.packed,
            overlay.c.shown,
            overlay.c.replaced,
        )
        .select_from(instance)
        .join(series, instance.c.series_id == series.c.id)
        .join(study, series.c.study_id == study.c.id)
        .join(file, instance.c.file_id == file.c.id)
        .join(document, document.c.instance_id == instance.c.id)
        .outerjoin(overlay, overlay.c.sop_instance_uid == instance.c.sop_instance_uid)
        .where(instance.c.sop_instance_uid.in_(uids))
    ).all()


def _write(
    connection: Connection,
    rows: Sequence[Any],
    overlays: Mapping[str, Attributes],
    packed: Mapping[str, bytes],
) -> list[tuple[int, Facts]]:
    """Write all but the facts, and return those."""
    documents: list[dict[str, Any]] = []
    kept: list[dict[str, Any]] = []
    found: list[tuple[int, Facts]] = []
    subjects: list[tuple[Action, Subject]] = []
    for row in rows:
        wanted = overlays[row.sop_instance_uid]
        attributes = as_filed(row)
        replaced = _merge(attributes, wanted)
        documents.append({"row_id": row.id, "packed": pack(dump(attributes))})
        if wanted:
            uid = row.sop_instance_uid
            shown = packed.get(uid) or packed_overlay(wanted)
            kept.append(
                {
                    "sop_instance_uid": uid,
                    "shown": shown,
                    "replaced": pack(dump(replaced)) if replaced else _NOTHING,
                }
            )
        # An overlay that has our block hides the file's own.
        found.append((row.id, facts_of(wanted if CREATOR_TAG in wanted else attributes)))
        subjects.append((Action.UPDATED, Subject(row[1], row[2], row[3], row[4])))
    _update_documents(connection, documents)
    for uids in chunks([row.sop_instance_uid for row in rows]):
        connection.execute(delete(overlay).where(overlay.c.sop_instance_uid.in_(uids)))
    insert_rows(connection, overlay, kept)
    state_terms(connection, found)
    record(connection, subjects)
    return found


def _update_documents(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    statement = (
        update(document)
        .where(document.c.instance_id == bindparam("row_id"))
        .values(packed=bindparam("packed"))
    )
    if rows:
        run_many(connection, Written(statement, connection.dialect), rows)


def as_filed(row: Any) -> Attributes:  # noqa: ANN401 a row of _rows()
    """Return the document as the file alone says it."""
    attributes = parse(unpack(row.packed))
    if row.replaced is not None:
        for tag in _placed(parse(unpack(row.shown)), block_of(attributes)):
            attributes.pop(tag, None)
        attributes |= parse(unpack(row.replaced))
    return attributes


def _merge(attributes: Attributes, wanted: Attributes) -> Attributes:
    """Put an overlay into a document; return what stood there before."""
    block = block_of(attributes)
    placed = _placed(wanted, block)
    hidden = set(placed)
    if CREATOR_TAG in wanted:
        own = f"{GROUP:04X}{block}"
        hidden.update(tag for tag in attributes if tag.startswith(own))
    replaced = {tag: attributes.pop(tag) for tag in hidden if tag in attributes}
    attributes |= placed
    return replaced


def _placed(wanted: Attributes, block: str) -> Attributes:
    """Return an overlay with the elements of our private block where a document has that."""
    if block == _BLOCK[4:]:
        return wanted
    return dict(_named(wanted, block))


def _named(wanted: Attributes, block: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for tag, attribute in wanted.items():
        if tag == CREATOR_TAG:
            yield f"{GROUP:04X}00{block}", {"vr": "LO", "Value": [CREATOR]}
        elif tag.startswith(_BLOCK):
            yield f"{GROUP:04X}{block}{tag[6:]}", attribute
        else:
            yield tag, attribute
