"""Files that an importer made, into the archive: one group of fsyncs and one transaction for each batch."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from app.archive.archive import Archive
from app.archive.store import Result, store_staged, taking_in

_COPY_BYTES = 2**20


def store_files(archive: Archive, files: Sequence[bytes | Path]) -> list[Result]:
    """Store Part 10 files and return what became of each, in order, once all that is new is durable.

    A file is its bytes, or where it lies; there it stays.

    Raises StorageFull, StorageFailed or CatalogUnavailable; then nothing of the batch is kept.
    """
    if not files:
        return []
    with taking_in(archive) as staging:
        staged = [staging.new() for _ in files]
        for each, content in zip(staged, files, strict=True):
            for piece in _pieces(content):
                each.write(piece)
            each.finish()
        return store_staged(archive, staging, staged)


def _pieces(content: bytes | Path) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as file:
        while piece := file.read(_COPY_BYTES):
            yield piece
