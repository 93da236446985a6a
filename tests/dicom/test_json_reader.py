"""DICOM JSON from strangers (PS3.18 Annex F): what other programs write, and what nobody should."""

import json
from contextlib import suppress

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.dicom import json_reader
from app.dicom.elements import DEPTH
from app.dicom.json_model import VRS
from app.dicom.json_reader import read_json
from app.dicom.parts import Elsewhere
from app.dicom.writing import data_set_pieces
from app.errors import NotConvertible, Unreadable
from tests.dicom.test_writing import NESTED

ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NEARLY = st.dictionaries(
    st.sampled_from(
        ["00080005", "00100010", "0008103e", "00281050", "7FE00010", "00090010", "00020010", "x"]
    ),
    st.fixed_dictionaries(
        {},
        optional={
            "vr": st.sampled_from([*sorted(VRS), "OB or OW", "ZZ"]),
            "Value": st.lists(ANY, max_size=2) | ANY,
            "InlineBinary": st.sampled_from(["AAE=", "!", ""]) | ANY,
            "BulkDataURI": st.just("bulk/1") | ANY,
        },
    )
    | ANY,
    max_size=4,
)


@given(st.lists(NESTED, min_size=1, max_size=3))
def test_what_is_sound_is_read_as_it_is(models):
    assert read_json(json.dumps(models).encode()) == [dict(sorted(one.items())) for one in models]


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(content):
    try:
        found = read_json(content)
    except Unreadable:
        return
    assert all(isinstance(one, Unreadable | dict) for one in found)


@given(st.lists(NEARLY | ANY, max_size=3))
def test_what_is_read_can_be_written_or_is_said_not_to(models):
    content = orjson.dumps(models, default=str, option=orjson.OPT_NON_STR_KEYS) if _fits(models) else b"[]"
    for one in read_json(content):
        if isinstance(one, Unreadable):
            continue
        assert list(one) == sorted(one)
        with suppress(NotConvertible):
            data_set_pieces(one, explicit=True, locate=lambda uri: Elsewhere(1, 0, len(uri)))


def _fits(models):
    try:
        orjson.dumps(models)
    except TypeError:  # an integer that JSON of ours does not hold, or a lone surrogate
        return False
    return True


@pytest.mark.parametrize(
    ("attribute", "read"),
    [
        (
            {"vr": "PN", "Value": [None, {"Alphabetic": "A"}]},
            {"vr": "PN", "Value": [None, {"Alphabetic": "A"}]},
        ),
        ({"vr": "SQ", "Value": [None, {}]}, {"vr": "SQ", "Value": [{}, {}]}),
        ({"vr": "LO", "Value": []}, {"vr": "LO"}),
        ({"vr": "OB", "InlineBinary": ""}, {"vr": "OB"}),
        ({"vr": "US", "Value": ["7"]}, {"vr": "US", "Value": [7]}),
        ({"vr": "IS", "Value": [7.0, "8"]}, {"vr": "IS", "Value": [7, "8"]}),
        ({"vr": "FD", "Value": ["NaN"]}, {"vr": "FD", "Value": ["NaN"]}),
        ({"Value": ["a"]}, {"vr": "SH", "Value": ["a"]}),
        ({"vr": "OB or OW", "BulkDataURI": "b"}, {"vr": "OW", "BulkDataURI": "b"}),
        ({"vr": "US or SS", "Value": [1]}, {"vr": "US", "Value": [1]}),
        ({"vr": "UT", "Value": ["a\\b"]}, {"vr": "UT", "Value": ["a\\b"]}),
    ],
)
def test_what_other_programs_write(attribute, read):
    assert read_json(json.dumps({"00080050": attribute}).encode()) == [{"00080050": read}]


def test_group_lengths_are_left_out_and_tags_put_in_order():
    content = b'[{"0010000A":{"vr":"UN"},"00080000":{"vr":"UL","Value":[1]},"0008103e":{"vr":"LO"}}]'
    (found,) = read_json(content)
    assert list(found) == ["0008103E", "0010000A"]


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("text", "JSON object"),
        ({"PatientID": {"vr": "LO"}}, "'PatientID' is not a tag"),
        ({"0010002a": {"vr": "UN"}, "0010002A": {"vr": "UN"}}, "(0010,002A) is there twice"),
        ({"00000002": {"vr": "UI"}}, "no attribute of a data set"),
        ({"FFFEE000": {"vr": "UN"}}, "no attribute of a data set"),
        ({"00100020": "x"}, "(0010,0020) is not a JSON object"),
        ({"00100020": {"vr": "XX"}}, "no such Value Representation"),
        ({"00100020": {"vr": ["LO"]}}, "no such Value Representation"),
        ({"00100020": {"vr": "LO", "Value": "x"}}, "none of VR LO"),
        ({"00100020": {"vr": "LO", "Value": [1]}}, "none of VR LO"),
        ({"00100020": {"vr": "LO", "Value": ["a\\b"]}}, "backslash"),
        ({"00100020": {"vr": "LO", "Value": ["a\0"]}}, "none of VR LO"),
        ({"00100020": {"vr": "US", "Value": [None]}}, "empty value"),
        ({"00100020": {"vr": "US", "Value": [1.5]}}, "no whole number"),
        ({"00100020": {"vr": "US", "Value": [True]}}, "no whole number"),
        ({"00100020": {"vr": "PN", "Value": ["Doe"]}}, "name that is none"),
        ({"00100020": {"vr": "PN", "Value": [{"Given": "Jo"}]}}, "name that is none"),
        ({"00100020": {"vr": "OB", "Value": [1]}}, "none of VR OB"),
        ({"00100020": {"vr": "LO", "InlineBinary": "AA=="}}, "InlineBinary that is none of VR LO"),
        ({"00100020": {"vr": "LO", "BulkDataURI": "b"}}, "BulkDataURI that is none of VR LO"),
        ({"00100020": {"vr": "OB", "InlineBinary": "AA==", "BulkDataURI": "b"}}, "at most one"),
        ({"00081140": {"vr": "SQ", "Value": ["x"]}}, "JSON object"),
    ],
)
def test_what_is_none_is_said_which_and_why(model, says):
    (found,) = read_json(json.dumps([model]).encode())
    assert isinstance(found, Unreadable)
    assert says in str(found)


def test_depth_is_bounded():
    model: dict = {}
    for _ in range(DEPTH + 1):
        model = {"00081140": {"vr": "SQ", "Value": [model]}}
    (found,) = read_json(json.dumps(model).encode())
    assert "nested deeper" in str(found)


def test_sizes_are_bounded(monkeypatch):
    monkeypatch.setattr(json_reader, "ITEMS", 3)
    monkeypatch.setattr(json_reader, "ELEMENTS", 3)
    many_items = {"00081140": {"vr": "SQ", "Value": [{}] * 4}}
    many = {f"0009{number:04X}": {"vr": "LO"} for number in range(0x10, 0x14)}
    for one, says in zip(
        read_json(json.dumps([many_items, many]).encode()), ("items", "attributes"), strict=True
    ):
        assert f"more than 3 {says}" in str(one)
    monkeypatch.setattr(json_reader, "JSON_BYTES", 3)
    with pytest.raises(Unreadable, match="larger"):
        read_json(b"[   ]")
