"""Following the archive: facts of images that are held are added and mended, what it withdrew is hidden.

How far a run came is kept beside the catalogue, so that one that was cut goes on after its last page.
"""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from app.archive.archive import Archive
from app.archive.hiding import hide_images
from app.catalog.images import images_from, images_of, instances_stating, remember_images
from app.corpus.isic.applying import JoinReport
from app.corpus.isic.batches import in_batches
from app.corpus.isic.dictionary import Dictionary
from app.corpus.isic.fetching import Patience
from app.corpus.isic.joined import SetTerms, hidden_image
from app.corpus.isic.joining import WHOLE, Joiner, Origin
from app.corpus.isic.rows import BadRow, Row
from app.corpus.isic.sources import Page, Source, open_source
from app.errors import NotImportable

MOST_SHRUNK = 0.05  # of a source: more is a cut file, not so many withdrawals
_BATCH_IMAGES = 500


@dataclass(slots=True)
class RefreshReport:
    """What a run did."""

    joined: JoinReport
    withdrawn: list[str] = field(default_factory=list)
    went_on: bool = False  # from where a run before it was cut

    def to_json(self) -> dict[str, object]:
        """Return the report as plain JSON values."""
        joined = self.joined.to_json()
        updated = int(str(joined.pop("matched"))) - self.joined.first_seen
        return {
            "added": self.joined.first_seen,
            "updated": updated,
            **joined,
            "withdrawn": self.withdrawn,
            "went_on": self.went_on,
        }


@dataclass(slots=True)
class _Progress:
    """How far a run is, on the disk: where to go on, and the images seen so far."""

    path: Path
    state: dict[str, Any]

    @classmethod
    def of(cls, path: Path, version: str) -> "_Progress":
        state = orjson.loads(path.read_bytes()) if path.exists() else {}
        if state.get("version") != version:
            state = {"images": state.get("images")}
        return cls(path, {**state, "version": version})

    @property
    def seen_path(self) -> Path:
        return self.path.with_suffix(".seen")

    @property
    def start(self) -> str | None:
        return self.state.get("next")

    def begin(self, count: int | None) -> None:
        """Note what the source is to tell; what was seen after the last page that was done is forgotten."""
        self.state.setdefault("count", count)
        size = int(self.state.get("seen_bytes", 0)) if self.start else 0
        with self.seen_path.open("ab") as seen:
            seen.truncate(size)
        self.state["seen_bytes"] = size

    def advance(self, page: Page) -> None:
        """Note that a page is done."""
        named = (row.isic_id for row in page.rows if _is_public(row))
        ids = [isic_id for isic_id in named if isic_id and "\n" not in isic_id]
        with self.seen_path.open("ab") as seen:
            seen.write("".join(f"{isic_id}\n" for isic_id in ids).encode())
            self.state["seen_bytes"] = seen.tell()
        self.state["next"] = page.next
        self._save()

    def seen(self) -> set[str]:
        return set(self.seen_path.read_text(encoding="utf-8").splitlines())

    def finish(self, images: int | None) -> None:
        """Forget where it was; remember how many images there were, if it is whole."""
        self.state = {"images": images if images is not None else self.state.get("images")}
        self._save()
        self.seen_path.unlink(missing_ok=True)

    def _save(self) -> None:
        aside = self.path.with_suffix(".new")
        aside.write_bytes(orjson.dumps(self.state))
        aside.replace(self.path)


def _is_public(row: Row | BadRow) -> bool:
    return not (isinstance(row, Row) and row.values.get("public") == "NO")


def refresh(
    archive: Archive,
    name: str,
    *,
    allow_shrink: bool = False,
    patience: Patience | None = None,
    advance: Callable[[int], None] = lambda _rows: None,
) -> RefreshReport:
    """Follow a source: a Parquet file or its URL, or the base address of the archive's API.

    Raises NotImportable when it cannot be read, or tells of much less than before. What is done stays so.
    """
    folder = archive.settings.data_dir / "refresh"
    key = hashlib.sha256(name.encode()).hexdigest()[:16]
    with _alone(folder, key):
        source = open_source(name, folder / f"{key}.parquet", patience or Patience())
        report = RefreshReport(JoinReport(name))
        progress = _Progress.of(folder / f"{key}.json", source.version)
        report.went_on = progress.start is not None
        count = progress.state.get("count") if report.went_on else source.count()
        if not allow_shrink:
            _require_size(name, count, progress.state.get("images"))
        progress.begin(count)
        _join(archive, name, source, progress, report, advance)
        _withdraw(archive, WHOLE + name, progress, report, count, allow_shrink=allow_shrink)
        (folder / f"{key}.parquet").unlink(missing_ok=True)
    return report


def _join(
    archive: Archive,
    name: str,
    source: Source,
    progress: _Progress,
    report: RefreshReport,
    advance: Callable[[int], None],
) -> None:
    origin = Origin(WHOLE + name, is_whole=True, knows_cohorts_only=source.knows_cohorts_only)
    joiner, dictionary = Joiner(archive, SetTerms(), origin), Dictionary()
    with joiner:
        for page in source.pages(progress.start):
            for batch in in_batches(dictionary.judged(page.rows)):
                for fate in joiner.join(batch):
                    report.joined.add(fate)
            joiner.settle()
            progress.advance(page)
            advance(len(page.rows))


def _withdraw(
    archive: Archive,
    source: str,
    progress: _Progress,
    report: RefreshReport,
    count: int | None,
    *,
    allow_shrink: bool,
) -> None:
    """Hide the images of which this source told once, and does no more."""
    seen = progress.seen()
    with archive.catalog.read() as connection:
        known = images_from(connection, source)
    gone = sorted(known - seen)
    if not allow_shrink:
        try:
            _require_size(source, len(seen), count)
            _require_size(source, len(known) - len(gone), len(known))
        except NotImportable:
            progress.finish(None)  # the next run looks at all of it again
            raise
    for start in range(0, len(gone), _BATCH_IMAGES):
        some = gone[start : start + _BATCH_IMAGES]
        with archive.catalog.read() as connection:
            before, held = images_of(connection, some), instances_stating(connection, some)
        with archive.catalog.write() as connection:
            hidden = [hidden_image(one, source, before.get(one), held.get(one, ())) for one in some]
            remember_images(connection, hidden)
        hide_images(archive, some)
    report.withdrawn = gone
    progress.finish(len(seen))


def _require_size(name: str, found: int | None, before: int | None) -> None:
    if found is None or before is None or found >= before * (1 - MOST_SHRUNK):
        return
    raise NotImportable(
        "source",
        f"{name.removeprefix(WHOLE)} tells of {found} images where there were {before}: more than "
        f"{MOST_SHRUNK:.0%} less looks like a file that was cut. No image was withdrawn. "
        "If so many are gone indeed, run it again with --allow-shrink",
    )


@contextmanager
def _alone(folder: Path, key: str) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / f"{key}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NotImportable("source", "another run is refreshing from it now") from None
        yield
    finally:
        os.close(lock)
