"""Value fields as the DICOM JSON Model has them (PS3.18 Annex F)."""

import struct

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.dicom.character_sets import Repertoire
from app.dicom.json_model import BIG_ENDIAN, LITTLE_ENDIAN, VRS


def no_note(text: str) -> None:
    raise AssertionError(text)


def converted(vr: str, raw: bytes, table=LITTLE_ENDIAN, terms=(), note=no_note) -> dict:
    return orjson.loads(orjson.dumps(table[vr](raw, Repertoire(terms, note))))


@pytest.mark.parametrize("vr", sorted(VRS - {"SQ"}))
@pytest.mark.parametrize("table", [LITTLE_ENDIAN, BIG_ENDIAN], ids=["little", "big"])
def test_empty_values_are_a_vr_alone(vr, table):
    """PS3.18 F.2.5 (checklist 17)."""
    assert converted(vr, b"", table) == {"vr": vr}


@pytest.mark.parametrize(
    "vr", ["AE", "AS", "CS", "DA", "DS", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UT"]
)
@pytest.mark.parametrize("padding", [b" ", b"\0", b"  ", b" \0"])
def test_padding_is_no_value(vr, padding):
    assert converted(vr, padding) == {"vr": vr}


@pytest.mark.parametrize(
    ("vr", "raw", "values"),
    [
        ("CS", b"ORIGINAL\\PRIMARY ", ["ORIGINAL", "PRIMARY"]),
        ("CS", b"A \\\\B", ["A", None, "B"]),
        ("CS", b"A\\", ["A", None]),
        ("AE", b" AE TITLE ", ["AE TITLE"]),
        ("LO", b" kept", [" kept"]),
        ("LO", b'say "x"\x01 ', ['say "x"\x01']),
        ("LT", b"a\\b ", ["a\\b"]),
        ("ST", b"\r\n a", ["\r\n a"]),
        ("UI", b"1.2.840\0", ["1.2.840"]),
        ("UI", b"1.2\\1.3 ", ["1.2", "1.3"]),
        ("UR", b"http://here/a\\b ", ["http://here/a\\b"]),
        ("DS", b"1.50\\-2e3\\+1 ", [1.5, -2000, 1]),
        ("DS", b" 10 ", [10]),
        ("DS", b"1\\\\2", [1, None, 2]),
        ("DS", b"1,5 ", ["1,5"]),
        ("DS", b"nan ", ["nan"]),
        ("DS", b"1_0 ", ["1_0"]),
        ("DS", b"1e999 ", ["1e999"]),
        ("DS", b"1.2.3 ", ["1.2.3"]),
        ("IS", b"12", [12]),
        ("IS", b" -7\\+7 ", [-7, 7]),
        ("IS", b"1A", ["1A"]),
        ("IS", b"1.5 ", ["1.5"]),
        ("IS", b"2147483648", ["2147483648"]),
        ("IS", b"-2147483648 ", [-(2**31)]),
        ("AT", b"\x28\0\x10\0\xe0\x7f\x10\0", ["00280010", "7FE00010"]),
        ("US", b"\1\0\xff\xff", [1, 65535]),
        ("SS", b"\xff\xff", [-1]),
        ("UL", b"\xff\xff\xff\xff", [2**32 - 1]),
        ("SV", b"\xff" * 8, [-1]),
        ("UV", b"\xff" * 8, [2**64 - 1]),
        (
            "FD",
            struct.pack("<4d", 0.1, float("nan"), float("inf"), float("-inf")),
            [0.1, "NaN", "inf", "-inf"],
        ),
        ("FL", struct.pack("<f", 0.5), [0.5]),
        ("PN", b"Doe^Jane ", [{"Alphabetic": "Doe^Jane"}]),
        ("PN", b"A=I=P ", [{"Alphabetic": "A", "Ideographic": "I", "Phonetic": "P"}]),
        ("PN", b"==P ", [{"Phonetic": "P"}]),
        ("PN", b"A\\\\=I", [{"Alphabetic": "A"}, None, {"Ideographic": "I"}]),
        ("PN", b"A=B=C=D ", [{"Alphabetic": "A", "Ideographic": "B", "Phonetic": "C"}]),
    ],
)
def test_values(vr, raw, values):
    """PS3.18 F.2.2, F.2.3, F.2.5 (checklist 17): PN objects, numbers or strings, null for what is empty."""
    assert converted(vr, raw) == {"vr": vr, "Value": values}


def test_a_name_of_empty_groups_is_empty():
    assert converted("PN", b"== ") == {"vr": "PN"}


@pytest.mark.parametrize(
    ("vr", "raw", "expected"),
    [
        ("US", b"\1\2", {"Value": [0x0102]}),
        ("AT", b"\0\x28\0\x10", {"Value": ["00280010"]}),
        ("FL", struct.pack(">f", 0.5), {"Value": [0.5]}),
        ("OB", b"\1\2", {"InlineBinary": "AQI="}),
        ("OW", b"\1\2", {"InlineBinary": "AgE="}),  # little endian whatever the file is: PS3.18 F.2.7
        ("OF", b"\1\2\3\4", {"InlineBinary": "BAMCAQ=="}),
    ],
)
def test_big_endian_values(vr, raw, expected):
    assert converted(vr, raw, BIG_ENDIAN) == {"vr": vr} | expected


def test_numbers_of_a_wrong_length_lose_the_odd_bytes_and_are_noted():
    notes: list[str] = []
    assert converted("US", b"\1\0\2", note=notes.append) == {"vr": "US", "Value": [1]}
    assert converted("FD", b"\1\0\2", note=notes.append) == {"vr": "FD"}
    assert len(notes) == 2


@pytest.mark.parametrize(
    ("terms", "raw", "text"),
    [
        (["ISO_IR 192"], "Ärztin".encode(), "Ärztin"),
        (["ISO_IR 100"], b"\xc4rztin", "Ärztin"),
        (["GB18030"], "王^小东".encode("gb18030"), "王^小东"),
        (["ISO_IR 13"], b"\xd4\xcf\xc0\xde", "ﾔﾏﾀﾞ"),
        (["", "ISO 2022 IR 87"], b"\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B", "山田^太郎"),
        (["", "ISO 2022 IR 149"], b"\x1b$)C\xb1\xe8", "김"),
        (["ISO 2022 IR 100", "ISO 2022 IR 126"], b"\x1b-F\xc1\r\n\xc4", "Α\r\nÄ"),  # noqa: RUF001
        (["ISO_IR 192", "ISO 2022 IR 87"], "Ä".encode(), "Ä"),
        (["ISO-IR 100"], b"\xc4", "Ä"),
        (["nonsense"], b"\xc4", "Ä"),
        ([], b"\xc4", "Ä"),
        (["ISO_IR 192"], b"a\xed\xa0\x80", "a\ufffd\ufffd\ufffd"),
        (["", "ISO 2022 IR 87"], b"\x1b$)Cab", "\x1b$)Cab"),
        (["", "ISO 2022 IR 87"], b"\x1b$B\xff\xff", "\ufffd\ufffd"),
    ],
)
def test_text_by_specific_character_set(terms, raw, text):
    assert converted("LO", raw, terms=terms, note=lambda _: None) == {"vr": "LO", "Value": [text]}


@pytest.mark.parametrize(
    ("terms", "vr", "raw"),
    [
        ((), "LO", b"\xc4"),
        (("ISO_IR 192",), "LO", b"\xc4"),
        (("ISO_IR 192",), "DA", b"2020010\xff"),
        (("no such term",), "LO", b"a"),
        (("GB18030", "ISO 2022 IR 87"), "LO", b"a"),
        (("", "ISO 2022 IR 87"), "LO", b"\x1b$)Ca"),
    ],
)
def test_what_text_loses_is_noted(terms, vr, raw):
    notes: list[str] = []
    converted(vr, raw, terms=terms, note=notes.append)
    assert notes


TERMS = [
    "",
    "ISO_IR 100",
    "ISO_IR 192",
    "GB18030",
    "GBK",
    "ISO 2022 IR 87",
    "ISO 2022 IR 13",
    "ISO 2022 IR 159",
    "ISO 2022 IR 58",
    "x",
]


@given(
    st.sampled_from(sorted(VRS - {"SQ"})),
    st.binary(max_size=40)
    | st.lists(
        st.sampled_from([b"\x1b$B", b"\x1b(J", b"\x1b)I", b"\x1b$(D", b"\\", b"=", b"\x81", b"1.5", b"-"])
    ).map(b"".join),
    st.lists(st.sampled_from(TERMS), max_size=3),
    st.booleans(),
)
def test_any_bytes_become_json(vr, raw, terms, big_endian):
    """PS3.18 F.2.2 (checklist 17): a VR, and at most one of a value and inline binary."""
    attribute = converted(vr, raw, BIG_ENDIAN if big_endian else LITTLE_ENDIAN, terms, lambda _: None)
    assert attribute["vr"] == vr
    assert set(attribute) - {"vr"} in (set(), {"Value"}, {"InlineBinary"})
    assert attribute.get("Value") != []
