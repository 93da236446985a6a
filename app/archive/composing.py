"""Instances that arrive as metadata and bulk data: composed to files, then taken in like any other.

All parts of one request are one staged file. Pictures are looked into and headers written in the cage; the
bulk data go from file to file a piece at a time, however long they are.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace

from app.archive import caged
from app.archive.archive import Archive
from app.archive.store import Received, read_staged
from app.dicom.parts import RECEIVED, WRITTEN, BulkPart, Composed, Elsewhere, MetadataPart, Picture
from app.errors import ArchiveError, CagedFailure, StorageFailed, StorageFull, Unreadable
from app.storage.disk import disk_errors
from app.storage.interface import StagedFile, Staging

_COPY_BYTES = 2**20
_BATCH_BYTES = 2**21


def receive_composed(
    archive: Archive,
    staging: Staging,
    bundle: StagedFile,
    documents: Sequence[MetadataPart],
    parts: Sequence[BulkPart],
) -> list[Received]:
    """Compose and read the instances of a request whose parts are ranges of `bundle`.

    Each has its own result, and so has bulk data that nobody names. Raises Unreadable for a JSON document
    that is none, StorageFull or StorageFailed.
    """
    written = staging.new()
    looked_into = [_looked_into(archive, bundle, part, written) for part in parts]
    composed = [
        one
        for batch in _batches(documents)
        for one in _composed(archive, bundle, batch, looked_into, written)
    ]
    allowance = _Allowance(archive.settings.store_max_bytes)
    with ExitStack() as files, disk_errors():
        sources = {
            number: files.enter_context(staged.path.open("rb")).fileno()
            for number, staged in ((WRITTEN, written), (RECEIVED, bundle))
        }
        received = [_received(archive, staging, bundle, one, sources, allowance) for one in composed]
    used = {location for one in composed for location in one.used}
    return received + [
        Received(
            bundle,
            error=Unreadable(
                f"The bulk data {part.location[:200]} belong to no instance that could be read."
            ),
        )
        for part in parts
        if part.location not in used
    ]


class _Allowance:
    """How many bytes one request may still become: small bulk data could be named a thousand times."""

    def __init__(self, size: int) -> None:
        self._left = size

    def take(self, size: int) -> None:
        if size > self._left:
            raise Unreadable("The instances of the request are larger than one request may be.")
        self._left -= size


def _looked_into(archive: Archive, bundle: StagedFile, part: BulkPart, written: StagedFile) -> BulkPart:
    if not part.is_picture:
        return part
    archive.storage.require_room()
    picture: Picture | ArchiveError
    try:
        if written.path.stat().st_size > archive.settings.store_max_bytes:
            raise Unreadable("the pictures of the request decode to more than one request may bring")
        picture = archive.cage.run(
            caged.read_picture, str(bundle.path), part.place, part.media_type, str(written.path)
        )
    except ArchiveError as error:
        picture = error
    return replace(part, picture=picture)


def _batches(documents: Sequence[MetadataPart]) -> Iterator[list[MetadataPart]]:
    """Yield documents in batches that a caged process reads in a second: the parts travel with each."""
    batch: list[MetadataPart] = []
    size = 0
    for document in documents:
        if batch and size + document.place.length > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(document)
        size += document.place.length
    yield batch


def _composed(
    archive: Archive,
    bundle: StagedFile,
    documents: Sequence[MetadataPart],
    parts: Sequence[BulkPart],
    written: StagedFile,
) -> list[Composed]:
    archive.storage.require_room()
    try:
        return archive.cage.run(caged.compose, str(bundle.path), documents, parts, str(written.path))
    except CagedFailure as error:
        if len(documents) == 1:
            return [Composed(error=error)]
    # Which of them it was shows when each has its turn alone.
    alone = ([document] for document in documents)
    return [one for document in alone for one in _composed(archive, bundle, document, parts, written)]


def _received(
    archive: Archive,
    staging: Staging,
    bundle: StagedFile,
    composed: Composed,
    sources: dict[int, int],
    allowance: _Allowance,
) -> Received:
    if composed.error is not None:
        return Received(bundle, error=composed.error, composed=composed)
    try:
        allowance.take(sum(place.length for place in composed.pieces))
        staged = staging.new()
        for place in composed.pieces:
            _copy(sources.get(place.source, -1), place, staged)
        staged.finish()
    except (StorageFull, StorageFailed):
        raise
    except ArchiveError as error:
        return Received(bundle, error=error, composed=composed)
    return replace(read_staged(archive, staging, staged), composed=composed)


def _copy(descriptor: int, place: Elsewhere, staged: StagedFile) -> None:
    """Append a range of a source; what the caged process said of it is not trusted."""
    offset, end = place.offset, place.offset + place.length
    while offset < end:
        data = os.pread(descriptor, min(_COPY_BYTES, end - offset), offset) if descriptor >= 0 else b""
        if not data:
            raise CagedFailure("the instance could not be composed: a part of it is not where it should be")
        staged.write(data)
        offset += len(data)
