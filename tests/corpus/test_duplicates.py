"""Images that are alike: the same file, the same pixels in another form, a copy made smaller; no others."""

import csv
import io
from pathlib import Path

import numpy as np
import orjson
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from pydicom.uid import RLELossless

from app.cli import cli
from tests.factories import instance_bytes, make_instance, uid, with_facts


def picture(seed: int, rows: int = 96, columns: int = 128) -> np.ndarray:
    """Smooth blobs: skin and a lesion, another one for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((columns, rows), Image.Resampling.BICUBIC))


def instance(name: str, pixels: np.ndarray, **facts: object):
    made = make_instance(name, rows=pixels.shape[0], columns=pixels.shape[1])
    made.PixelData = pixels.tobytes()
    return with_facts(made, **facts)


def smaller(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((64, 48), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("duplicates")
    one, other = picture(1), picture(2)
    again = instance("again", one, ISICID="ISIC_0000002", ISICPatientID="IP_0000002", LicenseID="CC-BY-NC")
    again.compress(RLELossless, generate_instance_uid=False)
    held = [
        instance("one", one, ISICID="ISIC_0000001", ISICPatientID="IP_0000001", LicenseID="CC-0"),
        again,
        instance("small", smaller(one), ISICID="ISIC_0000003", ISICPatientID="IP_0000003", LicenseID="CC-BY"),
        instance("other", other, ISICID="ISIC_0000004", ISICPatientID="IP_0000004"),
        *(instance(f"more{n}", picture(10 + n), ISICID=f"ISIC_00001{n:02}") for n in range(12)),
    ]
    for number, each in enumerate(held):
        (folder / "files").mkdir(exist_ok=True)
        (folder / "files" / f"{number:02}.dcm").write_bytes(instance_bytes(each))
    (folder / "files" / "copy.dcm").write_bytes((folder / "files" / "00.dcm").read_bytes())
    assert run(folder, "index", str(folder / "files")).exit_code == 0
    return folder


def run(folder: Path, *arguments: str) -> Result:
    return CliRunner(env={"DERMZOO_DATA_DIR": str(folder / "data")}).invoke(cli, arguments)


def test_a_split_says_what_has_to_be_done_first(tmp_path: Path) -> None:
    assert "dermzoo import isic" in run(tmp_path, "split").output
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "one.dcm").write_bytes(instance_bytes(instance("one", picture(1))))
    run(tmp_path, "index", str(tmp_path / "files"))
    told = run(tmp_path, "split")
    assert told.exit_code == 1
    assert "Run: dermzoo duplicates" in told.output
    assert run(tmp_path, "split", "--without-duplicates").exit_code == 0


def test_the_same_file_the_same_pixels_and_what_is_nearly_so(data_dir: Path) -> None:
    result = run(data_dir, "duplicates", "--json", "-o", str(data_dir / "pairs.csv"))
    assert result.exit_code == 0, result.output
    found = orjson.loads(result.stdout)
    assert found["not_decoded"] == 0
    assert [one["sop_instance_uid"] for one in found["same_file"]] == [uid("one")]
    ((first, second),) = found["same_pixels"]
    assert (first["isic_id"], second["isic_id"]) == ("ISIC_0000001", "ISIC_0000002")
    (near,) = found["near"]
    assert [one["isic_id"] for one in near["images"]] == ["ISIC_0000001", "ISIC_0000003"]
    assert 0 < near["bits"] <= 32
    rows = list(csv.DictReader(io.StringIO((data_dir / "pairs.csv").read_text())))
    assert [(row["kind"], row["first"], row["second"]) for row in rows] == [
        ("same pixels", "ISIC_0000001", "ISIC_0000002"),
        ("near", "ISIC_0000001", "ISIC_0000003"),
    ]


def test_nothing_is_decoded_twice(data_dir: Path) -> None:
    run(data_dir, "duplicates")
    assert "looking at images" not in run(data_dir, "duplicates").output


def test_a_nearer_look_finds_less(data_dir: Path) -> None:
    assert orjson.loads(run(data_dir, "duplicates", "--near", "0", "--json").stdout)["near"] == []


def test_a_split_keeps_copies_together(data_dir: Path) -> None:
    run(data_dir, "duplicates")
    for seed in range(5):
        result = run(data_dir, "split", "--fractions", "0.5,0.5", "--seed", str(seed))
        assert result.exit_code == 0, result.output
        rows = list(csv.DictReader(io.StringIO(result.stdout)))
        assert [row["isic_id"] for row in rows] == sorted(row["isic_id"] for row in rows)
        where = {row["isic_id"]: row["split"] for row in rows}
        assert set(where.values()) == {"train", "test"}
        assert where["ISIC_0000001"] == where["ISIC_0000002"] == where["ISIC_0000003"]
        again = run(data_dir, "split", "--fractions", "0.5,0.5", "--seed", str(seed))
        assert again.stdout == result.stdout


def test_of_certain_terms_alone(data_dir: Path) -> None:
    """What is left out is in no list, and in no part."""
    found = orjson.loads(run(data_dir, "duplicates", "--commercial-safe", "--json").stdout)
    assert [one["sop_instance_uid"] for one in found["same_file"]] == [uid("one")]
    assert found["same_pixels"] == []
    assert [one["isic_id"] for one in found["near"][0]["images"]] == ["ISIC_0000001", "ISIC_0000003"]
    found = orjson.loads(run(data_dir, "duplicates", "--license", "CC-BY-NC", "--json").stdout)
    assert (found["same_file"], found["near"]) == ([], [])
    for options, names in (
        (["--commercial-safe"], "13"),
        (["--license", "CC-BY-NC,CC-BY"], "23"),
        (["--license", "CC-BY-NC,CC-BY", "--commercial-safe"], "3"),
    ):
        table = csv.DictReader(io.StringIO(run(data_dir, "split", *options).stdout))
        assert "".join(row["isic_id"][-1] for row in table) == names
    assert "None of 16 images" in run(data_dir, "split", "--license", "CC-BY-NC", "--commercial-safe").output
    assert "licences are CC-0, CC-BY, CC-BY-NC" in run(data_dir, "split", "--license", "GPL").output


@pytest.mark.parametrize("fractions", ["", "1,1", "0.5", "nan,1", "-1,2", "0.5,0.5,x", "inf"])
def test_fractions_that_are_none(tmp_path: Path, fractions: str) -> None:
    told = run(tmp_path, "split", "--fractions", fractions)
    assert told.exit_code == 2
    assert "add up to 1" in told.output


def test_names_are_as_many_as_the_parts(tmp_path: Path) -> None:
    assert "name 2 parts" in run(tmp_path, "split", "--fractions", "0.5,0.5", "--names", "a,a").output
