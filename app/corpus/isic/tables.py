"""Writing exported metadata as CSV, JSON lines or Parquet, in one go or in parts that are joined.

A file is written beside its place and renamed: what is there is whole.
"""

import csv
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple

import orjson

from app.corpus.isic.exporting import Cell, Column, Exported, Form
from app.corpus.isic.parquet import required_parquet
from app.errors import StorageFailed

_FORMULA = ("=", "+", "-", "@")
ROWS = 10_000  # of a row group of Parquet, and of a part


@dataclass(frozen=True, slots=True)
class Layout:
    """What a table says of each image, and how."""

    columns: Sequence[Column]
    form: Form = Form.CANONICAL
    missing: str = ""  # what a CSV says where nothing is known
    has_header: bool = True  # the first part alone


Write = Callable[[IO[bytes], Layout, Iterable[Exported]], None]
Join = Callable[[IO[bytes], Layout, Sequence[Path]], None]


def write_csv(out: IO[bytes], layout: Layout, images: Iterable[Exported]) -> None:
    """Write a CSV; a TAB stands before what a spreadsheet would take for a formula, as ISIC does."""
    writer = csv.writer(_Text(out))
    if layout.has_header:
        writer.writerow([_guarded(column.header) for column in layout.columns])
    for image in images:
        writer.writerow([_cell(image, column, layout) for column in layout.columns])


class _Text:
    """What csv writes to: text, encoded at once, so that the stream below stays the caller's."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out

    def write(self, text: str) -> int:
        return self._out.write(text.encode())


def _cell(image: Exported, column: Column, layout: Layout) -> str:
    text = image.cell(column.name, layout.form)
    if text is None:
        return layout.missing
    if layout.form is Form.CANONICAL and column.kind is bool:
        return "true" if text == "YES" else "false"
    return _guarded(text)


def _guarded(text: str) -> str:
    return f"\t{text}" if text.startswith(_FORMULA) else text


def write_json_lines(out: IO[bytes], layout: Layout, images: Iterable[Exported]) -> None:
    """Write a JSON object a line; what is not known is absent."""
    for image in images:
        known = {
            column.header: cell
            for column in layout.columns
            if (cell := _typed(image, column, layout.form)) is not None
        }
        out.write(orjson.dumps(known, option=orjson.OPT_APPEND_NEWLINE))


def _join_bytes(out: IO[bytes], _layout: Layout, parts: Sequence[Path]) -> None:
    for part in parts:
        with part.open("rb") as rows:
            shutil.copyfileobj(rows, out)


def write_parquet(out: IO[bytes], layout: Layout, images: Iterable[Exported]) -> None:
    """Write Parquet, columns of numbers and booleans as such in canonical form; what is not known is null."""
    parquet = required_parquet()
    import pyarrow as pa  # noqa: PLC0415 optional, and slow to import

    schema, form = _schema(layout), layout.form
    every = iter(images)
    with parquet.ParquetWriter(out, schema) as writer:
        while some := list(islice(every, ROWS)):
            cells = {
                column.header: [_typed(image, column, form) for image in some] for column in layout.columns
            }
            writer.write_table(pa.table(cells, schema=schema))


def _join_parquet(out: IO[bytes], layout: Layout, parts: Sequence[Path]) -> None:
    parquet = required_parquet()
    with parquet.ParquetWriter(out, _schema(layout)) as writer:
        for part in parts:
            if (rows := parquet.read_table(part)).num_rows:
                writer.write_table(rows)


def _schema(layout: Layout) -> Any:  # noqa: ANN401 of a module that may not be there
    import pyarrow as pa  # noqa: PLC0415 optional, and slow to import

    types = {int: pa.int64(), float: pa.float64(), bool: pa.bool_(), str: pa.string()}
    is_typed = layout.form is Form.CANONICAL
    return pa.schema([(column.header, types[column.kind if is_typed else str]) for column in layout.columns])


def _typed(image: Exported, column: Column, form: Form) -> Cell | None:
    text = image.cell(column.name, form)
    return column.typed(text) if text is not None and form is Form.CANONICAL else text


class Format(NamedTuple):
    """How a table is written, and made of parts that were written each with at most ROWS images."""

    write: Write
    join: Join


FORMATS = {
    "csv": Format(write_csv, _join_bytes),
    "jsonl": Format(write_json_lines, _join_bytes),
    "parquet": Format(write_parquet, _join_parquet),
}


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
