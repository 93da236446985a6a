"""Where all public metadata of the archive come from: its API, page by page, or a Parquet snapshot."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urljoin, urlsplit

from app.corpus.isic.batches import BATCH_ROWS
from app.corpus.isic.fetching import Patience, download, get_json
from app.corpus.isic.fields import FIELDS
from app.corpus.isic.parquet import refusals, required_parquet
from app.corpus.isic.rows import BadRow, Row, row_of
from app.errors import NotImportable

PAGE_IMAGES = 100  # the most that the archive's API gives


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows, and where to go on after them."""

    rows: list[Row | BadRow]
    next: str | None


class Source(Protocol):
    """What tells of all images; `version` names a state of it that can be gone on with."""

    knows_cohorts_only: bool
    version: str

    def count(self) -> int | None:
        """Return how many images it tells of."""

    def pages(self, start: str | None) -> Iterator[Page]:
        """Yield its rows, from the start or from where a page said."""


class ArchiveApi:
    """API v2 of the ISIC Archive: pages by cursor, the number of all images on the first alone."""

    knows_cohorts_only = True
    version = ""  # images run oldest first: a cursor stays good

    def __init__(self, base: str, patience: Patience) -> None:
        base = base if base.endswith("/") else f"{base}/"
        self._first = urljoin(base, f"images/?limit={PAGE_IMAGES}")
        self._patience = patience

    def count(self) -> int | None:
        """Return what the first page says."""
        count = self._page(self._first).get("count")
        return count if isinstance(count, int) else None

    def pages(self, start: str | None) -> Iterator[Page]:
        """Follow the cursors."""
        url: str | None = start or self._first
        line = 1
        while url:
            page = page_of(self._page(url), url, self._first, line)
            line += len(page.rows)
            yield page
            url = page.next

    def _page(self, url: str) -> Mapping[str, Any]:
        answer = get_json(url, self._patience)
        if not isinstance(answer, dict) or not isinstance(answer.get("results"), list):
            reason = f"{url} is no page of images: is it the base address of API v2, https://…/api/v2/?"
            raise NotImportable("source", reason)
        return answer


def page_of(answer: Mapping[str, Any], url: str, first: str, line: int) -> Page:
    """Return a page of images that a URL answers; `first` is the URL of the first, `line` of its rows."""
    following = answer.get("next")
    if following is not None and not _is_at(following, first):
        raise NotImportable("source", f"{url} leads to another host: {str(following)[:200]!r}")
    return Page([row_of(line + n, _flat(image)) for n, image in enumerate(answer["results"])], following)


def _is_at(url: object, first: str) -> bool:
    """Whether a URL is of the same scheme and host as another."""
    try:
        return isinstance(url, str) and urlsplit(url)[:2] == urlsplit(first)[:2]
    except ValueError:  # such as http://[
        return False


# What an image object has no key for is not known.
_CURRENT = {field.name: None for field in FIELDS if not field.removed}


def _flat(image: object) -> dict[str, str]:
    """Return an image object of the API as a row of a table."""
    if not isinstance(image, dict):
        return {"isic_id": ""}
    own = {name: image.get(name) for name in ("isic_id", "attribution", "copyright_license", "public")}
    metadata = image.get("metadata")
    groups = (
        [metadata.get(name) for name in ("acquisition", "clinical")] if isinstance(metadata, dict) else []
    )
    told = {name: cell for group in groups if isinstance(group, dict) for name, cell in group.items()}
    return _cells({**_CURRENT, **told, **own})


def _cells(row: Mapping[str, object]) -> dict[str, str]:
    return {str(name): _cell(cell) for name, cell in row.items()}


def _cell(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


class Snapshot:
    """A Parquet file, read a group of rows at a time."""

    knows_cohorts_only = False

    def __init__(self, path: Path, version: str) -> None:
        self.version = version
        try:
            self._file = required_parquet().ParquetFile(path)
        except refusals() as error:
            raise NotImportable("source", f"{path} is no Parquet file: {error}") from None
        if "isic_id" not in self._file.schema_arrow.names:
            raise NotImportable("source", f"{path} has no column isic_id")

    def count(self) -> int:
        """Return what the end of the file says."""
        return int(self._file.metadata.num_rows)

    def pages(self, start: str | None) -> Iterator[Page]:
        """Read from a group on; only the last page of a group says where to go on."""
        told = self._file.metadata
        groups, first = told.num_row_groups, int(start or 0)
        line = 1 + sum(told.row_group(group).num_rows for group in range(first))
        for group in range(first, groups):
            rows: list[Row | BadRow] = []
            try:
                for batch in self._file.iter_batches(BATCH_ROWS, row_groups=[group]):
                    if rows:
                        yield Page(rows, str(group))
                    rows = [row_of(line + n, _cells(row)) for n, row in enumerate(batch.to_pylist())]
                    line += len(rows)
            except refusals() as error:
                raise NotImportable("source", f"the Parquet file is damaged: {error}") from None
            yield Page(rows, str(group + 1) if group + 1 < groups else None)


def open_source(name: str, working: Path, patience: Patience) -> Source:
    """Return what a file's name or a URL leads to; a snapshot is downloaded first."""
    path = Path(name)
    if path.exists():
        status = path.stat()
        return Snapshot(path, f"{status.st_size} {status.st_mtime_ns}")
    parts = urlsplit(name)
    if parts.scheme not in {"http", "https"}:
        raise NotImportable("source", f"{name} is neither a file nor an http or https address")
    if not parts.path.endswith(".parquet"):
        return ArchiveApi(name, patience)
    required_parquet()
    return Snapshot(working, download(name, working, patience))
