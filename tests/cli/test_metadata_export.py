"""What goes out again: the archive's own CSV, the old downloader's columns, JSON lines, Parquet."""

import csv
import io
import json
import sys
from pathlib import Path

import pyarrow.parquet
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from app.cli import cli
from app.corpus.isic.exporting import Column, Exported, Form, read_mapping
from app.corpus.isic.rows import Row, read_rows
from app.corpus.isic.tables import write_csv
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


def test_a_run_that_is_cut_leaves_no_half_file(export, monkeypatch, tmp_path):
    out = tmp_path / "all.csv"
    out.write_text("before")

    def cut(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules["app.corpus.isic.tables"].WRITERS, "csv", cut)
    export("-o", str(out), code=1)
    assert out.read_text() == "before"
    monkeypatch.undo()


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
        write_csv(out, columns, Form.CANONICAL, "", [Exported({"isic_id": "ISIC_1"}, published)])
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
