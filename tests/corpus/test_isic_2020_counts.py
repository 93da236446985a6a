"""The facts of the 2020 set come out as they went in: through QIDO-RS, C-FIND and the export.

3,000 of the 33,126 real rows, among them every combination of values that there is; `python -m bench --only
joining` does the same with all of them.
"""

import gzip
import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.catalog.database import Catalog
from app.catalog.entry import entry
from app.catalog.files import folder_ids
from app.catalog.register import Location, Outcome, register
from app.corpus.isic.applying import apply_metadata
from app.corpus.isic.joined import SetTerms
from app.corpus.isic.joining import Fate
from app.corpus.isic.rows import Row, read_rows
from app.dicom.scan import scan
from bench.facts import FACTS, Counts, counts_by_export, counts_by_find, counts_by_qido, counts_of_rows
from bench.plain import plain_files
from tests.dimse.conftest import Listening, listeners
from tests.servers import Server

METADATA = Path(__file__).parents[1] / "data" / "isic" / "ISIC_2020_Training_GroundTruth_v2.csv.gz"
ROWS = 3000
BATCH = 1000


def stratified(rows: list[Row]) -> list[Row]:
    """The first row of every combination of the facts, and then every so many, in their order."""
    first: dict[tuple[str | None, ...], int] = {}
    for number, row in enumerate(rows):
        first.setdefault(tuple(row.values.get(name) for name in FACTS.values()), number)
    chosen = set(first.values())
    others = [number for number in range(len(rows)) if number not in chosen]
    left = ROWS - len(chosen)
    chosen.update(others[n * len(others) // left] for n in range(left))
    return [rows[number] for number in sorted(chosen)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("2020")


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[Row]:
    whole = folder / "whole.csv"
    whole.write_bytes(gzip.decompress(METADATA.read_bytes()))
    read = [row for row in read_rows(whole) if isinstance(row, Row)]
    assert len(read) == 33_126
    chosen = {row.line for row in stratified(read)}
    lines = whole.read_text().splitlines(keepends=True)
    (folder / "metadata.csv").write_text(
        "".join([lines[0], *(lines[n - 1] for n in sorted(chosen))]), newline=""
    )
    return [row for row in read if row.line in chosen]


@pytest.fixture(scope="module")
def wanted(rows: list[Row]) -> Counts:
    return counts_of_rows(rows)


@pytest.fixture(scope="module")
def listening(folder: Path, rows: list[Row]) -> Iterator[Listening]:
    """A listener on an archive that holds the instances, the CSV joined to them."""
    with listeners(folder) as start:
        running = start()
        archive = running.listener.archive
        fill(archive.catalog, rows)
        report = apply_metadata(archive, folder / "metadata.csv", SetTerms("CC-BY-NC", "The challenge"))
        assert report.counts == {Fate.MATCHED: ROWS}
        assert report.without_terms == 0
        yield running


def fill(catalog: Catalog, rows: list[Row]) -> None:
    files = list(plain_files(rows))
    with catalog.write() as connection:
        folder_id = folder_ids(connection, ["/nowhere"])["/nowhere"]
    for start in range(0, len(files), BATCH):
        located = [
            (
                entry(scan(content), len(content), 0, hashlib.sha256(content).digest()),
                Location(folder_id, name),
            )
            for name, content in files[start : start + BATCH]
        ]
        with catalog.write() as connection:
            assert set(register(connection, located)) == {Outcome.STORED}


def test_the_choice_has_everything_there_is(rows, wanted):
    assert len(rows) == ROWS
    assert all(len(counts) > 1 for counts in wanted.values())
    assert wanted["ISICAge"].keys() == {"", "0", *map(str, range(10, 95, 5))}
    assert wanted["DiagnosisAsPublished"]["cafe-au-lait macule"] == 1


def test_c_find_counts_as_many(listening, wanted):
    found = counts_by_find(("127.0.0.1", listening.port), listening.ae_title)
    assert found == wanted


def test_qido_and_the_export_count_as_many(listening, folder, wanted):
    server = Server(folder)
    assert server.environment["DERMZOO_DATA_DIR"] == str(listening.listener.archive.settings.data_dir)
    server.run("metadata", "export", "--as", "published", "-o", folder / "all.csv")
    published = counts_by_export(folder / "all.csv")
    server.run("metadata", "export", "-o", folder / "canonical.csv")
    assert counts_by_export(folder / "canonical.csv") == wanted
    assert published == wanted
    try:
        server.start()
        with httpx.Client(base_url=server.dicomweb_url) as client:

            def get(path: str) -> tuple[int, str]:
                answer = client.get(f"{server.dicomweb_url}{path}")
                answer.raise_for_status()
                return len(answer.json()), answer.headers.get("Warning", "")

            assert counts_by_qido(get, wanted) == wanted
    finally:
        server.stop()
