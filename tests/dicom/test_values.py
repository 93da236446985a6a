"""Comparing values: wild cards, moments, names, numbers (PS3.4 C.2.2.2)."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.dicom.matching import Fuzzy, Range, SingleValue, Wildcard
from app.dicom.person_names import SOUND, name_terms, names_match, words
from app.dicom.values import date_time, value_matcher, wildcard_matcher

few = st.text(alphabet="ab\n.[*", max_size=12)


@given(pattern=st.text(alphabet="ab*?.[", max_size=10), text=few)
@example(pattern="a*a", text="a")
@example(pattern="ab*ba", text="aba")
def test_wild_cards_are_what_the_slow_regular_expression_says(pattern: str, text: str) -> None:
    """PS3.4 C.2.2.2.4 (checklist 24)."""
    slow = "".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in pattern)
    assert wildcard_matcher(pattern)(text) == bool(re.fullmatch(slow, text, re.DOTALL))


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    assert not wildcard_matcher("*a" * 500 + "*b")("a" * 100_000)


@pytest.mark.parametrize(
    ("value", "key", "expected"),
    [
        ("2020", Range("2020", "2020"), True),
        ("20200630", Range("2020", ""), True),
        ("20191231235959.999999", Range("2020", ""), False),
        ("20200101000000", Range("", "2019"), False),
        ("202006301200", Range("2020063012", "2020063012"), True),
        ("20200101003000+0100", Range("20191231233000+0000", "20191231233000+0000"), True),
        ("20200101003000+0100", Range("20200101003000", "20200101003000"), True),
        ("20200101003000+0100", Range("20200101+0000", ""), False),
        ("20200229233000-0100", Range("20200301003000+0000", ""), True),
        ("201902", Range("20190201+0000", "20190228+0000"), True),
        ("no date", Range("2019", ""), False),
        ("20200101", SingleValue("2020"), True),
        ("2020", SingleValue("20200101"), True),
        ("202", SingleValue("2020"), False),
        ("99991231235959-1200", Range("9999", ""), True),
        ("00010101000000+1200", Range("0001", ""), True),
    ],
)
def test_moments_of_any_precision_and_zone(value: str, key: Range | SingleValue, expected: bool) -> None:
    """PS3.4 C.2.2.2.5 (checklist 23)."""
    assert value_matcher(key)("DT", value) is expected


@given(st.text(alphabet="0123456789.+-", max_size=26))
def test_what_is_no_moment_is_none_and_never_fails(text: str) -> None:
    moment = date_time(text)
    assert moment is None or moment.local[0] <= moment.local[1]


@pytest.mark.parametrize(
    ("vr", "value", "key", "expected"),
    [
        ("IS", 7, "7", True),
        ("IS", 7, "+7", True),
        ("IS", "7 apples", "7", False),
        ("DS", 0.5, "5e-1", True),
        ("DS", "0.50", "0.5", True),
        ("FL", 0.10000000149011612, "0.1", True),
        ("FL", "inf", "1e300", False),
        ("FD", 0.1, "0.1", True),
        ("US", 65535, "65535", True),
        ("AT", "00100020", "00100020", True),
        ("AT", "0010002A", "0010002a", True),
        ("CS", "A", "a", False),
        ("PN", {"Alphabetic": "Doe^J^^^"}, "doe^j", True),
        ("PN", {"Ideographic": "山田"}, "山田", True),
        ("PN", "not an object", "x", False),
        ("LO", {"odd": "x"}, "x", False),
    ],
)
def test_single_values_by_their_vr(vr: str, value: object, key: str, expected: bool) -> None:
    """PS3.4 C.2.2.2.1 (checklist 20)."""
    assert value_matcher(SingleValue(key))(vr, value) is expected


@given(st.text(max_size=30))
def test_every_name_is_found_by_its_own_words(name: str) -> None:
    """PS3.4 C.2.2.2.1.1 (checklist 31)."""
    spoken = words(name)
    terms = name_terms([{"Alphabetic": name}])
    assert names_match(terms, spoken)
    assert names_match(terms, [word[:1] for word in spoken])
    assert not any(word.startswith(SOUND) for word in spoken)


def test_names_without_case_accents_and_apostrophes() -> None:
    assert words("O'Brien-Łukasz^Ångström^^Dr.=ÆØ") == ["obrien", "lukasz", "angstrom", "dr", "aeo"]
    match = value_matcher(Fuzzy(("obri", "lukas"), Wildcard("nobody*")))
    assert match("PN", {"Alphabetic": "Lukasz^O\u2019BRIEN"})
    assert not match("LO", "obrien lukas")
