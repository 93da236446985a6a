"""Files made to exhaust a reader: each is refused, soon and in little memory.

No time is asserted. Memory is, coarsely: the peak of what Python allocates while a file is scanned.
"""

import struct
import tracemalloc
import zlib

import pytest

from app.dicom.elements import DEPTH, ELEMENTS, ITEMS
from app.dicom.scan import scan
from app.errors import Unreadable
from tests.dicom.part10_bytes import (
    DEFLATED,
    ITEM_END,
    JPEG,
    SEQUENCE_END,
    UNDEFINED,
    data_set,
    element,
    header,
    image,
    instance,
    item,
    part10,
    sequence,
)
from tests.dicom.scanned import added

MEBIBYTE = 1 << 20
CONTENT_SEQUENCE = 0x0040A730


def refused(content: bytes, reason: str, mebibytes: int = 16) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(Unreadable, match=reason):
            scan(content)
        assert tracemalloc.get_traced_memory()[1] < mebibytes * MEBIBYTE
    finally:
        tracemalloc.stop()


def nested(depth: int, *, delimited: bool) -> bytes:
    if delimited:
        begin = header(CONTENT_SEQUENCE, "SQ", UNDEFINED) + struct.pack("<HHI", 0xFFFE, 0xE000, UNDEFINED)
        return begin * depth + (ITEM_END + SEQUENCE_END) * depth
    content = b""
    for _ in range(depth):
        content = sequence(CONTENT_SEQUENCE, item(content))
    return content


@pytest.mark.parametrize("delimited", [True, False])
class TestDepth:
    @pytest.mark.parametrize("depth", [1, DEPTH - 1, DEPTH])
    def test_sequences_within_the_limit_are_read(self, depth, delimited):
        attributes = added(nested(depth, delimited=delimited))
        for _ in range(depth):
            (attributes,) = attributes["0040A730"]["Value"]
        assert attributes == {}

    @pytest.mark.parametrize("depth", [DEPTH + 1, 300, 2_000])
    def test_deeper_ones_are_refused(self, depth, delimited):
        refused(instance(nested(depth, delimited=delimited)), "nested deeper than 32")


def test_a_hundred_thousand_levels_are_refused_too():
    refused(instance(nested(100_000, delimited=True)), "nested deeper than 32")


def test_nesting_in_un_counts():
    begin = header(CONTENT_SEQUENCE, "UN", UNDEFINED) + struct.pack("<HHI", 0xFFFE, 0xE000, UNDEFINED)
    deeper = header(CONTENT_SEQUENCE, "", UNDEFINED) + struct.pack("<HHI", 0xFFFE, 0xE000, UNDEFINED)
    refused(instance(begin + deeper * 400), "nested deeper than 32")


def test_many_items():
    refused(instance(sequence(CONTENT_SEQUENCE, item(b"") * 200_000)), "more than 50000 items")
    assert len(added(sequence(CONTENT_SEQUENCE, item(b"") * ITEMS))["0040A730"]["Value"]) == ITEMS


def test_many_elements(monkeypatch):
    assert ELEMENTS == 200_000
    monkeypatch.setattr("app.dicom.elements.ELEMENTS", 2_000)
    refused(part10(data_set() + element(0x00400555, "LO", "a") * 2_000), "more than 2000 elements")
    private = [element(0x00110000 + number, "LO", "a") for number in range(0x1000, 0x1000 + 1_995)]
    assert len(added(*private)) == 1_995


@pytest.mark.parametrize("length", [0xFFFFFFF0, 0xFFFFFFFE, 0x7FFFFFFF])
@pytest.mark.parametrize("vr", ["OB", "OW", "SQ", "UN", "UT", ""])
def test_lengths_beyond_the_file(length, vr):
    content = data_set(vr="" if not vr else "UI") + header(0x00540010, vr, length) + b"abcd"
    refused(part10(content, "1.2.840.10008.1.2" if not vr else "1.2.840.10008.1.2.1"), "but 4 are left")


@pytest.mark.parametrize("length", [0xFFFFFFF0, 0x7FFFFFFF])
def test_pixel_data_beyond_the_file(length):
    start = data_set(*image(rows=65535, columns=65535))
    refused(part10(start + header(0x7FE00010, "OB", length) + b"abcd"), "ends within its pixel data")
    refused(
        part10(start + header(0x7FE00010, "OB", UNDEFINED) + item(b"")[:4] + struct.pack("<I", length), JPEG),
        "has",
    )


def test_many_fragments(monkeypatch):
    monkeypatch.setattr("app.dicom.fragments.FRAGMENTS", 1000)
    content = instance(
        *image(), header(0x7FE00010, "OB", UNDEFINED) + item(b"") * 1002, transfer_syntax_uid=JPEG
    )
    refused(content, "more than 1000 fragments")


def deflated(content: bytes) -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    return part10(deflater.compress(content) + deflater.flush(), DEFLATED)


def test_a_deflated_bomb():
    refused(
        deflated(data_set() + element(0x7FE00010, "OW", bytes(40 * MEBIBYTE))),
        r"grows to more than \d+ bytes",
    )


def test_small_deflated_pictures_of_one_colour_are_no_bombs():
    scanned = scan(deflated(data_set(*image(700, 700), element(0x7FE00010, "OB", bytes(490_000)))))
    assert scanned.warnings == ()


def test_a_long_value_of_a_vr_that_cannot_be_bulk():
    long = struct.pack("<HHI", 0x0010, 0x0010, 2 * MEBIBYTE) + b"a" * 2 * MEBIBYTE
    refused(
        part10(data_set(long, vr=""), "1.2.840.10008.1.2"),
        "2097152 bytes long: values of PN may have 1048576",
    )


def test_much_text_in_all():
    values = b"".join(element(0x00110000 + number, "LO", b"a" * 60_000) for number in range(0x1000, 0x1200))
    refused(instance(values), "all metadata together 16777216", mebibytes=64)
