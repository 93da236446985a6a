"""The images of the corpus: what their metadata told, and which instances are theirs."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import Connection, delete, exists, select

from app.catalog.corpus_models import fact, image, overlay
from app.catalog.counts import chunks
from app.catalog.documents import Attributes, pack_lightly, parse, unpack
from app.catalog.facts import ISIC_ID
from app.catalog.models import document, file, instance
from app.catalog.prepared import as_list, insert_rows, listed

_STEM = re.compile(r"(?:^|/)([A-Za-z0-9][A-Za-z0-9_-]{0,63})(?:\.[A-Za-z0-9]{1,5})?$", re.ASCII)


@dataclass(frozen=True, slots=True)
class KnownImage:
    """A row of `image`; of one that is not public nothing is known but its identifier."""

    isic_id: str
    source: str
    sop_instance_uid: str | None = None
    is_public: bool = True
    public_from: str | None = None
    known: Mapping[str, Any] = field(default_factory=dict)
    published: Mapping[str, str] = field(default_factory=dict)


def images_of(connection: Connection, isic_ids: Sequence[str]) -> dict[str, KnownImage]:
    """Return what is known of these images, by ISIC id."""
    statement = select(image).where(listed(image.c.isic_id, "ids"))
    return {
        row.isic_id: KnownImage(
            row.isic_id,
            row.source,
            row.sop_instance_uid,
            bool(row.is_public),
            row.public_from,
            orjson.loads(unpack(row.known)),
            orjson.loads(unpack(row.published)),
        )
        for row in connection.execute(statement, {"ids": as_list(isic_ids)})
    }


def remember_images(connection: Connection, images: Sequence[KnownImage]) -> None:
    """Write rows of `image` in place of those there are, within the caller's transaction."""
    for some in chunks(list(images)):
        statement = delete(image).where(listed(image.c.isic_id, "ids"))
        connection.execute(statement, {"ids": as_list(one.isic_id for one in some)})
    insert_rows(
        connection,
        image,
        [
            {
                "isic_id": one.isic_id,
                "sop_instance_uid": one.sop_instance_uid,
                "is_public": int(one.is_public),
                "public_from": one.public_from,
                "source": one.source,
                "known": pack_lightly(orjson.dumps(dict(one.known))),
                "published": pack_lightly(orjson.dumps(dict(one.published))),
            }
            for one in images
        ],
    )


def images_from(connection: Connection, source: str) -> set[str]:
    """Return the ISIC ids of the public images of which this source told last."""
    public = select(image.c.isic_id).where(image.c.source == source, image.c.is_public == 1)
    return set(connection.execute(public).scalars())


def instances_stating(connection: Connection, isic_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return the SOP Instance UIDs of what is shown as these images, by ISIC id, in order of registration."""
    statement = (
        select(fact.c.value, instance.c.sop_instance_uid)
        .join(instance, fact.c.instance_id == instance.c.id)
        .where(fact.c.attribute == ISIC_ID, listed(fact.c.value, "ids"))
        .order_by(instance.c.id)
    )
    found: dict[str, list[str]] = {}
    for isic_id, uid in connection.execute(statement, {"ids": as_list(isic_ids)}):
        found.setdefault(isic_id, []).append(uid)
    return found


def instances_named(connection: Connection) -> dict[str, list[str]]:
    """Return the UIDs of indexed files that state no ISIC id, by the name of the file less its ending."""
    states = exists().where(fact.c.instance_id == instance.c.id, fact.c.attribute == ISIC_ID)
    statement = (
        select(instance.c.sop_instance_uid, file.c.name)
        .join(file, instance.c.file_id == file.c.id)
        .where(file.c.folder_id.is_not(None), ~states)
        .order_by(instance.c.id)
    )
    found: dict[str, list[str]] = {}
    for uid, name in connection.execute(statement):
        if stem := _STEM.search(name):
            found.setdefault(stem[1], []).append(uid)
    return found


def instances_held(connection: Connection, sop_instance_uids: Collection[str]) -> set[str]:
    """Return those of these instances that are held."""
    statement = select(instance.c.sop_instance_uid).where(listed(instance.c.sop_instance_uid, "uids"))
    return set(connection.execute(statement, {"uids": as_list(sop_instance_uids)}).scalars())


def packed_overlays(connection: Connection, sop_instance_uids: Collection[str]) -> dict[str, bytes]:
    """Return what is shown of those of these instances that have an overlay, packed."""
    statement = select(overlay.c.sop_instance_uid, overlay.c.shown).where(
        listed(overlay.c.sop_instance_uid, "uids")
    )
    rows = connection.execute(statement, {"uids": as_list(sop_instance_uids)})
    return {row.sop_instance_uid: row.shown for row in rows}


def documents_of(connection: Connection, sop_instance_uids: Collection[str]) -> dict[str, Attributes]:
    """Return the documents of those of these instances that are held."""
    statement = (
        select(instance.c.sop_instance_uid, document.c.packed)
        .join(document, document.c.instance_id == instance.c.id)
        .where(listed(instance.c.sop_instance_uid, "uids"))
    )
    rows = connection.execute(statement, {"uids": as_list(sop_instance_uids)})
    return {row.sop_instance_uid: parse(unpack(row.packed)) for row in rows}
