import json
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydicom import dcmread

from app.archive.profile import Facts, Profile, profile_folder, read_facts
from app.archive.profile_report import lines, to_json
from app.cage import Cage
from app.cli.profile import profile
from app.dicom.uid_roots import uid_root
from tests.factories import uid, write_instance
from tests.servers import PROJECT

SPECIMENS = PROJECT / "tests" / "data" / "dicom"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("DERMZOO_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(profile, [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two studies, three series, five files of four instances, and four files that are none."""
    folder = tmp_path / "files"
    write_instance(folder / "a.dcm", name="a", study="one", series="s1", rows=16, columns=24)
    write_instance(folder / "deep" / "er" / "b", name="b", study="one", series="s1", rows=16, columns=24)
    write_instance(folder / "c.dcm", name="c", study="one", series="s2", jpeg=True, Modality="DMS")
    write_instance(folder / "d.dcm", name="d", study="two", series="s3", frames=3, rows=8, columns=8)
    shutil.copy(folder / "a.dcm", folder / "copy.dcm")
    write_instance(folder / "rival.dcm", name="a", study="one", series="s1", rows=32, columns=32)
    (folder / "garbage").write_bytes(b"no DICOM at all, and long enough to be looked at")
    (folder / "empty.dcm").touch()
    (folder / "cut.dcm").write_bytes((folder / "d.dcm").read_bytes()[:300])
    (folder / "away").symlink_to("/etc/hostname")
    return folder


def test_everything_is_counted_once(run, folder):
    result = run(folder, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["files"], found["studies"], found["series"], found["instances"]) == (9, 2, 3, 4)
    assert found["frames"] == 6
    assert found["bytes"] == sum(
        (folder / name).stat().st_size for name in ("a.dcm", "deep/er/b", "c.dcm", "d.dcm")
    )
    assert found["sop_classes"] == [
        {"uid": "1.2.840.10008.5.1.4.1.1.77.1.4", "name": "VL Photographic Image Storage", "instances": 4}
    ]
    assert {one["name"]: one["instances"] for one in found["transfer_syntaxes"]} == {
        "Explicit VR Little Endian": 3,
        "JPEG Baseline (Process 1)": 1,
    }
    assert found["modalities"] == {"XC": 3, "DMS": 1}
    assert found["photometric_interpretations"] == {"RGB": 3, "YBR_FULL_422": 1}
    assert found["sizes"][0] == {"rows": 16, "columns": 24, "instances": 3}
    assert found["uid_roots"] == {"2.25": 4}
    assert found["identical"] == [str(folder / "copy.dcm")]
    assert found["conflicts"] == [str(folder / "rival.dcm")]


def test_every_refused_file_has_its_reason(run, folder):
    refused = {
        Path(one["file"]).name: one["reason"] for one in json.loads(run(folder, "--json").stdout)["refused"]
    }
    assert refused.keys() == {"garbage", "empty.dcm", "cut.dcm", "away"}
    assert refused["empty.dcm"] == "the file is empty"
    assert refused["away"] == "a symbolic link that leads out of the folder"
    assert "not a DICOM file" in refused["garbage"]
    assert all(refused.values())


def test_the_text_tells_the_same(run, folder):
    result = run(folder)
    assert result.exit_code == 0
    said = result.stdout
    assert said.startswith("9 files; 2 studies, 3 series, 4 instances, 6 frames, ")
    assert "         4  VL Photographic Image Storage\n" in said
    assert "         3  16 x 24\n" in said
    assert "  from 8 x 8 to 16 x 24\n" in said
    assert "Refused: 4\n" in said
    assert f"  {folder / 'empty.dcm'}: the file is empty\n" in said
    assert "Reading files: 9" in result.stderr


def test_nothing_is_written_anywhere(run, folder, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    times = [path.lstat().st_mtime_ns for path in before]
    assert run(folder).exit_code == 0
    assert sorted(tmp_path.rglob("*")) == before
    assert [path.lstat().st_mtime_ns for path in before] == times


def test_our_own_data_are_passed_over(run, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "data" / "objects")
    found = json.loads(run(tmp_path, "--json").stdout)
    assert found["files"] == 9
    assert found["passed_over"] == [{"file": str(tmp_path / "data"), "reason": "the archive's own data"}]


def test_an_empty_folder(run, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run(empty).stdout == "0 files; 0 studies, 0 series, 0 instances, 0 frames, 0 bytes\n"


def test_a_name_that_is_no_text(run, tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / os.fsdecode(b"caf\xe9\n.dcm")).write_bytes(b"none")
    assert "caf\\xe9\\n.dcm: " in run(tmp_path / "files").stdout


def test_it_agrees_with_pydicom_on_real_files():
    cage = Cage(2, 2**30, 10)
    try:
        found = profile_folder(cage, SPECIMENS / "valid")
    finally:
        cage.close()
    datasets = {}
    for path in sorted((SPECIMENS / "valid").rglob("*")):
        if path.is_file() and str(path) not in {*found.identical, *found.conflicts}:
            dataset = dcmread(path, force=True, stop_before_pixels=True)
            if "SOPInstanceUID" in dataset and str(path) not in dict(found.refused):
                datasets[path] = dataset
    assert found.instances == len(datasets) > 30
    assert found.sop_classes == Counter(dataset.SOPClassUID for dataset in datasets.values())
    assert found.modalities == Counter(dataset.get("Modality") or "" for dataset in datasets.values())
    assert found.sizes == Counter(
        (dataset.Rows, dataset.Columns) for dataset in datasets.values() if "Rows" in dataset
    )


def test_a_series_in_two_studies_is_told(tmp_path):
    found = Profile()
    for number, study in enumerate(("one", "two")):
        path = write_instance(tmp_path / str(number), name=str(number), study=study, series="shared")
        found.add(str(path), read_facts(str(path)))
    assert to_json(found)["series_in_several_studies"] == [uid("shared")]
    assert "Series UIDs in more than one study: 1" in list(lines(found))


def test_a_long_list_is_cut_for_people_and_whole_for_programs():
    found = Profile()
    for number in range(1, 31):
        facts = Facts("1", "1.1", f"1.2.{number}", "1.2", "1.2", "XC", "RGB", number, 1, 1, 1, b"", ())
        found.add(str(number), facts)
    assert "        18  in 18 others; --json lists them" in lines(found)
    assert len(to_json(found)["sizes"]) == 30


def test_a_value_from_a_stranger_stays_one_short_line():
    found = Profile()
    found.add("a", Facts("1", "1.1", "1.2", "1.2", "1.2", "X\n\x1b[31m" + "M" * 500, "", 1, 1, 1, 1, b"", ()))
    [line] = [line for line in lines(found) if "MMM" in line]
    assert line == "         1  X\\n\\x1b[31m" + "M" * 89 + "…"


@pytest.mark.parametrize(
    ("given", "root"),
    [
        ("2.25.329800735698586629295641978511506172918", "2.25"),
        ("1.2.826.0.1.3680043.8.498.1234.5", "1.2.826.0.1.3680043.8.498"),
        ("1.2.826.0.1.99.5.6", "1.2.826.0.1.99"),
        ("1.3.6.1.4.1.14519.5.2.1.7777", "1.3.6.1.4.1.14519"),
        ("1.2.276.0.7230010.3.1.4", "1.2.276.0.7230010"),
        ("1.2.840.113619.2.5", "1.2.840.113619"),
        ("1.2.840.10008.5.1.4", "1.2.840.10008"),
        ("1.3.12.2.1107.5", "1.3.12.2.1107"),
        ("1.2.3.4.5.6", "1.2.3.4"),
        ("1.2", "1.2"),
        ("2.255.3.4.5", "2.255.3.4"),
    ],
)
def test_the_root_of_a_uid(given, root):
    assert uid_root(given) == root
