"""Collections: named selections of instances, each of them a root of its own for every door."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection

from app.archive.archive import Archive
from app.catalog.collections import (
    Collection,
    all_collections,
    delete_collection,
    insert_collection,
    lineage,
    parts,
    public_id,
    update_collection,
    with_all_parts,
)
from app.catalog.members import all_members, follow_up, not_public, settle
from app.errors import CollectionRefused, InvalidQuery, NotFound

SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
MOST_TITLE_CHARACTERS = 200
MOST_DESCRIPTION_BYTES = 64 * 2**10
FLAGS = ("is_public", "is_pinned", "requires_licence")
FIELDS = frozenset({"slug", "title", "description", "parent", *FLAGS})

_NEW: dict[str, Any] = {
    "title": "",
    "description": "",
    "parent_id": None,
    "is_public": False,
    "is_pinned": False,
    "is_locked": False,
    "requires_licence": False,
}
_NAMED_AT_MOST = 5  # in a refusal


class Scope(NamedTuple):
    """A collection to search and retrieve in: its number, and its name in addresses."""

    number: int
    slug: str


def scope_of(archive: Archive, slug: str) -> Scope:
    """Return the scope that a public collection is; raises NotFound."""
    with archive.catalog.read() as connection:
        number = public_id(connection, slug)
    if number is None:
        raise NotFound(f"There is no public collection {slug[:80]!r} here.")
    return Scope(number, slug)


def find_collection(archive: Archive, slug: str) -> Collection:
    """Return a collection, public or not; raises NotFound."""
    with archive.catalog.read() as connection:
        return find_named(all_collections(connection), slug)


def find_named(known: Mapping[int, Collection], slug: str) -> Collection:
    """Return the collection of that name; raises NotFound."""
    for one in known.values():
        if one.slug == slug:
            return one
    raise NotFound(f"There is no collection {slug[:80]!r}.")


def create_collection(archive: Archive, fields: Mapping[str, Any]) -> Collection:
    """Make a collection of `fields` (FIELDS); raises InvalidQuery, NotFound or CollectionRefused."""
    slug = fields.get("slug")
    if not isinstance(slug, str) or not SLUG.fullmatch(slug):
        raise InvalidQuery(
            "A collection is named by a slug: 1 to 63 small letters, digits and hyphens, no hyphen first."
        )
    with archive.catalog.write() as connection:
        known = all_collections(connection)
        if any(one.slug == slug for one in known.values()):
            raise CollectionRefused(f"There is a collection {slug!r} already; choose another slug.")
        values = _NEW | _checked(known, fields) | {"slug": slug, "created_at": _now()}
        if not values["title"]:
            raise InvalidQuery("A collection needs a title: say --title, or `title` over HTTP.")
        _require_open_parent(known, values["parent_id"])
        new = Collection(id=0, **values)
        _require_no_leak(connection, {**known, 0: new}, new)
        number = insert_collection(connection, values)
        return all_collections(connection)[number]


def change_collection(archive: Archive, slug: str, fields: Mapping[str, Any]) -> Collection:
    """Give a collection other values of some FIELDS but its slug; errors as of create_collection()."""
    if "slug" in fields:
        raise InvalidQuery("A collection keeps its slug: addresses depend on it.")
    with archive.catalog.write() as connection:
        known = all_collections(connection)
        old = find_named(known, slug)
        require_unlocked(known, old)
        values = _checked(known, fields)
        if "title" in values and not values["title"]:
            raise InvalidQuery("A collection needs a title: say --title, or `title` over HTTP.")
        changed = Collection(**{**asdict(old), **values})
        if changed.parent_id != old.parent_id:
            _require_no_cycle(known, changed)
            _require_open_parent(known, changed.parent_id)
        _require_no_leak(connection, {**known, old.id: changed}, changed)
        update_collection(connection, old.id, values)
        after = all_collections(connection)
        if changed.parent_id != old.parent_id:
            uids = all_members(connection, old.id)
            settle(connection, lineage(known, old.parent_id), uids)
            settle(connection, lineage(after, changed.parent_id), uids)
        elif changed.requires_licence != old.requires_licence:
            follow_up(connection, all_members(connection, old.id))
        else:
            follow_up(connection, ())
        return after[old.id]


def drop_collection(archive: Archive, slug: str) -> None:
    """Delete a collection; its members are held as before. Raises NotFound or CollectionRefused."""
    with archive.catalog.write() as connection:
        known = all_collections(connection)
        old = find_named(known, slug)
        require_unlocked(known, old)
        if below := parts(known, old.id):
            raise CollectionRefused(
                f"{slug!r} has parts: {_listed([one.slug for one in below])}. Delete them first, or make "
                "them part of another."
            )
        uids = all_members(connection, old.id)
        delete_collection(connection, old.id)
        settle(connection, lineage(known, old.parent_id), uids)


def lock_collection(archive: Archive, slug: str) -> Collection:
    """Freeze a collection and all that it is made of: nothing of it can be changed any more."""
    with archive.catalog.write() as connection:
        known = all_collections(connection)
        for one in with_all_parts(known, find_named(known, slug).id):
            update_collection(connection, one.id, {"is_locked": True})
        follow_up(connection, ())
        return find_named(all_collections(connection), slug)


def unlock_collection(archive: Archive, slug: str, reason: str) -> Collection:
    """Let a locked collection be changed again; its description says from now on when and why.

    Its parts stay locked. Raises NotFound, InvalidQuery or CollectionRefused.
    """
    reason = " ".join(reason.split())
    if not reason or not reason.isprintable():
        raise InvalidQuery("What is locked may have been cited: unlocking it needs a reason, which is told.")
    with archive.catalog.write() as connection:
        known = all_collections(connection)
        old = find_named(known, slug)
        if not old.is_locked:
            raise CollectionRefused(f"{slug!r} is not locked.")
        if above := [one.slug for one in lineage(known, old.parent_id) if one.is_locked]:
            raise CollectionRefused(
                f"{slug!r} is a part of {above[-1]!r}, which is locked: unlock that first."
            )
        told = f"{old.description.rstrip()}\n\n*Unlocked on {_now()[:10]}: {reason}*".lstrip()
        update_collection(connection, old.id, {"is_locked": False, "description": _description(told)})
        follow_up(connection, ())
        return find_named(all_collections(connection), slug)


def require_unlocked(known: Mapping[int, Collection], one: Collection) -> None:
    """Raise CollectionRefused for a collection that is locked, or a part of one that is."""
    for each in lineage(known, one.id):
        if each.is_locked:
            raise CollectionRefused(
                f"The collection {each.slug!r} is locked: what it holds does not change. Make a new one, or "
                f'on the server: dermzoo collection unlock {each.slug} --reason "…"'
            )


def _checked(known: Mapping[int, Collection], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields as columns; raises InvalidQuery for what they cannot be."""
    values: dict[str, Any] = {}
    for name, value in fields.items():
        if name in FLAGS:
            if not isinstance(value, bool):
                raise InvalidQuery(f"{name} is true or false.")
            values[name] = value
        elif name == "title":
            values[name] = _title(value)
        elif name == "description":
            values[name] = _description(value)
        elif name == "parent":
            values["parent_id"] = None if value is None else find_named(known, str(value)).id
        elif name != "slug":
            raise InvalidQuery(f"A collection has no {name[:80]!r}; there are {_listed(sorted(FIELDS), 99)}.")
    return values


def _title(value: object) -> str:
    title = " ".join(value.split()) if isinstance(value, str) else ""
    if len(title) > MOST_TITLE_CHARACTERS or not title.isprintable():
        raise InvalidQuery(f"A title is plain text of at most {MOST_TITLE_CHARACTERS} characters.")
    return title


def _description(value: object) -> str:
    text = value.replace("\r\n", "\n") if isinstance(value, str) else None
    if text is None or len(text.encode(errors="replace")) > MOST_DESCRIPTION_BYTES:
        raise InvalidQuery(f"A description is Markdown of at most {MOST_DESCRIPTION_BYTES} bytes.")
    for character in text:
        if unicodedata.category(character) in {"Cc", "Cs"} and character not in "\n\t":
            raise InvalidQuery(
                f"A description has no control characters but tab and line feed, and this has "
                f"U+{ord(character):04X}."
            )
    return text


def _require_open_parent(known: Mapping[int, Collection], number: int | None) -> None:
    if number is not None:
        require_unlocked(known, known[number])


def _require_no_cycle(known: Mapping[int, Collection], changed: Collection) -> None:
    if changed.id in {one.id for one in lineage(known, changed.parent_id)}:
        raise CollectionRefused(f"{changed.slug!r} cannot be a part of itself, or of one of its parts.")


def _require_no_leak(connection: Connection, known: Mapping[int, Collection], changed: Collection) -> None:
    """Refuse to show what is not public: a part of a public collection, an image in one."""
    for whole in lineage(known, changed.parent_id):
        if whole.is_public and not changed.is_public:
            raise CollectionRefused(
                f"{whole.slug!r} is public and shows what its parts hold; {changed.slug!r} is not. Make it "
                "public too, or keep it apart."
            )
    if not changed.is_public:
        return
    below = with_all_parts(known, changed.id)
    if hidden := [one.slug for one in below if not one.is_public]:
        raise CollectionRefused(
            f"Parts of {changed.slug!r} are not public: {_listed(hidden)}. Make them public first."
        )
    if images := not_public(connection, all_members(connection, changed.id)):
        raise CollectionRefused(
            f"{changed.slug!r} has {len(images)} images that are not public: {_listed(images)}. Remove them, "
            "or wait until they are."
        )


def _listed(names: list[str], most: int = _NAMED_AT_MOST) -> str:
    return ", ".join(names[:most]) + (" …" if len(names) > most else "")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
