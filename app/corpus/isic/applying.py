"""A CSV of metadata, joined to what is held: `dermzoo metadata apply`."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from app.archive.archive import Archive
from app.catalog.images import KnownImage, images_of, remember_images
from app.corpus.isic.batches import in_batches
from app.corpus.isic.dictionary import Dictionary
from app.corpus.isic.joined import SetTerms, as_imported
from app.corpus.isic.joining import Fate, Joiner, Origin, RowFate
from app.corpus.isic.rows import BadRow, Row, read_rows
from app.corpus.isic.subject import SopClassChoice, identify
from app.corpus.isic.vocabulary import find_site
from app.errors import NotImportable

SOURCE = "metadata apply"
MOST_LISTED = 10_000
SOME = 5


@dataclass(slots=True)
class JoinReport:
    """What became of the rows, for people and machines."""

    source: str
    counts: Counter[Fate] = field(default_factory=Counter)
    invalid: list[BadRow] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)
    first_lines: dict[str, int] = field(default_factory=dict)  # of each note
    without_terms: int = 0
    some_without_terms: list[str] = field(default_factory=list)
    some_not_held: list[str] = field(default_factory=list)
    first_seen: int = 0  # of those matched: images of which nothing was known before

    def add(self, fate: RowFate) -> None:
        """Count one row."""
        self.counts[fate.fate] += 1
        row = fate.row
        self.first_seen += fate.is_first and fate.fate is Fate.MATCHED
        if isinstance(row, BadRow):
            if len(self.invalid) < MOST_LISTED:
                self.invalid.append(row)
            return
        for note in row.notes:
            self.notes[note] += 1
            self.first_lines.setdefault(note, row.line)
        if fate.fate is Fate.NOT_HELD and len(self.some_not_held) < SOME:
            self.some_not_held.append(row.isic_id)
        if fate.lacks_terms:
            self.without_terms += 1
            if len(self.some_without_terms) < SOME:
                self.some_without_terms.append(row.isic_id)

    def to_json(self) -> dict[str, object]:
        """Return the report as plain JSON values."""
        return {
            **{fate.value.replace(" ", "_"): self.counts[fate] for fate in Fate},
            "invalid_rows": [
                {
                    "file": self.source,
                    "line": row.line,
                    "isic_id": row.isic_id,
                    "field": row.error.field,
                    "reason": row.error.reason,
                }
                for row in self.invalid
            ],
            "notes": [
                {"note": note, "rows": count, "first_line": self.first_lines[note]}
                for note, count in self.notes.most_common()
            ],
            "without_licence_or_attribution": self.without_terms,
            "for_example": {"matched_nothing": self.some_not_held, "without": self.some_without_terms},
        }


def apply_metadata(
    archive: Archive,
    metadata: Path,
    terms: SetTerms,
    *,
    changes_nothing: bool = False,
    advance: Callable[[int], None] = lambda _rows: None,
) -> JoinReport:
    """Join the rows of a CSV to the instances of their images, or tell what that would do.

    Raises NotImportable when the CSV is no table of images. Batches that are done stay so, whatever happens.
    """
    report = JoinReport(str(metadata))
    archive.catalog.expect_much()
    joiner = Joiner(archive, terms, Origin(SOURCE), changes_nothing=changes_nothing)
    with joiner:
        for batch in in_batches(_without_contradictions(Dictionary().judged(read_rows(metadata)))):
            for fate in joiner.join(batch):
                report.add(fate)
            advance(len(batch))
    return report


def _without_contradictions(rows: Iterable[Row | BadRow]) -> Iterator[Row | BadRow]:
    """Refuse a row that contradicts an earlier one of the same image: neither is known to be right."""
    said: dict[str, tuple[int, bytes]] = {}  # ISIC identifier: line, values
    for row in rows:
        if isinstance(row, Row):
            line, earlier = said.setdefault(row.isic_id, (row.line, orjson.dumps(row.values)))
            before = orjson.loads(earlier) if line != row.line else {}
            others = sorted(name for name, value in row.values.items() if before.get(name, value) != value)
            if others:
                reason = f"line {line} says {before[others[0]]!r} of the same image: leave one of them out"
                yield BadRow(row.line, row.isic_id, NotImportable(others[0], reason))
                continue
        yield row


IMPORTED = "import isic"


def remember_imported(archive: Archive, terms: SetTerms, choice: SopClassChoice, rows: Sequence[Row]) -> None:
    """Note what is known of images whose files the importer has made; what is known already stays."""
    with archive.catalog.read() as connection:
        known = images_of(connection, [row.isic_id for row in rows])
    fresh = [row for row in rows if row.isic_id not in known]
    if fresh:
        with archive.catalog.write() as connection:
            remember_images(connection, [_imported(row, terms, choice) for row in fresh])


def _imported(row: Row, terms: SetTerms, choice: SopClassChoice) -> KnownImage:
    identity = identify(row.values, find_site(row.values), choice)
    return as_imported(row, terms, IMPORTED, identity.sop_instance_uid)
