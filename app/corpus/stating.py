"""Stating the terms of a folder: shown beside each of its files, which stay as they are.

What a file says itself is not overruled: the stricter licence of the two holds, and whom it names is named.
Stating other terms later takes the place of those that were stated.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from app.archive.archive import Archive
from app.catalog.corpus_models import overlay
from app.catalog.counts import chunks
from app.catalog.documents import Attributes, parse, unpack
from app.catalog.files import folders_below
from app.catalog.models import document, file, folder, instance
from app.catalog.overlays import as_filed, show
from app.corpus.licences import LICENCE_BY_ID, Licence, effective_licence, find_licence
from app.dicom.private_block import (
    ATTRIBUTION,
    COMMERCIAL_USE,
    CREATOR,
    CREATOR_TAG,
    GROUP,
    LICENCE_ID,
    LICENCE_URL,
    PRIVATE_ELEMENTS,
    block_of,
    tag_of_element,
    values_of,
)
from app.errors import NotImportable
from app.storage.in_place import stored_name

_TERMS = frozenset(map(tag_of_element, (LICENCE_ID, LICENCE_URL, ATTRIBUTION, COMMERCIAL_USE)))
MOST_CHARACTERS = 500  # of an attribution: as many as an index of facts holds


@dataclass(slots=True)
class Stated:
    """What became of the instances of a folder."""

    changed: int = 0
    unchanged: int = 0
    left: int = 0  # metadata state their terms, or their file a licence that is none of ours


def checked_terms(licence_id: str, attribution: str | None) -> tuple[Licence, str | None]:
    """Return terms that can be stated; raises NotImportable for what is none, or lacks whom to name."""
    licence = find_licence(licence_id)
    text = " ".join((attribution or "").split())
    if len(text) > MOST_CHARACTERS or not text.isprintable():
        raise NotImportable(
            "attribution", f"whom to name is plain text of at most {MOST_CHARACTERS} characters"
        )
    if licence.needs_attribution and not text:
        raise NotImportable("attribution", f"{licence.id} asks for it: say who is to be named")
    return licence, text or None


def state_terms(archive: Archive, path: Path, licence: Licence, attribution: str | None) -> Stated:
    """Show these terms of every catalogued instance whose file lies in a folder or below."""
    stated = Stated()
    with archive.catalog.read() as connection:
        uids = list(_below(connection, stored_name(os.path.realpath(path))))
    for some in chunks(uids):
        with archive.catalog.write() as connection:
            wanted: dict[str, Attributes] = {}
            for row in _rows(connection, some):
                before = parse(unpack(row.shown)) if row.shown is not None else {}
                shown = _wanted(as_filed(row), before, licence, attribution)
                if shown is None:
                    stated.left += 1
                elif shown == before:
                    stated.unchanged += 1
                else:
                    wanted[row.sop_instance_uid] = shown
            stated.changed += len(show(connection, wanted))
    return stated


def _below(connection: Connection, root: str) -> Iterator[str]:
    paths = [root, *folders_below(connection, [root.rstrip("/") + "/"])]
    for some in chunks(paths):
        yield from connection.execute(
            select(instance.c.sop_instance_uid)
            .join(file, instance.c.file_id == file.c.id)
            .join(folder, file.c.folder_id == folder.c.id)
            .where(folder.c.path.in_(some))
            .order_by(instance.c.id)
        ).scalars()


def _rows(connection: Connection, uids: list[str]) -> list[Any]:
    statement = (
        select(instance.c.sop_instance_uid, document.c.packed, overlay.c.shown, overlay.c.replaced)
        .select_from(instance)
        .join(document, document.c.instance_id == instance.c.id)
        .outerjoin(overlay, overlay.c.sop_instance_uid == instance.c.sop_instance_uid)
        .where(instance.c.sop_instance_uid.in_(uids))
    )
    return list(connection.execute(statement))


def _wanted(
    filed: Attributes, before: Attributes, licence: Licence, attribution: str | None
) -> Attributes | None:
    """Return the overlay that shows the terms beside what is shown already; None to leave it as it is."""
    if values_of(before, LICENCE_ID) and _others(before) != _others(_own_block(filed)):
        return None  # metadata of the image are shown, and they say it
    own = _first(filed, LICENCE_ID)
    if own and own not in LICENCE_BY_ID:
        return None
    holds = effective_licence(own, licence.id)
    values = {
        LICENCE_ID: holds.id,
        LICENCE_URL: holds.url,
        ATTRIBUTION: _first(filed, ATTRIBUTION) or attribution,
        COMMERCIAL_USE: "YES" if holds.allows_commercial_use else "NO",
    }
    shown = {**_own_block(filed), **before, CREATOR_TAG: {"vr": "LO", "Value": [CREATOR]}}
    for number, value in values.items():
        shown.pop(tag_of_element(number), None)
        if value:
            shown[tag_of_element(number)] = {"vr": PRIVATE_ELEMENTS[number].vr, "Value": [value]}
    return dict(sorted(shown.items()))


def _others(block: Attributes) -> Attributes:
    """Return what is shown beside terms."""
    return {tag: held for tag, held in block.items() if tag != CREATOR_TAG and tag not in _TERMS}


def _own_block(filed: Attributes) -> Attributes:
    """Return what a file says in our block, as in block 10: an overlay with our block hides it otherwise."""
    block = block_of(filed)
    if f"{GROUP:04X}00{block}" not in filed:
        return {}
    beginning = f"{GROUP:04X}{block}"
    return {f"{GROUP:04X}10{tag[6:]}": held for tag, held in filed.items() if tag.startswith(beginning)}


def _first(attributes: Attributes, number: int) -> str | None:
    values = values_of(attributes, number)
    return str(values[0]) if values else None
