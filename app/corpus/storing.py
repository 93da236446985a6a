"""Files that an importer made, into the archive: one group of fsyncs and one transaction for each batch."""

from collections.abc import Sequence

from app.archive.archive import Archive
from app.archive.store import Result, store_staged, taking_in


def store_files(archive: Archive, files: Sequence[bytes]) -> list[Result]:
    """Store Part 10 files and return what became of each, in order, once all that is new is durable.

    Raises StorageFull, StorageFailed or CatalogUnavailable; then nothing of the batch is kept.
    """
    if not files:
        return []
    with taking_in(archive) as staging:
        staged = [staging.new() for _ in files]
        for each, content in zip(staged, files, strict=True):
            each.write(content)
            each.finish()
        return store_staged(archive, staging, staged)
