"""The dictionary of ours is the one of pydicom, also where a group repeats (PS3.6 6)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.datadict import dictionary_keyword, dictionary_VM, dictionary_VR, tag_for_keyword

from app.dicom.dictionary import definition, tag_of
from tools.dictionary import PATH, contents


def test_the_file_is_what_the_tool_writes() -> None:
    assert PATH.read_bytes() == contents(), "run python -m tools.dictionary"


@given(
    st.integers(0, 0xFFFFFFFF) | st.sampled_from([0x50, 0x60, 0x7F]).map(lambda group: group << 24 | 0x3000)
)
def test_every_number_means_the_same_to_both(number: int) -> None:
    try:
        expected = dictionary_VR(number), dictionary_VM(number), dictionary_keyword(number)
    except KeyError:
        expected = None
    assert definition(f"{number:08X}") == expected


@pytest.mark.parametrize("tag", ["60000010", "60020010", "60010010", "002031AB", "10100004", "00100010"])
def test_groups_that_repeat(tag: str) -> None:
    found = definition(tag)
    assert (found is None) == (tag == "60010010")  # an odd group is private (PS3.5 7.8)
    assert found is None or found.vr == dictionary_VR(int(tag, 16))


def test_keywords() -> None:
    assert tag_of("PatientName") == f"{tag_for_keyword('PatientName'):08X}"
    assert tag_of("NoSuchKeyword") is None
    assert tag_of("") is None
