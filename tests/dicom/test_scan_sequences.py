"""Sequences and items of every kind of length, and what is wrong with broken ones."""

import pytest

from app.dicom.scan import scan
from app.errors import Unreadable
from tests.dicom.part10_bytes import (
    UNDEFINED,
    data_set,
    element,
    header,
    item,
    part10,
    sequence,
)
from tests.dicom.scanned import added


@pytest.mark.parametrize("sequence_delimited", [True, False])
@pytest.mark.parametrize("item_delimited", [True, False])
def test_lengths_defined_or_not(sequence_delimited, item_delimited):
    items = [item(element(0x00080100, "SH", text), delimited=item_delimited) for text in ("A", "B")]
    attribute = added(
        sequence(0x00082218, *items, delimited=sequence_delimited), element(0x00100020, "LO", "after")
    )
    assert attribute["00082218"]["Value"] == [
        {"00080100": {"vr": "SH", "Value": [text]}} for text in ("A", "B")
    ]
    assert attribute["00100020"]["Value"] == ["after"]


def test_empty_ones():
    assert added(sequence(0x00082218))["00082218"] == {"vr": "SQ"}
    assert added(sequence(0x00082218, delimited=True))["00082218"] == {"vr": "SQ"}
    assert added(sequence(0x00082218, item(b"")))["00082218"] == {"vr": "SQ", "Value": [{}]}


def test_character_sets_hold_for_an_item_and_what_is_in_it():
    latin = element(0x00080005, "CS", "ISO_IR 100")
    german = element(0x00080104, "LO", b"\xc4")
    inner = sequence(0x00082220, item(german))
    attributes = added(
        element(0x00080005, "CS", "ISO_IR 192"),
        sequence(0x00082218, item(latin + german + inner), item(element(0x00080104, "LO", "Ä"))),
        element(0x00081030, "LO", "Ä"),
    )
    first, second = attributes["00082218"]["Value"]
    assert first["00080104"]["Value"] == first["00082220"]["Value"][0]["00080104"]["Value"] == ["Ä"]
    assert second["00080104"]["Value"] == attributes["00081030"]["Value"] == ["Ä"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (header(0x00082218, "SQ", 9) + item(b""), "has a value of 9 bytes, but 8 are left"),
        (header(0x00082218, "SQ", UNDEFINED) + item(b""), "ends within the header of an item"),
        (header(0x00082218, "SQ", 12) + item(b"") + bytes(4), "ends within the header of an item"),
        (sequence(0x00082218, element(0x00080100, "SH", "A")), "neither an item nor its end"),
        (sequence(0x00082218, item(b"")[:4] + b"\x09\0\0\0"), "has 9 bytes, but 0 are left"),
        (
            sequence(0x00082218, item(element(0x00080100, "SH", "AB")[:-1])),
            "ends 1 bytes after its data set",
        ),
        (sequence(0x00082218, item(b"\x08\0\0\1")), "within the header of an element"),
        (sequence(0x00082218, item(bytes(4))), "within the header of an element"),
        (
            sequence(0x00082218, item(element(0x00080100, "SH", "AB"))[:4] + b"\xff" * 4),
            "no Item Delimitation",
        ),
        (item(b""), r"\(FFFE,E000\) at byte \d+ is part of a sequence"),
        (element(0x00000002, "UI", "1.2"), r"\(0000,0002\) .* does not belong in a data set"),
    ],
)
def test_broken_ones_are_refused_with_a_reason(content, reason):
    with pytest.raises(Unreadable, match=reason):
        scan(part10(data_set() + content))
