"""Joining on both databases: batches that are done stay, images are found again, others take their turn."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.archive.archive import Archive
from app.archive.hiding import lift_embargoes
from app.catalog import overlays
from app.catalog.database import Catalog
from app.catalog.documents import pack, pack_lightly, unpack
from app.catalog.entry import entry
from app.catalog.files import folder_ids
from app.catalog.holdings import totals
from app.catalog.images import KnownImage, images_from, images_of, instances_named, remember_images
from app.catalog.register import Location, register
from app.corpus.isic import batches, joining
from app.corpus.isic.applying import apply_metadata
from app.corpus.isic.batches import in_batches
from app.corpus.isic.joined import SetTerms
from app.corpus.isic.joining import Fate
from app.corpus.isic.rows import Row, row_of
from app.dicom.scan import scan
from app.settings import Settings
from bench.plain import plain_files, plain_uid

IMAGES = 30
TERMS = SetTerms("CC-BY-NC", "The challenge")
HEADER = "isic_id,patient_id,sex,diagnosis,note"


def lines(sex: str = "male") -> list[str]:
    return [f"ISIC_{n:07},IP_{n:07},{sex},nevus,{'x' * n * 40}" for n in range(IMAGES)]


@pytest.fixture
def archive(catalog_url: str, tmp_path: Path) -> Iterator[Archive]:
    settings = Settings(data_dir=tmp_path / "data", database_url=catalog_url)
    settings.data_dir.mkdir()
    catalog = Catalog(settings.catalog_url)
    rows = [row_of(2, dict(zip(HEADER.split(","), line.split(","), strict=True))) for line in lines()]
    with catalog.write() as connection:
        folder_id = folder_ids(connection, ["/nowhere"])["/nowhere"]
        located = [
            (
                entry(scan(content), len(content), 0, hashlib.sha256(content).digest()),
                Location(folder_id, name),
            )
            for name, content in plain_files(row for row in rows if isinstance(row, Row))
        ]
        register(connection, located)
    catalog.close()
    opened = Archive.open(settings)
    yield opened
    opened.close()


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "metadata.csv"
    path.write_text("\n".join((HEADER, *lines(), "")))
    return path


@pytest.fixture
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "BATCH_ROWS", 7)


def test_all_rows_find_their_files(archive, csv):
    with archive.catalog.read() as connection:
        assert instances_named(connection)["ISIC_0000003"] == [plain_uid("instance", "ISIC_0000003")]
    assert apply_metadata(archive, csv, TERMS).counts == {Fate.MATCHED: IMAGES}
    assert apply_metadata(archive, csv, TERMS).counts == {Fate.ALREADY_SO: IMAGES}
    with archive.catalog.read() as connection:
        assert instances_named(connection) == {}  # all of them say now what they are
        known = images_of(connection, ["ISIC_0000029"])["ISIC_0000029"]
    assert known.published["note"] == "x" * 29 * 40
    assert known.known["set_license"] == "CC-BY-NC"


@pytest.mark.usefixtures("_small_batches")
def test_a_run_that_died_is_run_again(archive, csv, monkeypatch):
    real, calls = overlays.show, iter(range(3))

    def show(*arguments: object) -> object:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(joining, "show", show)
    with pytest.raises(KeyboardInterrupt):
        apply_metadata(archive, csv, TERMS)
    monkeypatch.setattr(joining, "show", real)
    assert apply_metadata(archive, csv, TERMS).counts == {Fate.ALREADY_SO: 14, Fate.MATCHED: IMAGES - 14}


@pytest.mark.usefixtures("_small_batches")
def test_a_batch_is_a_transaction_so_that_others_take_their_turn(archive, csv, monkeypatch):
    """Another writer gets in between two batches, and readers see all of a batch or nothing of it."""
    other = Catalog(archive.settings.catalog_url)
    seen: list[int] = []
    real = joining.Joiner.join

    def join(self, rows):
        fates = real(self, rows)
        with other.write() as connection:
            seen.append(len(images_from(connection, "metadata apply")))
        return fates

    monkeypatch.setattr(joining.Joiner, "join", join)
    apply_metadata(archive, csv, TERMS)
    other.close()
    assert seen == [7, 14, 21, 28, 30]


def test_the_second_row_of_an_image_sees_the_first(archive, tmp_path):
    path = tmp_path / "twice.csv"
    path.write_text("isic_id,sex,age_approx\nISIC_0000001,male,\nISIC_0000001,male,40\n")
    assert apply_metadata(archive, path, TERMS).counts == {Fate.MATCHED: 2}
    with archive.catalog.read() as connection:
        known = images_of(connection, ["ISIC_0000001"])["ISIC_0000001"].known
    assert (known["sex"], known["age_approx"]) == ("male", "40")


def test_batches_hold_an_image_once_and_every_row():
    rows = [row_of(n, {"isic_id": f"ISIC_{n % 3:07}"}) for n in range(10)]
    batches = list(in_batches(iter(rows)))
    assert [row for batch in batches for row in batch] == rows
    assert max(Counter(row.isic_id for row in batch).most_common(1)[0][1] for batch in batches) == 1


def test_an_image_is_remembered_in_place_of_what_was_known(archive):
    first = KnownImage("ISIC_1", "a", "1.2", known={"sex": "male"}, published={"sex": "Male"})
    second = KnownImage("ISIC_1", "b", None, is_public=False)
    for one in (first, second):
        with archive.catalog.write() as connection:
            remember_images(connection, [one])
        with archive.catalog.read() as connection:
            assert images_of(connection, ["ISIC_1", "ISIC_2"]) == {"ISIC_1": one}


@pytest.mark.parametrize("size", [0, 1, 512, 513, 9000])
def test_short_texts_are_kept_as_they_are_and_all_come_back(size):
    text = b"x" * size
    assert unpack(pack_lightly(text)) == unpack(pack(text)) == text


def test_a_row_that_contradicts_an_earlier_one_is_refused_and_says_which(archive, tmp_path):
    csv = tmp_path / "twice.csv"
    csv.write_text("isic_id,sex,age_approx\nISIC_0000001,male,\nISIC_0000001,,45\nISIC_0000001,female,45\n")
    report = apply_metadata(archive, csv, TERMS)
    assert report.counts == {Fate.MATCHED: 2, Fate.INVALID: 1}
    (bad,) = report.invalid
    assert (bad.line, bad.error.field) == (4, "sex")
    assert "line 2 says 'male'" in bad.error.reason


def test_what_is_committed_while_the_next_batch_is_read_fails_aloud(archive, csv, monkeypatch):
    class NoDisk(Exception):
        pass

    def full(*_arguments):
        raise NoDisk

    monkeypatch.setattr(joining, "remember_images", full)
    with pytest.raises(NoDisk):
        apply_metadata(archive, csv, TERMS)
    monkeypatch.undo()
    assert apply_metadata(archive, csv, TERMS).counts == {Fate.MATCHED: IMAGES}


def test_an_image_is_hidden_until_its_day_and_comes_by_itself(archive, tmp_path):
    csv = tmp_path / "embargo.csv"
    csv.write_text(
        "isic_id,sex,public_from\nISIC_0000001,female,2999-12-31\nISIC_0000002,male,2020-01-01\n"
        "ISIC_0000003,male,soon\n"
    )
    report = apply_metadata(archive, csv, TERMS)
    assert report.counts == {Fate.NOT_PUBLIC: 1, Fate.MATCHED: 1, Fate.INVALID: 1}
    assert "2027-01-31" in report.invalid[0].error.reason  # what a day looks like
    with archive.catalog.read() as connection:
        assert totals(connection)["instances"] == IMAGES - 1
        assert images_of(connection, ["ISIC_0000001"])["ISIC_0000001"].public_from == "2999-12-31"
    again = apply_metadata(archive, csv, TERMS).counts
    assert again == {Fate.NOT_PUBLIC: 1, Fate.ALREADY_SO: 1, Fate.INVALID: 1}
    with archive.catalog.read() as connection:
        uid = plain_uid("instance", "ISIC_0000001")
        assert overlays.overlays_of(connection, [uid])[uid]["00991014"]["Value"] == ["female"]
    # Its file lies nowhere, so that it cannot be registered again here: tests/archive/test_hiding.py does.
    assert lift_embargoes(archive, "2999-12-30") == 0
    with archive.catalog.read() as connection:
        assert not images_of(connection, ["ISIC_0000001"])["ISIC_0000001"].is_public
    lift_embargoes(archive, "2999-12-31")
    with archive.catalog.read() as connection:
        assert images_of(connection, ["ISIC_0000001"])["ISIC_0000001"].is_public
