"""Rows cut into batches, each of them one transaction."""

from collections.abc import Iterator

from app.corpus.isic.rows import BadRow, Row

BATCH_ROWS = 4000


def in_batches(rows: Iterator[Row | BadRow]) -> Iterator[list[Row | BadRow]]:
    """Cut rows into batches; an image is at most once in each, so that its second row sees the first."""
    batch: list[Row | BadRow] = []
    seen: set[str] = set()
    for row in rows:
        isic_id = row.isic_id
        if len(batch) >= BATCH_ROWS or (isic_id and isic_id in seen):
            yield batch
            batch, seen = [], set()
        batch.append(row)
        seen.add(isic_id or "")
    if batch:
        yield batch
