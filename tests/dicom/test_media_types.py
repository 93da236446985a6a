"""Media types of pixel data and transfer syntaxes (PS3.18 8.7.3, Table 8.7.3-5)."""

import pytest

from app.dicom.media_types import (
    ALIASES,
    BY_TRANSFER_SYNTAX,
    DECODABLE,
    ENCODABLE,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    LOSSY,
    NEVER_SENT,
    TRANSFER_SYNTAXES,
    pixel_media_type,
    supplied_syntaxes,
)
from app.dicom.uids import VIDEO

JPEG_BASELINE = "1.2.840.10008.1.2.4.50"


@pytest.mark.parametrize(
    ("media_type", "default", "others"),
    [
        ("image/jpeg", "4.70", ["4.50", "4.51", "4.57"]),
        ("image/dicom-rle", "5", []),
        ("image/jls", "4.80", ["4.81"]),
        ("image/jp2", "4.90", ["4.91"]),
        ("image/jpx", "4.92", ["4.93"]),
        ("image/jphc", "4.201", ["4.202", "4.203"]),
        ("image/jxl", "4.110", ["4.111", "4.112"]),
        ("video/mpeg", "4.101", ["4.100"]),
        ("video/mp4", "4.102", ["4.103", "4.104", "4.105", "4.106", "4.107", "4.108"]),
    ],
)
def test_each_media_type_has_its_syntaxes_the_default_first(media_type, default, others) -> None:
    """PS3.18 8.7.3.3.2 (checklist 12)."""
    uids = TRANSFER_SYNTAXES[media_type]
    assert uids[0] == f"1.2.840.10008.1.2.{default}"
    assert {f"1.2.840.10008.1.2.{other}" for other in others} <= set(uids)
    assert all(pixel_media_type(uid) == media_type for uid in uids)


def test_the_rest_is_octets() -> None:
    """PS3.18 8.7.3.3.1 (checklist 12)."""
    for uid in (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, "1.2.840.10008.1.2.1.99", "2.25.1"):
        assert pixel_media_type(uid) == "application/octet-stream"


def test_video_is_named_in_all_its_variants() -> None:
    assert {
        uid for uid in BY_TRANSFER_SYNTAX if BY_TRANSFER_SYNTAX[uid].startswith("video/")
    } <= VIDEO | LOSSY
    assert all(
        pixel_media_type(uid).startswith("video/") for uid in VIDEO if not uid.endswith(("7.1", "8.1"))
    )


@pytest.mark.parametrize(
    "legacy", ["image/x-jls", "image/x-dicom-rle", "image/jpg", "video/mpeg2", "video/h265"]
)
def test_legacy_names_mean_a_media_type_of_the_table(legacy: str) -> None:
    """PS3.18 8.7.3.3.2, note 8 (checklist 12)."""
    assert ALIASES[legacy] in TRANSFER_SYNTAXES


def test_what_may_not_be_sent_is_not_supplied() -> None:
    """PS3.18 8.7.3 (checklist 7): neither Implicit VR Little Endian nor Explicit VR Big Endian."""
    for stored in DECODABLE | set(BY_TRANSFER_SYNTAX):
        for has_pixels in (True, False):
            assert not NEVER_SENT & set(supplied_syntaxes(stored, has_pixels=has_pixels))


def test_what_is_supplied_of_a_stored_syntax() -> None:
    """PS3.18 8.7.3.5.2 (checklist 6): as stored first, and Explicit VR Little Endian where it can be had."""
    assert supplied_syntaxes(JPEG_BASELINE)[:2] == (JPEG_BASELINE, EXPLICIT_VR_LITTLE_ENDIAN)
    assert set(supplied_syntaxes(JPEG_BASELINE)) == {JPEG_BASELINE} | ENCODABLE
    assert supplied_syntaxes(EXPLICIT_VR_BIG_ENDIAN)[0] == EXPLICIT_VR_LITTLE_ENDIAN
    assert supplied_syntaxes("1.2.840.10008.1.2.4.102") == ("1.2.840.10008.1.2.4.102",)
    assert supplied_syntaxes("2.25.1") == ("2.25.1",)
    assert supplied_syntaxes("2.25.1", has_pixels=False) == ("2.25.1", EXPLICIT_VR_LITTLE_ENDIAN)
