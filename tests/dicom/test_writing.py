"""Attributes written as a data set are read back as they were, by us and by pydicom."""

from io import BytesIO

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from app.dicom.elements import Walk
from app.dicom.encoding import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from app.dicom.writing import UTF_8, character_sets_for, write_data_set
from app.errors import NotConvertible

TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["C"], exclude_characters="\\="), min_size=1, max_size=20
)
PLAIN = TEXT.map(str.strip).filter(bool)
NUMBERS = st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=4)


def valued(vr, values):
    return {"vr": vr, "Value": values}


ATTRIBUTES = st.fixed_dictionaries(
    {"00080005": st.just(valued("CS", ["ISO_IR 192"]))},
    optional={
        "00080008": st.just(valued("CS", ["ORIGINAL", "PRIMARY", None, "OTHER"])),
        "00080018": st.just(valued("UI", ["1.2.345"])),
        "00080080": PLAIN.map(lambda text: valued("LO", [text])),
        "00100010": PLAIN.map(lambda text: valued("PN", [{"Alphabetic": text, "Ideographic": "山田^太郎"}])),
        "00104000": PLAIN.map(lambda text: valued("LT", [text])),
        "00180050": st.floats(-1e6, 1e6).map(lambda number: valued("DS", [round(number, 3)])),
        "00200013": st.integers(-(2**31), 2**31 - 1).map(lambda number: valued("IS", [number])),
        "00280010": NUMBERS.map(lambda numbers: valued("US", numbers)),
        "00280009": st.just(valued("AT", ["00181063", "00181065"])),
        "00189073": st.floats(allow_nan=False, allow_infinity=False).map(
            lambda number: valued("FD", [number])
        ),
        "00420011": st.just({"vr": "OB", "InlineBinary": "AAECAw=="}),
    },
)
NESTED = st.builds(
    lambda outer, items: outer | ({"00081140": valued("SQ", items)} if items else {"00081140": {"vr": "SQ"}}),
    ATTRIBUTES,
    st.lists(
        ATTRIBUTES.map(lambda item: {tag: value for tag, value in item.items() if tag != "00080005"}),
        max_size=2,
    ),
)


def read(data, *, explicit):
    return Walk(data, addressable=False).root(EXPLICIT_LITTLE if explicit else IMPLICIT_LITTLE, 0, len(data))


def listed(value):
    """The same with every list a list: the reader keeps single values as tuples."""
    if isinstance(value, dict):
        return {key: listed(inner) for key, inner in value.items()}
    return [listed(inner) for inner in value] if isinstance(value, list | tuple) else value


@given(NESTED, st.booleans())
def test_what_is_written_is_read_back(attributes, explicit):
    data = write_data_set(attributes, explicit=explicit)
    assert listed(read(data, explicit=explicit)) == listed(dict(sorted(attributes.items())))


@given(NESTED, st.booleans())
def test_pydicom_reads_the_same(attributes, explicit):
    data = write_data_set(attributes, explicit=explicit)
    found = pydicom.dcmread(BytesIO(_with_meta(explicit) + data), force=True)
    assert found.to_json_dict() == Dataset.from_json(attributes).to_json_dict()


def _with_meta(explicit):
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = "1.2.840.10008.1.2.1" if explicit else "1.2.840.10008.1.2"
    out = BytesIO(bytes(128) + b"DICM")
    out.seek(132)
    pydicom.filewriter.write_file_meta_info(out, meta, enforce_standard=False)
    return out.getvalue()


def test_a_long_value_of_a_short_vr_is_written_as_unknown():  # PS3.5 6.2.2
    data = write_data_set({"00080080": valued("LO", ["x" * 70_000])}, explicit=True)
    assert data[4:6] == b"UN"


@pytest.mark.parametrize(
    ("text", "wanted", "used"),
    [
        ("Doe", ["ISO_IR 100"], ()),
        ("Zoë", ["ISO_IR 100"], ("ISO_IR 100",)),
        ("Zoë", [], UTF_8),
        ("Иван", ["ISO_IR 100"], UTF_8),
        ("Иван", ["ISO_IR 144"], ("ISO_IR 144",)),
        ("Иван Zoë", ["", "ISO 2022 IR 144", "ISO 2022 IR 100"], ("", "ISO 2022 IR 144", "ISO 2022 IR 100")),
        ("山田", ["GB18030"], ("GB18030",)),
        ("山田", ["", "ISO 2022 IR 87"], ("", "ISO 2022 IR 87")),
        ("山田", ["no such term"], UTF_8),
    ],
)
def test_character_sets(text, wanted, used):
    attributes = {"00100010": valued("PN", [{"Alphabetic": text}])}
    assert character_sets_for(attributes, wanted) == used
    attributes["00080005"] = valued("CS", list(used))
    found = read(write_data_set(attributes, explicit=True, character_sets=used), explicit=True)
    assert found["00100010"]["Value"][0] == {"Alphabetic": text}


@pytest.mark.parametrize(
    ("vr", "value", "delimiter"),
    [
        ("PN", {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎"}, b"^"),
        ("LO", "山田\\太郎", b"\\"),
        ("LT", "山田\r\n太郎", b"\r\n"),
    ],
)
def test_before_a_delimiter_the_first_character_set_is_in_force(vr, value, delimiter):  # PS3.5 6.1.2.5.3
    used = ["", "ISO 2022 IR 87"]
    written = write_data_set({"00100010": valued(vr, [value])}, explicit=True, character_sets=used)
    assert written.count(b"\x1b(B" + delimiter) == 1


@pytest.mark.parametrize(
    "attribute",
    [
        {"vr": "US", "Value": [70_000]},
        {"vr": "US", "Value": ["x"]},
        {"vr": "UI", "Value": ["é"]},
        {"vr": "AT", "Value": ["x"]},
        {"vr": "OB", "InlineBinary": "!"},
        {"vr": "OB", "BulkDataURI": "/bulkdata"},
        {"vr": "PN", "Value": ["Doe"]},
    ],
)
def test_what_a_vr_cannot_hold_is_said(attribute):
    with pytest.raises(NotConvertible, match=r"\(0008,1140\)"):
        write_data_set({"00081140": attribute}, explicit=True)
