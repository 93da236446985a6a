import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from app.archive.archive import Archive
from app.cli.import_isic import isic
from app.settings import Settings
from tests.corpus.pictures import SAMPLE, asymmetric, jpeg_bytes


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("DERMZOO_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)

    def run_(*arguments: str, images: Path = SAMPLE / "images", metadata: Path = SAMPLE / "metadata.csv"):
        options = ["--images", str(images), "--metadata", str(metadata), *arguments]
        return CliRunner().invoke(isic, options)

    return run_


def held(tmp_path: Path) -> int:
    archive = Archive.open(Settings(data_dir=tmp_path / "data"))
    try:
        with archive.catalog.read() as connection:
            return connection.execute(text("SELECT count(*) FROM instance")).scalar_one()
    finally:
        archive.close()


def test_the_sample_twice(run, tmp_path):
    first = run("--json")
    assert first.exit_code == 0, first.output
    report = json.loads(first.stdout)
    assert (report["imported"], report["already_there"], report["refused"]) == (19, 0, [])
    second = run()
    assert second.exit_code == 0
    assert second.stdout == "0 imported, 19 already there, 0 refused\n"
    assert "importing: 19 of 19 (100 %)" in second.stderr
    assert held(tmp_path) == 19


def test_both_sop_classes_stand_side_by_side(run, tmp_path):
    assert run("--collection", "isic-sample").exit_code == 0
    assert json.loads(run("--sop-class", "dermoscopic", "--json").stdout)["imported"] == 19
    assert held(tmp_path) == 38


def test_refusals_are_listed_and_are_exit_code_1(run, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    (images / "ISIC_0000001.jpg").write_bytes(jpeg_bytes(asymmetric(16, 16)))
    (images / "ISIC_0000002.jpg").write_bytes(b"no jpeg")
    metadata = tmp_path / "metadata.csv"
    metadata.write_text(
        "isic_id,copyright_license,sex\nISIC_0000001,CC-0,other\nISIC_0000002,CC-0,male\nISIC_0000003,GPL,male\n"
    )
    result = run(images=images, metadata=metadata)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "note     line 2 ISIC_0000001: sex: 'other' is not a known value; kept as published only",
        f"refused  line 3 {images / 'ISIC_0000002.jpg'}: image: is neither a JPEG nor a PNG nor a TIFF file",
        "refused  line 4 ISIC_0000003: copyright_license: 'GPL' is not one of CC-0, CC-BY, CC-BY-NC",
        "1 imported, 0 already there, 2 refused",
    ]


def test_an_unreadable_csv_changes_nothing(run, tmp_path):
    metadata = tmp_path / "metadata.csv"
    metadata.write_text("name;sex\n")
    result = run(metadata=metadata)
    assert result.exit_code != 0
    assert "no column names the image" in str(result.exception)
    assert held(tmp_path) == 0


@pytest.mark.parametrize("slug", ["Has Space", "a/b", "ümlaut", "", "x" * 65])
def test_a_collection_has_a_name_that_fits_a_url(run, slug):
    result = run("--collection", slug)
    assert result.exit_code == 2
    assert "small letters" in result.output


def test_a_full_disk_ends_the_run_with_its_report(run, monkeypatch):
    from app.corpus import storing
    from app.errors import StorageFull

    def full(archive, files):
        raise StorageFull("no room left")

    monkeypatch.setattr("app.cli.import_isic.store_files", full)
    assert storing.store_files is not full
    result = run("--json")
    assert isinstance(result.exception, StorageFull)
    assert json.loads(result.stdout)["failure"] == "no room left"
