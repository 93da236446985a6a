"""Facts joined to files that know nothing of them, as the archive's DICOM download and its CSV come."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from app.archive.archive import Archive
from app.archive.query import search_archive
from app.catalog.changes import changes_after
from app.catalog.corpus_models import image
from app.catalog.documents import Attributes, parse
from app.cli import cli
from app.dicom.matching import Level, Query
from app.dicom.private_block import TAG_BY_KEYWORD
from app.settings import Settings
from app.web.search_parameters import parse_search
from tests.conftest import SAMPLE
from tests.factories import make_instance, uid, write_instance

HEADER = (
    "image_name,patient_id,lesion_id,sex,age_approx,anatom_site_general_challenge,diagnosis,benign_malignant"
)
ROWS = (
    "ISIC_0000001,IP_1,IL_1,female,45,torso,nevus,benign",
    "ISIC_0000002,IP_1,IL_2,female,50,head/neck,melanoma,malignant",
    "ISIC_0000009,IP_2,IL_9,male,,,unknown,benign",  # not held
)
NC = ("--license", "CC-BY-NC", "--attribution", "The challenge")


class World:
    """A data folder, and two files that are indexed where they lie."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("ISIC_0000001", "ISIC_0000002"):
            patient = make_instance(name, study=name, series=name, rows=2, columns=2, PatientID="IP_1")
            write_instance(folder / "dicom" / "train" / f"{name}.dcm", patient)
        self.run("index", str(folder / "dicom"))

    def run(self, *arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(cli, arguments)
        assert result.exit_code == code, result.output
        return result

    def apply(self, text: str, *arguments: str, code: int = 0) -> dict[str, Any]:
        csv = self.folder / "metadata.csv"
        csv.write_text(text, encoding="utf-8", newline="")
        report: dict[str, Any] = json.loads(
            self.run("metadata", "apply", str(csv), "--json", *arguments, code=code).stdout
        )
        return report

    def found(self, **parameters: str) -> list[Attributes]:
        archive = Archive.open(Settings())
        try:
            asked = parse_search([*parameters.items(), ("includefield", "all")])
            query = Query(Level.INSTANCE, asked.matches, asked.include)
            return [parse(answer) for answer in search_archive(archive, query).answers]
        finally:
            archive.close()

    def images(self) -> dict[str, Any]:
        archive = Archive.open(Settings())
        try:
            with archive.catalog.read() as connection:
                return {row.isic_id: row for row in connection.execute(select(image))}
        finally:
            archive.close()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("DERMZOO_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return World(tmp_path)


def table(*rows: str, header: str = HEADER) -> str:
    return "\r\n".join((header, *rows, ""))


def value(attributes: Attributes, keyword: str) -> Any:
    return attributes[TAG_BY_KEYWORD[keyword]]["Value"]


def uids(found: list[Attributes]) -> set[str]:
    return {attributes["00080018"]["Value"][0] for attributes in found}


def test_files_of_the_2020_set_and_their_csv(world):
    rehearsed = world.apply(table(*ROWS), *NC, "--dry-run")
    assert world.found(ISICSex="female") == []
    report = world.apply(table(*ROWS), *NC)
    for one, changed in ((rehearsed, False), (report, True)):
        assert (one["matched"], one["matched_nothing"], one["invalid"]) == (2, 1, 0)
        assert one["changed"] is changed
        assert one["without_licence_or_attribution"] == 0
        assert one["for_example"]["matched_nothing"] == ["ISIC_0000009"]
        assert one["notes"] == [
            {
                "note": "anatom_site_general: 'torso' is not in the current dictionary; kept as published",
                "rows": 1,
                "first_line": 2,
            }
        ]
    assert uids(world.found(ISICSex="female", LicenseID="CC-BY-NC")) == {
        uid("ISIC_0000001"),
        uid("ISIC_0000002"),
    }
    (nevus,) = world.found(DiagnosisLevels="Nevus")
    assert value(nevus, "Diagnosis") == ["Benign:Benign melanocytic proliferations:Nevus"]
    assert value(nevus, "ISICLesionID") == ["IL_1"]
    assert nevus["00620020"] == {"vr": "UT", "Value": ["IL_1"]}  # Tracking ID
    region = nevus["00082218"]["Value"][0]
    assert region["00080102"]["Value"] == ["SCT"]
    cited = "ISIC_0000001. The challenge. Attribution-NonCommercial 4.0 International https://creativecommons"
    assert nevus["00204000"]["Value"][0].startswith(cited)  # Image Comments
    assert json.loads(value(nevus, "MetadataAsPublished")[0])["anatom_site_general_challenge"] == "torso"
    assert nevus["00100020"]["Value"] == ["IP_1"]  # the patient is as the file says


def test_again_nothing_is_written(world):
    world.apply(table(*ROWS), *NC)
    before = changes(world)
    again = world.apply(table(*ROWS), *NC)
    assert (again["matched"], again["already_so"]) == (0, 2)
    assert changes(world) == before
    assert world.apply(table(*ROWS))["already_so"] == 2  # the licence of the set is remembered
    assert world.apply(table(*ROWS), "--license", "CC-BY")["matched"] == 2


def changes(world: World) -> int:
    archive = Archive.open(Settings())
    try:
        with archive.catalog.read() as connection:
            return len(changes_after(connection, 0, 1000))
    finally:
        archive.close()


def test_a_later_csv_adds_its_columns_and_replaces_those_there_were(world):
    world.apply(table(*ROWS), *NC)
    later = "isic_id,age_approx,diagnosis_1,copyright_license,attribution,something"
    report = world.apply(table("ISIC_0000001,40,Benign,CC-0,Hospital,=1", header=later))
    assert report["matched"] == 1
    (one,) = world.found(ISICID="ISIC_0000001")
    assert value(one, "ISICAge") == [40]
    assert value(one, "ISICSex") == ["female"]
    assert value(one, "Diagnosis") == ["Benign"]
    assert value(one, "DiagnosisAsPublished") == ["nevus"]
    # the stricter of the set's licence and the image's; the image's own attribution
    assert value(one, "LicenseID") == ["CC-BY-NC"]
    assert value(one, "Attribution") == ["Hospital"]
    published = json.loads(value(one, "MetadataAsPublished")[0])
    assert published["something"] == "=1"
    assert "image_name" not in published


def test_a_bad_row_is_told_with_its_line_and_field_and_the_others_go_in(world):
    bad = "ISIC_0000001,IP_1,IL_1,female,old,torso,nevus,benign"
    report = world.apply(table(bad, *ROWS[1:]), *NC, code=1)
    assert (report["matched"], report["invalid"]) == (1, 1)
    assert report["invalid_rows"] == [
        {
            "file": str(world.folder / "metadata.csv"),
            "line": 2,
            "isic_id": "ISIC_0000001",
            "field": "age_approx",
            "reason": "'old' is not a number",
        }
    ]


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ("ISIC_0000001,IP_7,IL_2,female,45,torso,nevus,benign", "lesion_id"),
        ("ISIC_0000001,IP_1", "row"),
    ],
)
def test_strict_takes_none_if_any_is_bad(world, row, field):
    report = world.apply(table(ROWS[1], row), *NC, "--strict", code=1)
    assert [bad["field"] for bad in report["invalid_rows"]] == [field]
    assert report["invalid_rows"][0]["line"] == 3
    assert report["changed"] is False
    assert world.found(ISICSex="female") == []
    assert world.images() == {}


def test_strict_takes_all_that_are_good(world):
    assert world.apply(table(*ROWS), *NC, "--strict")["matched"] == 2


def test_without_a_licence_the_next_command_is_told(world):
    csv = world.folder / "metadata.csv"
    csv.write_text(table(*ROWS))
    text = world.run("metadata", "apply", str(csv)).stdout
    assert "2 images are without a licence" in text
    assert "their pixels are not served" in text
    assert f"dermzoo metadata apply {csv} --license CC-BY-NC --attribution" in text
    assert text.endswith("2 matched, 0 already so, 1 matched nothing, 0 not public, 0 invalid\n")


def test_a_licence_that_is_none_of_the_three_is_the_fault_of_its_row(world):
    report = world.apply(table("ISIC_0000001,GPL", header="isic_id,copyright_license"), code=1)
    assert report["invalid_rows"][0]["field"] == "copyright_license"


def test_a_row_finds_its_instance_by_uid(world):
    row = f"ISIC_7777777,{uid('ISIC_0000002')},male,CC-0"
    report = world.apply(table(row, header="isic_id,sop_instance_uid,sex,copyright_license"))
    assert report["matched"] == 1
    (one,) = world.found(ISICID="ISIC_7777777")
    assert uids([one]) == {uid("ISIC_0000002")}


def test_an_image_that_is_not_public_goes_and_comes_back(world):
    header = "isic_id,sex,diagnosis_1,public,copyright_license"
    world.apply(table("ISIC_0000001,male,Benign,true,CC-0", header=header))
    gone = world.apply(table("ISIC_0000001,male,Malignant,false,CC-0", header=header))
    assert (gone["not_public"], gone["matched"]) == (1, 0)
    assert uids(world.found()) == {uid("ISIC_0000002")}
    row = world.images()["ISIC_0000001"]
    archive_text = row.known + row.published
    assert row.is_public == 0
    assert b"Malignant" not in archive_text
    # other metadata do not bring it back, nor does another run of the index
    assert world.apply(table("ISIC_0000001,male", header="isic_id,sex"))["not_public"] == 1
    world.run("index", str(world.folder / "dicom"))
    assert uids(world.found()) == {uid("ISIC_0000002")}
    back = world.apply(table("ISIC_0000001,male,Benign,true,CC-0", header=header))
    assert back["matched"] == 1
    assert uids(world.found(ISICSex="male")) == {uid("ISIC_0000001")}


def test_what_was_imported_is_already_so_and_takes_more(world):
    """The importer's files say it all themselves: no overlay is needed until there is more to say."""
    arguments = ("--images", str(SAMPLE / "images"), "--metadata", str(SAMPLE / "metadata.csv"))
    world.run("import", "isic", *arguments)
    assert sum(one.source == "import isic" for one in world.images().values()) == 19
    sample = (SAMPLE / "metadata.csv").read_text()
    same = world.apply(sample)
    assert (same["already_so"], same["matched"], same["invalid"]) == (19, 0, 0)
    first = sample.splitlines()[1].split(",")[0]
    (before,) = world.found(ISICID=first)
    assert world.apply(table(f"{first},II", header="isic_id,fitzpatrick_skin_type"))["matched"] == 1
    (after,) = world.found(ISICID=first)
    assert value(after, "FitzpatrickSkinType") == ["II"]
    assert value(after, "LicenseID") == value(before, "LicenseID")
    assert json.loads(value(after, "MetadataAsPublished")[0]) == {
        **json.loads(value(before, "MetadataAsPublished")[0]),
        "fitzpatrick_skin_type": "II",
    }


def test_no_table_of_images_is_refused_whole(world):
    csv = world.folder / "other.csv"
    csv.write_text("a,b\n1,2\n")
    result = CliRunner().invoke(cli, ["metadata", "apply", str(csv)])
    assert "no column names the image" in str(result.exception)
