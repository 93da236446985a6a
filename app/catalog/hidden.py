"""Images that are not public, as the catalogue knows of them: to take them out, and to let them back in."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, select, update

from app.catalog.corpus_models import fact, image
from app.catalog.counts import chunks
from app.catalog.facts import ISIC_ID
from app.catalog.models import change, file, folder, instance
from app.catalog.remembered import ISIC_NAME


@dataclass(frozen=True, slots=True)
class HiddenFile:
    """The row of a file whose instance is not shown; `folder` is None for a managed one."""

    id: int
    folder: str | None
    name: str
    size: int
    mtime_ns: int
    sha256: bytes | None
    problem: str


def held_of_images(connection: Connection, isic_ids: Collection[str]) -> set[str]:
    """Return the SOP Instance UIDs of what is held of these images, however register() would know them."""
    found: set[str] = set()
    for some in chunks(list(isic_ids)):
        named = select(instance.c.sop_instance_uid).join(
            image, image.c.sop_instance_uid == instance.c.sop_instance_uid
        )
        stated = select(instance.c.sop_instance_uid).join(fact, fact.c.instance_id == instance.c.id)
        found.update(connection.execute(named.where(image.c.isic_id.in_(some))).scalars())
        found.update(
            connection.execute(stated.where(fact.c.attribute == ISIC_ID, fact.c.value.in_(some))).scalars()
        )
    wanted = set(isic_ids)
    by_name = (
        select(instance.c.sop_instance_uid, file.c.name)
        .join(file, instance.c.file_id == file.c.id)
        .where(file.c.folder_id.is_not(None), file.c.name.contains("ISIC_", autoescape=True))
    )
    if wanted:
        rows = connection.execute(by_name)
        found.update(row.sop_instance_uid for row in rows if wanted.intersection(ISIC_NAME.findall(row.name)))
    return found


def images_not_public(connection: Connection) -> list[str]:
    """Return the ISIC ids of the images that nobody is to be shown."""
    return list(connection.execute(select(image.c.isic_id).where(image.c.is_public == 0)).scalars())


def end_embargoes(connection: Connection, today: str) -> list[str]:
    """Make public what was to be so by `today` (ISO 8601); return the ISIC ids."""
    due = (image.c.is_public == 0, image.c.public_from.is_not(None), image.c.public_from <= today)
    ended = list(connection.execute(select(image.c.isic_id).where(*due)).scalars())
    if ended:
        connection.execute(update(image).where(*due).values(is_public=1))
    return ended


def is_embargo_over(connection: Connection, today: str) -> bool:
    """Whether end_embargoes() would find any."""
    due = (image.c.is_public == 0, image.c.public_from.is_not(None), image.c.public_from <= today)
    return connection.execute(select(image.c.isic_id).where(*due).limit(1)).first() is not None


def with_a_date(connection: Connection, sop_instance_uids: Collection[str]) -> set[str]:
    """Return the UIDs of those of these held instances whose image has a day on which it will be public."""
    dated: set[str] = set()
    for some in chunks(list(sop_instance_uids)):
        named = select(image.c.sop_instance_uid).where(
            image.c.public_from.is_not(None), image.c.sop_instance_uid.in_(some)
        )
        stated = (
            select(instance.c.sop_instance_uid)
            .join(fact, fact.c.instance_id == instance.c.id)
            .join(image, image.c.isic_id == fact.c.value)
            .where(fact.c.attribute == ISIC_ID, image.c.public_from.is_not(None))
            .where(instance.c.sop_instance_uid.in_(some))
        )
        for statement in (named, stated):
            dated.update(connection.execute(statement).scalars())
    return dated


def forget_announcements(connection: Connection, sop_instance_uids: Collection[str]) -> None:
    """Leave of the changes of these instances the last alone, that they are gone, and no digest in it."""
    for some in chunks(list(sop_instance_uids)):
        rows = connection.execute(
            select(func.max(change.c.sequence))
            .where(change.c.sop_instance_uid.in_(some))
            .group_by(change.c.sop_instance_uid)
        )
        last = list(rows.scalars())
        connection.execute(
            delete(change).where(change.c.sop_instance_uid.in_(some), change.c.sequence.not_in(last))
        )
        kept = update(change).where(change.c.sequence.in_(last))
        connection.execute(kept.values(sha256=None))


def hidden_files(connection: Connection, problem: str) -> list[HiddenFile]:
    """Return the files whose problem begins so, but not those that are known to be of images not public."""
    not_public = connection.execute(
        select(image.c.isic_id, image.c.sop_instance_uid).where(image.c.is_public == 0)
    ).all()
    isic_ids, uids = {row.isic_id for row in not_public}, {row.sop_instance_uid for row in not_public}
    rows = connection.execute(
        select(
            file.c.id,
            folder.c.path,
            file.c.name,
            file.c.size,
            file.c.mtime_ns,
            file.c.sha256,
            file.c.problem,
        )
        .outerjoin(folder, file.c.folder_id == folder.c.id)
        .where(file.c.problem.startswith(problem, autoescape=True))
        .order_by(file.c.id)
    )
    return [
        HiddenFile(*row)
        for row in rows
        if row.problem.removeprefix(f"{problem}: ") not in uids
        and isic_ids.isdisjoint(ISIC_NAME.findall(row.name))
    ]
