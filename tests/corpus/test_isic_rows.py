import csv
import gzip
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.corpus.isic.fields import ALL_FIELDS, FIELD_BY_COLUMN, FIELDS
from app.corpus.isic.rows import BadRow, Row, count_rows, read_rows
from app.dicom.private_block import PRIVATE_ELEMENTS
from app.errors import NotImportable

DATA = Path(__file__).parents[1] / "data" / "isic"


def table(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "metadata.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def only(tmp_path: Path, content: str | bytes) -> Row | BadRow:
    (row,) = read_rows(table(tmp_path, content))
    return row


def test_the_2020_set_reads_whole(tmp_path):
    metadata = tmp_path / "2020.csv"
    with gzip.open(DATA / "ISIC_2020_Training_GroundTruth_v2.csv.gz") as packed, metadata.open("wb") as out:
        shutil.copyfileobj(packed, out)
    rows = list(read_rows(metadata))
    assert count_rows(metadata) == len(rows) == 33126
    assert all(isinstance(row, Row) and not row.notes for row in rows)
    assert len({row.values["patient_id"] for row in rows}) == 2056
    assert sum("sex" not in row.values for row in rows) == 65
    assert sum("anatom_site_general" not in row.values for row in rows) == 527
    assert sum("diagnosis" not in row.values for row in rows) == 27124
    assert rows[0].line == 2
    assert rows[0].published["diagnosis"] == "unknown"


@pytest.mark.parametrize("column", ["isic_id", "image_name", "image", "image_id"])
def test_old_and_new_names_of_the_image(tmp_path, column):
    assert only(tmp_path, f"{column},sex\nISIC_0000001,male\n").isic_id == "ISIC_0000001"


@pytest.mark.parametrize(
    ("column", "cell", "field", "value"),
    [
        ("anatom_site_general_challenge", "head/neck", "anatom_site_general", "head/neck"),
        ("anatom_site_general", "head/neck", "anatom_site_general", "head/neck"),
        ("anatom_site_3", "Scalp", "anatom_site_3", "Scalp"),
        ("iddx_2", "Benign - Other", "diagnosis_2", "Benign - Other"),
        ("fitzpatrick", "IV", "fitzpatrick_skin_type", "IV"),
        ("age_approx", "45.0", "age_approx", "45"),
        ("age_approx", "0", "age_approx", "0"),
        ("personal_hx_mm", "True", "personal_hx_mm", "YES"),
        ("mel_thick_mm", "1.20", "mel_thick_mm", "1.2"),
        ("sex", " Male ", "sex", "male"),
    ],
)
def test_cells_become_canonical_and_stay_as_published(tmp_path, column, cell, field, value):
    row = only(tmp_path, f"isic_id,{column}\nISIC_0000001,{cell}\n")
    assert row.values[field] == value
    assert row.published[column] == cell


@pytest.mark.parametrize("blank", ["", "unknown", "Unknown", "NA", "nan", "  "])
def test_unknown_is_absent(tmp_path, blank):
    row = only(tmp_path, f"isic_id,age_approx,sex\nISIC_0000001,{blank},{blank}\n")
    assert row.values == {"isic_id": "ISIC_0000001"}
    assert row.published["age_approx"] == blank


def test_bom_crlf_blank_lines_and_the_injection_guard(tmp_path):
    row = only(tmp_path, b"\xef\xbb\xbfisic_id,attribution,sex\r\n\r\nISIC_0000001,\t=SUM(A1),male\r\n\r\n")
    assert row.line == 3
    assert row.values["attribution"] == row.published["attribution"] == "=SUM(A1)"


def test_a_quoted_cell_may_span_lines_and_the_numbers_stay_right(tmp_path):
    rows = list(read_rows(table(tmp_path, 'isic_id,attribution\nISIC_1,"a\nb"\nISIC_2,c\n')))
    assert [(row.line, row.isic_id) for row in rows] == [(2, "ISIC_1"), (4, "ISIC_2")]


def test_a_word_outside_the_vocabulary_is_noted_not_refused(tmp_path):
    row = only(tmp_path, "isic_id,sex,image_type\nISIC_0000001,other,hologram\n")
    assert row.values == {"isic_id": "ISIC_0000001"}
    assert [note.split(":")[0] for note in row.notes] == ["sex", "image_type"]


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("ISIC_1,male", "row"),
        ("ISIC_1,male,45,x", "row"),
        (",male,45", "isic_id"),
        ("../../etc/passwd,male,45", "isic_id"),
        ("ISIC_1\\2,male,45", "isic_id"),
        ("ISIC_1,male,old", "age_approx"),
        ("ISIC_1,male,-5", "age_approx"),
        ("ISIC_1,male,45.5", "age_approx"),
        ("ISIC_1,male,400", "age_approx"),
        ("ISIC_1,male,1e999999", "age_approx"),
    ],
)
def test_a_bad_row_is_refused_alone_with_its_line_and_field(tmp_path, line, field):
    good, bad, after = read_rows(
        table(tmp_path, f"isic_id,sex,age_approx\nISIC_0,male,50\n{line}\nISIC_2,female,60\n")
    )
    assert isinstance(good, Row)
    assert isinstance(after, Row)
    assert isinstance(bad, BadRow)
    assert (bad.line, bad.error.field) == (3, field)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no column names the image"),
        (b"name;sex\nISIC_1;male\n", "no column names the image"),
        (b"isic_id;sex\nISIC_1;male\n", "no column names the image"),
        (b"isic_id,sex,sex\nISIC_1,male,male\n", "'sex' appears twice: remove or rename one"),
        (b"isic_id,attribution\nISIC_1,Universit\xe4t\n", "not UTF-8.*Save it as CSV in UTF-8"),
        ("isic_id\nISIC_1\n".encode("utf-16"), "not UTF-8"),
        (b'isic_id,attribution\nISIC_1,"never closed\n', "line 2.*Is a quote not closed, or the file cut"),
        (b'isic_id,attribution\nISIC_1,"a"b\n', "line 2"),
        (b"isic_id\n" + b"x" * 200_000 + b"\n", "field larger"),
    ],
)
def test_what_is_no_table_of_images_is_refused_before_anything(tmp_path, content, why):
    with pytest.raises(NotImportable, match=why):
        count_rows(table(tmp_path, content))


def test_a_missing_table_is_said_so(tmp_path):
    with pytest.raises(NotImportable, match="cannot be read: No such file"):
        count_rows(tmp_path / "none.csv")


@given(st.binary(max_size=300))
def test_any_bytes_end_in_rows_or_in_a_refusal(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(b"isic_id,sex,age_approx,attribution\n" + content)
    with suppress(NotImportable):
        assert all(isinstance(row, Row | BadRow) for row in read_rows(path))


def test_the_registry_is_consistent():
    columns = [column for field in ALL_FIELDS for column in field.columns]
    assert len(columns) == len(set(columns)) == len(FIELD_BY_COLUMN)
    elements = [field.element for field in FIELDS if field.element is not None]
    assert len(elements) == len(set(elements))
    assert set(elements) <= set(PRIVATE_ELEMENTS)


def test_the_sample_reads(tmp_path):
    sample = Path(__file__).parents[2] / "corpus" / "isic-sample"
    rows = list(read_rows(sample / "metadata.csv"))
    with (sample / "metadata.csv").open(newline="") as text:
        assert [row.published for row in rows] == list(csv.DictReader(text))
    assert {f"{row.isic_id}.jpg" for row in rows} == {p.name for p in (sample / "images").iterdir()}
