"""Writing exported metadata as CSV, JSON lines or Parquet.

A file is written beside its place and renamed: what is there is whole. A run that was cut is run again.
"""

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO

import orjson

from app.corpus.isic.exporting import Cell, Column, Exported, Form
from app.corpus.isic.parquet import required_parquet
from app.errors import StorageFailed

_FORMULA = ("=", "+", "-", "@")
_ROW_GROUP = 10_000

Write = Callable[[IO[bytes], Sequence[Column], Form, str, Iterable[Exported]], None]


def write_csv(
    out: IO[bytes], columns: Sequence[Column], form: Form, missing: str, images: Iterable[Exported]
) -> None:
    """Write a CSV; a TAB stands before what a spreadsheet would take for a formula, as ISIC does."""
    writer = csv.writer(_Text(out))
    writer.writerow([_guarded(column.header) for column in columns])
    for image in images:
        writer.writerow([_cell(image, column, form, missing) for column in columns])


class _Text:
    """What csv writes to: text, encoded at once, so that the stream below stays the caller's."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out

    def write(self, text: str) -> int:
        return self._out.write(text.encode())


def _cell(image: Exported, column: Column, form: Form, missing: str) -> str:
    text = image.cell(column.name, form)
    if text is None:
        return missing
    if form is Form.CANONICAL and column.kind is bool:
        return "true" if text == "YES" else "false"
    return _guarded(text)


def _guarded(text: str) -> str:
    return f"\t{text}" if text.startswith(_FORMULA) else text


def write_json_lines(
    out: IO[bytes], columns: Sequence[Column], form: Form, missing: str, images: Iterable[Exported]
) -> None:
    """Write a JSON object a line; what is not known is absent."""
    del missing
    for image in images:
        known = {
            column.header: cell for column in columns if (cell := _typed(image, column, form)) is not None
        }
        out.write(orjson.dumps(known, option=orjson.OPT_APPEND_NEWLINE))


def write_parquet(
    out: IO[bytes], columns: Sequence[Column], form: Form, missing: str, images: Iterable[Exported]
) -> None:
    """Write Parquet, columns of numbers and booleans as such in canonical form; what is not known is null."""
    del missing
    parquet = required_parquet()
    import pyarrow as pa  # noqa: PLC0415 optional, and slow to import

    types = {int: pa.int64(), float: pa.float64(), bool: pa.bool_(), str: pa.string()}
    schema = pa.schema(
        [(column.header, types[column.kind if form is Form.CANONICAL else str]) for column in columns]
    )
    every = iter(images)
    with parquet.ParquetWriter(out, schema) as writer:
        while some := list(islice(every, _ROW_GROUP)):
            cells = {column.header: [_typed(image, column, form) for image in some] for column in columns}
            writer.write_table(pa.table(cells, schema=schema))


def _typed(image: Exported, column: Column, form: Form) -> Cell | None:
    text = image.cell(column.name, form)
    return column.typed(text) if text is not None and form is Form.CANONICAL else text


WRITERS: dict[str, Write] = {"csv": write_csv, "jsonl": write_json_lines, "parquet": write_parquet}


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to be written that takes its place once all is in it."""
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        part.replace(path)
    except OSError as error:
        raise StorageFailed(f"{path} cannot be written: {error.strerror}") from error
