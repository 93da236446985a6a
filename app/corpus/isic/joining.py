"""Joining rows of metadata to the instances that are held of their images, a batch a transaction.

A run that was killed is run again: what is shown already is found to be so, and the rest is written.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import cached_property
from typing import Self

import orjson
from sqlalchemy import Connection

from app.archive.archive import Archive
from app.archive.hiding import hide_images, unhide
from app.catalog.documents import Attributes
from app.catalog.facts import replace_facts
from app.catalog.images import (
    KnownImage,
    documents_of,
    images_of,
    instances_held,
    instances_named,
    instances_stating,
    packed_overlays,
    remember_images,
)
from app.catalog.overlays import packed_overlay, remember, show
from app.corpus.isic.joined import Joined, SetTerms, as_stated, hidden_image, join
from app.corpus.isic.rows import BadRow, Row
from app.dicom.private_block import Facts
from app.errors import NotImportable

WHOLE = "refresh: "  # how the name of a source begins that tells of all images
SOP_INSTANCE_UID = "sop_instance_uid"  # a column, where a set has been given to DICOM files by somebody


class Fate(StrEnum):
    """What became of a row."""

    MATCHED = "matched"
    ALREADY_SO = "already so"
    NOT_HELD = "matched nothing"
    NOT_PUBLIC = "not public"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class RowFate:
    """A row and what became of it; `lacks_terms` when its pixels are not served."""

    row: Row | BadRow
    fate: Fate
    lacks_terms: bool = False
    is_first: bool = False  # nothing was known of the image before


@dataclass(slots=True)
class _Batch:
    """What is read before a batch is written."""

    matches: dict[str, list[str]]
    known: dict[str, KnownImage]
    shown: dict[str, bytes]
    fates: list[RowFate] = field(default_factory=list)
    images: list[KnownImage] = field(default_factory=list)
    overlays: dict[str, Attributes] = field(default_factory=dict)
    hidden: list[KnownImage] = field(default_factory=list)
    kept: dict[str, Attributes] = field(default_factory=dict)  # what will be shown of those, by UID
    returned: list[KnownImage] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where rows come from, and what that means for them."""

    name: str
    is_whole: bool = False  # it tells of all images there are: one that it tells of no more is not public
    knows_cohorts_only: bool = False  # its attribution is that of a cohort: any other is nearer the truth


class Joiner:
    """Joins the rows of one source; `changes_nothing` for a rehearsal.

    The last batch may still be on its way to the disk when join() returns: settle() waits for it.
    """

    def __init__(
        self,
        archive: Archive,
        terms: SetTerms,
        origin: Origin,
        *,
        changes_nothing: bool = False,
        today: date | None = None,
    ) -> None:
        self._archive = archive
        self._terms = terms
        self._origin = origin
        self._source = origin.name
        self._changes_nothing = changes_nothing
        self._today = (today or datetime.now(UTC).date()).isoformat()
        self._committer = ThreadPoolExecutor(1)
        self._committing: Future[None] | None = None
        self._on_the_way: set[str] = set()  # ISIC identifiers, and UIDs, of the batch that is committed now

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for the last batch, whatever ended the run: what it was told is done is done."""
        try:
            self.settle()
        finally:
            self._committer.shutdown()

    def settle(self) -> None:
        """Wait until all that was joined is committed; raises what went wrong."""
        committing, self._committing = self._committing, None
        self._on_the_way.clear()
        if committing is not None:
            committing.result()

    @cached_property
    def _named(self) -> dict[str, list[str]]:
        with self._archive.catalog.read() as connection:
            return instances_named(connection)

    def join(self, rows: Sequence[Row | BadRow]) -> list[RowFate]:
        """Join a batch of rows, in one transaction; return what became of each, in order."""
        good = [row for row in rows if isinstance(row, Row)]
        self._read_names()
        if self._on_the_way.intersection(row.isic_id for row in good):
            self.settle()
        batch = self._read_batch(good)
        if self._on_the_way.intersection(uid for uids in batch.matches.values() for uid in uids):
            self.settle()
            batch = self._read_batch(good)
        for row in rows:
            batch.fates.append(
                RowFate(row, Fate.INVALID) if isinstance(row, BadRow) else self._place(row, batch)
            )
        if self._changes_nothing:
            return batch.fates
        self._write(batch)
        return self._with_returned(batch) if batch.returned else batch.fates

    def _with_returned(self, batch: _Batch) -> list[RowFate]:
        """Join the rows of images that are public again, now that their files are registered."""
        self.settle()
        unhide(self._archive)
        self.__dict__.pop("_named", None)
        returned = {image.isic_id for image in batch.returned}
        again = iter(self.join([fate.row for fate in batch.fates if fate.row.isic_id in returned]))
        return [next(again) if fate.row.isic_id in returned else fate for fate in batch.fates]

    def _read_names(self) -> None:
        """Read the names of files once, before a batch is: they are many."""
        assert self._named is not None

    def _read_batch(self, rows: Sequence[Row]) -> _Batch:
        with self._archive.catalog.read() as connection:
            return self._read(connection, rows)

    def _read(self, connection: Connection, rows: Sequence[Row]) -> _Batch:
        isic_ids = [row.isic_id for row in rows]
        by_uid = {row.isic_id: row.published.get(SOP_INSTANCE_UID, "").strip() for row in rows}
        held = instances_held(connection, {uid for uid in by_uid.values() if uid})
        stating = instances_stating(connection, isic_ids)
        matches = {
            isic_id: [uid] if uid in held else stating.get(isic_id) or self._named.get(isic_id, [])
            for isic_id, uid in by_uid.items()
        }
        known = images_of(connection, isic_ids)
        # Files may say themselves what their image is: what is joined is added to it.
        stated = {uids[0]: isic_id for isic_id, uids in stating.items() if isic_id not in known}
        for uid, document in documents_of(connection, stated).items():
            isic_id = stated[uid]
            if image := as_stated(isic_id, document):
                known[isic_id] = image
        shown = packed_overlays(connection, {uid for uids in matches.values() for uid in uids})
        return _Batch(matches, known, shown)

    def _place(self, row: Row, batch: _Batch) -> RowFate:
        """Decide what is to become of a row."""
        before, uids = batch.known.get(row.isic_id), batch.matches[row.isic_id]
        if day := self._embargo(row):
            return self._hide_until(day, row, before, uids, batch)
        if row.values.get("public") == "NO":
            batch.hidden.append(hidden_image(row.isic_id, self._source, before, uids))
            return RowFate(row, Fate.NOT_PUBLIC)
        if before and not before.is_public:
            # Who hid it may show it again; facts follow when its files are registered.
            said = row.values.keys() & {"public", "public_from"}  # and it does not say no, or not yet
            is_public = bool(said) or self._origin.is_whole
            if before.source == self._source and is_public:
                batch.returned.append(KnownImage(row.isic_id, self._source, before.sop_instance_uid))
            return RowFate(row, Fate.NOT_PUBLIC)
        if not uids:
            return RowFate(row, Fate.NOT_HELD)
        try:
            joined = join(self._trusted(row, before), before, self._terms, self._source_of(before), uids[0])
        except NotImportable as error:
            return RowFate(BadRow(row.line, row.isic_id, error), Fate.INVALID)
        if isinstance(joined, BadRow):
            return RowFate(joined, Fate.INVALID)
        batch.known[row.isic_id] = joined.image  # for a row of the same image further down
        fate = self._decide(joined, before, uids, batch)
        return RowFate(row, fate, lacks_terms=not joined.has_terms, is_first=before is None)

    def _embargo(self, row: Row) -> str | None:
        """Return the day on which an image will be public, if that is still to come."""
        day = row.values.get("public_from")
        return day if day is not None and day > self._today else None

    def _hide_until(
        self, day: str, row: Row, before: KnownImage | None, uids: Sequence[str], batch: _Batch
    ) -> RowFate:
        """Hide an image, and keep what is to be shown of it when its day has come."""
        image = hidden_image(row.isic_id, self._source, before, uids, day)
        with suppress(NotImportable):  # then nothing is known of it on that day but that it is there
            joined = join(row, None, self._terms, self._source, image.sop_instance_uid)
            if isinstance(joined, Joined):
                image = replace(image, known=joined.image.known, published=joined.image.published)
                batch.kept.update((uid, joined.shown) for uid in uids)
        batch.hidden.append(image)
        return RowFate(row, Fate.NOT_PUBLIC)

    def _source_of(self, before: KnownImage | None) -> str:
        """Return whose image it is: that of a whole source stays its own, which may withdraw it one day."""
        if before and before.source.startswith(WHOLE) and not self._origin.is_whole:
            return before.source
        return self._source

    def _trusted(self, row: Row, before: KnownImage | None) -> Row:
        """Leave out what a source does not know: the attribution that another knows better, and blanks.

        Where something was known before, blanks say that it is so no more.
        """
        left_out: set[str] = set()
        if self._origin.is_whole and not (before and before.published):
            left_out.update(column for column, cell in row.published.items() if not cell)
        if self._origin.knows_cohorts_only and before and before.source != self._source:
            left_out.update({"attribution"} if before.known.get("attribution") else ())
        if not left_out:
            return row
        return replace(
            row,
            values={name: value for name, value in row.values.items() if name not in left_out},
            published={name: cell for name, cell in row.published.items() if name not in left_out},
        )

    def _decide(self, joined: Joined, before: KnownImage | None, uids: Sequence[str], batch: _Batch) -> Fate:
        wanted = packed_overlay(joined.shown)
        behind = [uid for uid in uids if batch.shown.get(uid) != wanted]
        says_so = not batch.shown.keys() & set(uids)  # the files do, so that nothing is shown beside them
        if before and _without_source(before) == _without_source(joined.image) and (says_so or not behind):
            if before != joined.image:
                batch.images.append(joined.image)
            return Fate.ALREADY_SO
        for uid in uids:
            batch.overlays[uid] = joined.shown
            batch.shown[uid] = wanted
        batch.images.append(joined.image)
        return Fate.MATCHED

    def _write(self, batch: _Batch) -> None:
        """Write a batch; the index of its facts, and the disk, take their time while the next is judged."""
        self.settle()
        images = {image.isic_id: image for image in (*batch.images, *batch.hidden, *batch.returned)}
        if images:
            with ExitStack() as writing:
                connection = writing.enter_context(self._archive.catalog.write())
                facts: list[tuple[int, Facts]] = []
                show(connection, batch.overlays, batch.shown, facts)
                remember_images(connection, list(images.values()))
                self._committing = self._committer.submit(_finish, writing.pop_all(), connection, facts)
            self._on_the_way = {*images, *batch.overlays}
        if batch.hidden:
            self.settle()
            hide_images(self._archive, [image.isic_id for image in batch.hidden])
        if batch.kept:
            with self._archive.catalog.write() as connection:
                remember(connection, batch.kept)


def _finish(writing: ExitStack, connection: Connection, facts: Sequence[tuple[int, Facts]]) -> None:
    with writing:
        replace_facts(connection, facts)


def _without_source(image: KnownImage) -> bytes:
    return orjson.dumps([image.sop_instance_uid, dict(image.known), dict(image.published)])
