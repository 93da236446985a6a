"""Files that are not quite PS3.10: what is served of them, and which are refused."""

import zlib
from io import BytesIO

import pydicom
import pytest

from app.dicom.scan import scan
from app.errors import Unreadable
from tests.dicom.part10_bytes import (
    DEFLATED,
    EXPLICIT,
    IDENTIFIERS,
    IMPLICIT,
    data_set,
    element,
    header,
    instance,
    meta,
    part10,
)


def test_what_is_part_10_is_served_as_it_is():
    scanned = scan(instance())
    assert (scanned.prefix, scanned.offset, scanned.warnings) == (b"", 0, ())


@pytest.mark.parametrize(
    ("content", "offset"),
    [
        (meta() + data_set(), 0),
        (b"DICM" + meta() + data_set(), 4),
        (bytes(128) + meta() + data_set(), 128),
        (data_set(), 0),
        (data_set(order=">"), 0),
        (data_set(vr=""), 0),
        (bytes(128) + b"DICM" + element(0x00020002, "UI", IDENTIFIERS[0x00080016]) + data_set(), 166),
    ],
    ids=[
        "no preamble",
        "DICM alone",
        "no DICM",
        "bare explicit",
        "bare big endian",
        "bare implicit",
        "no syntax",
    ],
)
def test_what_is_not_gets_what_it_lacks(content, offset):
    scanned = scan(content)
    assert scanned.offset == offset
    assert scanned.warnings
    served = scanned.prefix + content[scanned.offset :]
    read = pydicom.dcmread(BytesIO(served))
    assert read.SOPInstanceUID == "1.2.3"
    assert read.file_meta.TransferSyntaxUID == scanned.transfer_syntax_uid
    if len(scanned.prefix) > 132:
        assert b"SH\x08\0DERMZOO " in scanned.prefix
        assert read.file_meta.ImplementationClassUID.is_valid
    again = scan(served)
    assert (again.prefix, again.warnings, again.document) == (b"", (), scanned.document)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"DICM",
        b"x" * 500,
        bytes(500),
        b"\xff\xd8\xff\xe0" + bytes(300),
        bytes(128) + b"XXXX" + meta() + data_set(),
    ],
)
def test_what_is_not_dicom_is_refused(content):
    with pytest.raises(Unreadable, match="not a DICOM file"):
        scan(content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (part10(data_set(), "999.888.INVALID"), "is not a UID"),
        (part10(data_set(vr=""), EXPLICIT), "its data set is Implicit VR"),
        (part10(data_set(), IMPLICIT), "its data set is Explicit VR"),
        (bytes(128) + b"DICM" + header(0x00020010, "UI", 500), "longer than the file"),
        (bytes(128) + b"DICM" + b"\2\0\x10\0??\2\0ab", "no known Value Representation"),
        (part10(b"\xff\xff\xff", DEFLATED), "damaged"),
        (part10(zlib.compress(b"abc")[2:-6], DEFLATED), "ends too early"),
    ],
)
def test_contradictions_are_refused(content, reason):
    with pytest.raises(Unreadable, match=reason):
        scan(content)


def test_a_vendors_transfer_syntax_is_read_as_explicit():
    assert "1.3.4 is not known" in scan(part10(data_set(), "1.3.4")).warnings[0]


def test_a_wrong_group_length_does_no_harm():
    content = instance()
    wrong = content[:140] + b"\xff\xff\xff\xff" + content[144:]
    assert scan(wrong).document == scan(content).document
    assert "group length" in scan(wrong).warnings[0]


def test_another_sop_class_in_the_file_meta_information():
    content = (
        bytes(128)
        + b"DICM"
        + element(0x00020002, "UI", "1.2.9")
        + element(0x00020010, "UI", EXPLICIT)
        + data_set()
    )
    assert "differs from the SOP Class UID" in scan(content).warnings[0]
