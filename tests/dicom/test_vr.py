"""VRs that a header does not tell: implicit, UN, unknown, and those that depend on others."""

import struct

import pytest

from app.dicom.scan import scan
from app.errors import Unreadable
from tests.dicom.part10_bytes import (
    IMPLICIT,
    data_set,
    element,
    header,
    instance,
    item,
    part10,
    sequence,
)
from tests.dicom.scanned import added, document


def implicit(tag: int, value: bytes) -> bytes:
    return element(tag, "", value)


def implicit_instance(*elements: bytes) -> bytes:
    return part10(data_set(*elements, vr=""), IMPLICIT)


def test_implicit_vrs_come_from_the_dictionaries():
    scanned = scan(
        implicit_instance(
            implicit(0x00100010, b"Doe^Jane"),
            implicit(0x00080000, b"\0\0\0\0"),
            implicit(0x00190010, b"SIEMENS MR HEADER "),
            implicit(0x0019100C, b"1000"),
            implicit(0x00191099, b"ab"),
            implicit(0x00210001, b"no creator"),
            implicit(0x00081234, b"ab"),
            implicit(0x60003000, b"ab"),
        )
    )
    vrs = {tag: attribute["vr"] for tag, attribute in document(scanned).items()}
    assert vrs["00100010"] == "PN"
    assert vrs["00190010"] == "LO"
    assert vrs["0019100C"] == "IS"
    assert vrs["00191099"] == vrs["00210001"] == vrs["00081234"] == "UN"
    assert vrs["60003000"] == "OW"


@pytest.mark.parametrize(("signed", "vr", "value"), [(0, "US", 65535), (1, "SS", -1), (None, "US", 65535)])
def test_pixel_representation_decides_wherever_it_stands(signed, vr, value):
    described = [] if signed is None else [implicit(0x00280103, struct.pack("<H", signed))]
    nested = item(implicit(0x00283002, b"\xff\xff\xff\xff\xff\xff"))
    lut = implicit(0x00180012, b"") + header(0x00283010, "", len(nested)) + nested
    early = implicit(0x00189810, b"\xff\xff")  # before Pixel Representation
    attributes = document(scan(implicit_instance(early, *described, lut[8:])))
    assert attributes["00189810"] == {"vr": vr, "Value": [value]}
    assert attributes["00283010"]["Value"][0]["00283002"] == {"vr": vr, "Value": [value] * 3}


@pytest.mark.parametrize(("entries", "vr"), [(1, "US"), (2, "OW")])
def test_lut_data_depend_on_their_descriptor(entries, vr):
    content = implicit_instance(
        implicit(0x00283002, struct.pack("<HHH", entries, 0, 8)), implicit(0x00283006, b"\1\0" * entries)
    )
    assert document(scan(content))["00283006"]["vr"] == vr


def test_un_is_looked_up():
    attributes = added(
        element(0x00080060, "UN", "XC"),
        element(0x00100010, "UN", b"x" * 70_000),
        element(0x00190010, "UN", "SIEMENS MR HEADER"),
        element(0x0019100C, "UN", "1000"),
    )
    assert attributes["00080060"] == {"vr": "CS", "Value": ["XC"]}
    assert attributes["00100010"]["vr"] == "UN"  # too long for its own VR to say so
    assert attributes["00190010"]["vr"] == "LO"
    assert attributes["0019100C"] == {"vr": "IS", "Value": [1000]}


@pytest.mark.parametrize("delimited", [True, False])
@pytest.mark.parametrize("tag", [0x00082218, 0x00091001], ids=["standard", "private"])
def test_un_may_be_a_sequence_in_implicit_vr(delimited, tag):
    content = sequence(tag, item(implicit(0x00080100, b"T-1 ")), delimited=delimited, vr="UN")
    attribute = added(content)[f"{tag:08X}"]
    if delimited or tag == 0x00082218:
        assert attribute == {"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": ["T-1"]}}]}
    else:
        assert attribute["vr"] == "UN"


def test_un_that_is_no_sequence_after_all_stays_bytes():
    assert added(element(0x00082218, "UN", b"bytes"))["00082218"]["vr"] == "UN"


def test_an_unknown_vr_with_a_long_header_is_un():
    raw = struct.pack("<HH2sHI", 0x0009, 0x1001, b"ZZ", 0, 2) + b"ab"
    scanned = scan(instance(raw))
    assert document(scanned)["00091001"] == {"vr": "UN", "InlineBinary": "YWI="}
    assert "unknown Value Representation" in scanned.warnings[0]


def test_an_unknown_vr_with_a_short_header_is_refused():
    with pytest.raises(Unreadable, match=r"\(0009,1001\) at byte 220 has a Value Rep"):
        scan(instance(struct.pack("<HH2sH", 0x0009, 0x1001, b"ZZ", 2) + b"ab"))
