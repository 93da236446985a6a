"""Baked copies: the facts are in the file, the pixels and UIDs are those of the original."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from click.testing import CliRunner, Result
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from app.archive.archive import Archive
from app.catalog.overlays import show
from app.cli import cli
from app.dicom.private_block import CREATOR, GROUP, PRIVATE_ELEMENTS, tag_of_element
from app.settings import Settings
from tests.factories import instance_bytes, make_instance, uid, with_facts

ATTRIBUTION = "Hospital Clínic de Barcelona"
NUMBER = {element.keyword: number for number, element in PRIVATE_ELEMENTS.items()}


def block(**facts: str) -> dict[str, object]:
    elements = {
        tag_of_element(NUMBER[keyword]): {"vr": PRIVATE_ELEMENTS[NUMBER[keyword]].vr, "Value": [value]}
        for keyword, value in facts.items()
    }
    return {"00990010": {"vr": "LO", "Value": [CREATOR]}, **elements}


SHOWN = {
    **block(LicenseID="CC-BY", Attribution=ATTRIBUTION, ISICID="ISIC_0000001", Diagnosis="Benign"),
    "00204000": {"vr": "LT", "Value": ["ISIC_0000001"]},
    "00620020": {"vr": "UT", "Value": ["IL_0000001"]},
    "00082218": {
        "vr": "SQ",
        "Value": [
            {"00080100": {"vr": "SH", "Value": ["39937001"]}, "00080104": {"vr": "LO", "Value": ["Skin"]}}
        ],
    },
}


def in_latin_1() -> Dataset:
    made = make_instance(
        "latin1", SpecificCharacterSet="ISO_IR 100", StudyDescription="Früh", ImageComments="alt"
    )
    # Somebody else has the first block of our group.
    made.private_block(GROUP, "SOMEBODY ELSE", create=True).add_new(4, "LO", "theirs")
    return with_facts(made, ISICID="ISIC_9999999", ISICSex="male")


def held() -> Iterator[tuple[str, bytes]]:
    yield "plain", instance_bytes(name="plain")
    yield "latin1", instance_bytes(in_latin_1())
    yield "jpeg", instance_bytes(name="jpeg", jpeg=True, frames=2)
    for name, syntax in (("implicit", ImplicitVRLittleEndian), ("deflated", DeflatedExplicitVRLittleEndian)):
        made = make_instance(name)
        made.file_meta.TransferSyntaxUID = syntax
        yield name, instance_bytes(made)
    run_length = make_instance("rle")
    run_length.compress(RLELossless, generate_instance_uid=False)
    yield "rle", instance_bytes(run_length)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bake")
    (folder / "files").mkdir()
    for name, content in held():
        (folder / "files" / f"{name}.dcm").write_bytes(content)
    run(folder, "index", str(folder / "files"))
    archive = Archive.open(Settings(data_dir=folder / "data"))
    with archive.catalog.write() as connection:
        show(connection, {uid(name): SHOWN for name, _ in held()})
    archive.close()
    done = run(folder, "bake", str(folder / "out"))
    assert done.exit_code == 0, done.output
    assert f"{len(dict(held()))} written" in done.output
    return folder


def run(folder: Path, *arguments: str, data: str = "data") -> Result:
    return CliRunner(env={"DERMZOO_DATA_DIR": str(folder / data)}).invoke(cli, arguments)


@pytest.mark.parametrize("name", [name for name, _ in held()])
def test_the_facts_are_in_the_copy_and_all_else_is_as_it_was(desk: Path, name: str) -> None:
    original = pydicom.dcmread(BytesIO(dict(held())[name]))
    baked = pydicom.dcmread(desk / "out" / "images" / f"{uid(name)}.dcm")
    facts = baked.private_block(GROUP, CREATOR)
    if name != "implicit":  # there its reader has to know our dictionary
        assert facts[NUMBER["Attribution"]].value == ATTRIBUTION
        assert facts[NUMBER["ISICID"]].value == "ISIC_0000001"
    assert NUMBER["ISICSex"] not in facts  # what the file said in our block is no longer said
    assert baked.AnatomicRegionSequence[0].CodeValue == "39937001"
    assert (baked.TrackingID, baked.ImageComments) == ("IL_0000001", "ISIC_0000001")
    assert baked.PixelData == original.PixelData
    ours = {"SpecificCharacterSet", "AnatomicRegionSequence", "TrackingID", "ImageComments"}
    for element in original:
        if element.keyword not in ours and element.tag.group != GROUP:
            assert baked[element.tag].value == element.value, element
    if name == "latin1":
        assert baked.private_block(GROUP, "SOMEBODY ELSE")[4].value == "theirs"


def test_a_copy_says_to_another_archive_what_is_shown_here(desk: Path) -> None:
    assert run(desk, "index", str(desk / "out" / "images"), data="other").exit_code == 0
    said = {}
    for data in ("data", "other"):
        archive = Archive.open(Settings(data_dir=desk / data))
        with archive.catalog.read() as connection:
            rows = connection.exec_driver_sql(
                "select sop_instance_uid, attribute, value from fact join instance on id = instance_id"
            )
            said[data] = sorted(tuple(row) for row in rows)
        archive.close()
    assert said["data"] == said["other"] != []


def test_what_is_there_is_not_made_again(desk: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in (desk / "out" / "images").glob("*.dcm")}
    assert f"0 written, {len(before)} already there" in run(desk, "bake", str(desk / "out")).output
    assert {path.name: path.stat().st_mtime_ns for path in (desk / "out" / "images").glob("*.dcm")} == before
    assert not list((desk / "out" / "images").glob(".*"))
    assert ATTRIBUTION in (desk / "out" / "LICENSE.txt").read_text()


def test_copies_of_certain_terms_alone(desk: Path, tmp_path: Path) -> None:
    told = run(desk, "bake", str(tmp_path), "--license", "CC-0,CC-BY-NC").output
    assert f"0 written, 0 already there, {len(dict(held()))} under other licences, 0 refused" in told
    assert not list((tmp_path / "images").iterdir())


def test_what_cannot_be_copied_is_told(tmp_path: Path) -> None:
    turned, unlicensed = make_instance("turned"), make_instance("unlicensed")
    turned.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    (tmp_path / "files").mkdir()
    for name, made in (("turned", turned), ("unlicensed", unlicensed)):
        (tmp_path / "files" / name).write_bytes(instance_bytes(made))
    run(tmp_path, "index", str(tmp_path / "files"))
    archive = Archive.open(Settings(data_dir=tmp_path / "data"))
    with archive.catalog.write() as connection:
        show(connection, {uid("turned"): SHOWN, uid("unlicensed"): block(ISICID="ISIC_0000002")})
    archive.close()
    done = run(tmp_path, "bake", str(tmp_path / "out"))
    assert done.exit_code == 1
    assert "Big Endian" in done.output
    assert "licence is not known" in done.output
    assert not list((tmp_path / "out" / "images").iterdir())
