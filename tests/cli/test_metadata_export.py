"""What goes out again: the archive's own CSV, the old downloader's columns, JSON lines, Parquet."""

import csv
import io
import json
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pyarrow.parquet
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from app.cli import cli
from app.corpus.isic import resuming
from app.corpus.isic.exporting import Column, Exported, read_mapping
from app.corpus.isic.rows import Row, read_rows
from app.corpus.isic.tables import Layout, write_csv
from app.errors import NotImportable, SettingsError
from tests.conftest import SAMPLE
from tests.corpus.pictures import asymmetric, jpeg_bytes

METADATA = (
    "isic_id,attribution,copyright_license,age_approx,sex,diagnosis_1,personal_hx_mm,tbp_lv_x,note,public\n"
    'ISIC_0000001,"Hospital, ""A""",CC-0,45.0,Female,Benign,True,-1.50,"=1+1\nthen",true\n'
    "ISIC_0000002,Hospital,CC-BY-NC,,male,Malignant,,,,true\n"
    "ISIC_0000003,Hospital,CC-BY,50,unknown,,,,,true\n"
)


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that holds three images with a little of everything."""
    folder = tmp_path_factory.mktemp("export")
    (folder / "images").mkdir()
    for number in (1, 2, 3):
        (folder / "images" / f"ISIC_000000{number}.jpg").write_bytes(jpeg_bytes(asymmetric(16, 16)))
    (folder / "metadata.csv").write_text(METADATA)
    arguments = ["--images", str(folder / "images"), "--metadata", str(folder / "metadata.csv")]
    result = CliRunner(env={"DERMZOO_DATA_DIR": str(folder / "data")}).invoke(
        cli, ["import", "isic", *arguments]
    )
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def export(held, monkeypatch):
    monkeypatch.setenv("DERMZOO_DATA_DIR", str(held / "data"))

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(cli, ["metadata", "export", *arguments])
        assert result.exit_code == code, result.output
        return result

    return run


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_the_archives_own_columns(export):
    first, second, _ = rows(export().stdout)
    assert list(first) == [
        *("isic_id", "attribution", "copyright_license"),
        *("age_approx", "diagnosis_1", "note", "personal_hx_mm", "sex", "tbp_lv_x"),
    ]
    assert first == {
        "isic_id": "ISIC_0000001",
        "attribution": 'Hospital, "A"',
        "copyright_license": "CC-0",
        "age_approx": "45",
        "diagnosis_1": "Benign",
        "note": "\t=1+1\nthen",
        "personal_hx_mm": "true",
        "sex": "female",
        "tbp_lv_x": "\t-1.5",
    }
    assert second["age_approx"] == ""


def test_as_published(export):
    first, *_ = rows(export("--as", "published").stdout)
    assert (first["age_approx"], first["sex"], first["personal_hx_mm"]) == ("45.0", "Female", "True")


def test_the_old_downloaders_columns(export, tmp_path):
    mapping = tmp_path / "keys.csv"
    mapping.write_text("internal,ISIC\nname,isic_id\nmy_age,meta.clinical.age\nbiopsy,concomitant_biopsy\n")
    table = rows(export("--fields", str(mapping), "--missing", "NA").stdout)
    assert list(table[0]) == ["name", "my_age", "biopsy"]
    assert [row["my_age"] for row in table] == ["45", "NA", "50"]
    assert {row["biopsy"] for row in table} == {"NA"}


@pytest.mark.parametrize("text", ["", "only one\n", "a,b,c\n", ",sex\n"])
def test_a_mapping_that_is_none_is_refused_with_its_line(tmp_path, text):
    mapping = tmp_path / "keys.csv"
    mapping.write_text(text)
    with pytest.raises(NotImportable, match=r"keys\.csv"):
        read_mapping(mapping)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("--license", "CC-0"), "1"),
        (("--license", "CC-0,CC-BY-NC"), "12"),
        (("--license", "CC-BY-NC", "--commercial-safe"), ""),
        (("--commercial-safe",), "13"),
        (("--query", "DiagnosisLevels=Malignant"), "2"),
        (("--query", "ISICSex=*male"), "12"),
        (("--query", "ISICSex=male", "--commercial-safe"), ""),
    ],
)
def test_what_is_chosen_is_what_a_search_finds(export, arguments, found):
    assert "".join(row["isic_id"][-1] for row in rows(export(*arguments).stdout)) == found


@pytest.mark.parametrize("query", ["nothing", "limit=3", "=x"])
def test_a_query_that_is_none_is_refused(export, query):
    assert "Modality=DMS" in (text := export("--query", query, code=2).output) or "KEYWORD=VALUE" in text


def test_fields_are_listed_with_how_many_images_have_them(export):
    counts = {name: int(count) for count, name in map(str.split, export("--list-fields").stdout.splitlines())}
    assert counts["sex"] == 2
    assert counts["isic_id"] == counts["attribution"] == 3
    assert counts["note"] == 1


def test_json_lines_have_numbers_and_booleans(export, tmp_path):
    out = tmp_path / "all.jsonl"
    export("--format", "jsonl", "-o", str(out))
    first, second, _ = (json.loads(line) for line in out.read_text().splitlines())
    assert (first["age_approx"], first["tbp_lv_x"], first["personal_hx_mm"]) == (45, -1.5, True)
    assert first["note"] == "=1+1\nthen"
    assert "age_approx" not in second


def test_parquet_has_types(export, tmp_path):
    out = tmp_path / "all.parquet"
    export("--format", "parquet", "-o", str(out))
    table = pyarrow.parquet.read_table(out)
    assert {name: str(table.schema.field(name).type) for name in ("age_approx", "personal_hx_mm", "sex")} == {
        "age_approx": "int64",
        "personal_hx_mm": "bool",
        "sex": "string",
    }
    assert table["age_approx"].to_pylist() == [45, None, 50]
    assert [path.name for path in tmp_path.iterdir()] == ["all.parquet"]


def test_where_pyarrow_is_not_installed_the_command_is_told(export, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    arguments = ["metadata", "export", "--format", "parquet", "-o", str(tmp_path / "all.parquet")]
    result = CliRunner().invoke(cli, arguments)
    assert isinstance(result.exception, SettingsError)
    assert "pip install 'pyarrow" in str(result.exception)


@pytest.fixture
def cut(export, monkeypatch):
    """End an export with parts of one image in its second part, once two rows of it might be written."""

    def run(*arguments: str) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(resuming, "ROWS", 1)
            patch.setattr(resuming, "Noting", Interrupted)
            export(*arguments, code=1)

    return run


class Interrupted(resuming.Noting):
    def __iter__(self):
        for image in super().__iter__():
            if image.values["isic_id"] == "ISIC_0000002":
                raise KeyboardInterrupt
            yield image


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_run_that_was_cut_goes_on(export, cut, monkeypatch, tmp_path, kind):
    monkeypatch.setattr(resuming, "ROWS", 1)
    whole, out = tmp_path / "whole", tmp_path / "out"
    export("--format", kind, "-o", str(whole))
    out.write_text("before")
    cut("--format", kind, "-o", str(out))
    assert out.read_text() == "before"
    assert "Going on after 1 images" in export("--format", kind, "-o", str(out)).stderr
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "whole"]


KILLED = """
import os, signal, sys
from app.cli import cli
from app.corpus.isic import resuming
resuming.ROWS = 1
add = resuming._Parts.add
def killed(parts, *arguments):
    if parts.count:
        os.kill(os.getpid(), signal.SIGKILL)
    add(parts, *arguments)
resuming._Parts.add = killed
cli(sys.argv[1:])
"""


def test_a_run_that_was_killed_goes_on(export, monkeypatch, tmp_path):
    monkeypatch.setattr(resuming, "ROWS", 1)
    whole, out = tmp_path / "whole", tmp_path / "out"
    mapping = tmp_path / "keys.csv"
    mapping.write_text("name,isic_id\nsex,sex\nnone,nowhere\nnote,note\n")
    arguments = ["metadata", "export", "--fields", str(mapping)]
    export(*arguments[2:], "-o", str(whole))
    command = [sys.executable, "-c", KILLED, *arguments, "-o", str(out)]
    assert subprocess.run(command, check=False, capture_output=True).returncode == -signal.SIGKILL
    assert not out.exists()
    said = export(*arguments[2:], "-o", str(out)).stderr
    assert "Going on after 1 images" in said
    assert "line 3: no image has 'nowhere'" in said
    assert "line 4" not in said  # known of the part that was written before
    assert out.read_bytes() == whole.read_bytes()


def test_what_was_of_another_run_or_of_an_earlier_state_is_not_gone_on_with(export, cut, held, tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "out"
    export("-o", str(whole))
    cut("-o", str(out), "--missing", "NA")
    assert "another: begun anew" in export("-o", str(out)).stderr
    assert out.read_bytes() == whole.read_bytes()
    cut("-o", str(out))
    with closing(sqlite3.connect(held / "data" / "catalog.db")) as catalog, catalog:
        catalog.execute("update holding set generation = generation + 1")
    assert "the archive has changed: begun anew" in export("-o", str(out)).stderr
    assert out.read_bytes() == whole.read_bytes()


def test_two_runs_do_not_write_to_one_file(export, tmp_path):
    out = tmp_path / "out"
    with resuming._locked(tmp_path / "out.parts"):
        result = CliRunner().invoke(cli, ["metadata", "export", "-o", str(out)])
    assert "another run writes" in str(result.exception)


def test_fields_that_no_image_has_are_told_with_their_lines(export, tmp_path):
    mapping = tmp_path / "keys.csv"
    mapping.write_text(
        "internal,ISIC\nname,isic_id\nkind,meta.clinical.diagnosys\nbiopsy,concomitant_biopsy\n"
    )
    said = export("--fields", str(mapping)).stderr
    assert f"{mapping}, line 3: no image has 'diagnosys'" in said
    assert f"{mapping}, line 4: no image has 'concomitant_biopsy'" in said
    assert "line 2" not in said
    assert "dermzoo metadata export --list-fields" in said
    assert "no image has" not in export("--fields", str(mapping), "--query", "ISICSex=nobody").stderr


cells = st.text(
    st.characters(codec="utf-8", exclude_characters="\0\r", exclude_categories=["Cc"])
    | st.sampled_from('\n",=+-@'),
    max_size=12,
).filter(lambda text: text == text.strip())


@given(st.lists(cells, min_size=1, max_size=3))
def test_whatever_a_cell_says_comes_back(tmp_path_factory, texts):
    path = tmp_path_factory.getbasetemp() / "again.csv"
    columns = [Column("isic_id", "isic_id"), *(Column(f"c{n}", f"c{n}") for n in range(len(texts)))]
    published = {f"c{n}": text for n, text in enumerate(texts)}
    with path.open("wb") as out:
        write_csv(out, Layout(columns), [Exported({"isic_id": "ISIC_1"}, published)])
    (row,) = read_rows(path)
    assert isinstance(row, Row)
    assert row.published == {"isic_id": "ISIC_1", **published}


def test_the_sample_goes_out_as_it_came_in(monkeypatch, tmp_path):
    monkeypatch.setenv("DERMZOO_DATA_DIR", str(tmp_path / "data"))
    arguments = ["--images", str(SAMPLE / "images"), "--metadata", str(SAMPLE / "metadata.csv")]
    assert CliRunner().invoke(cli, ["import", "isic", *arguments]).exit_code == 0
    out = tmp_path / "out.csv"
    assert CliRunner().invoke(cli, ["metadata", "export", "-o", str(out)]).exit_code == 0
    assert sorted(map(sorted, map(dict.items, rows(out.read_text())))) == sorted(
        map(sorted, map(dict.items, rows((SAMPLE / "metadata.csv").read_text())))
    )
