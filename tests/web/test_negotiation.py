"""Reading Accept (PS3.18 8.3.3, 8.7): what the standard says, and what clients really send."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.web.media_ranges import MediaRange, parse_accept, read_accept


def only(text: str) -> MediaRange:
    (media_range,) = parse_accept([text])
    return media_range


@pytest.mark.parametrize(
    ("header", "content_type", "transfer_syntax"),
    [
        ('multipart/related; type="application/dicom"; transfer-syntax=*', "application/dicom", "*"),
        (
            "multipart/related;type=application/octet-stream;transfer-syntax=*",
            "application/octet-stream",
            "*",
        ),
        (
            'multipart/related; type=image/jpeg; transfer-syntax="1.2.840.10008.1.2.4.50"',
            "image/jpeg",
            "1.2.840.10008.1.2.4.50",
        ),
        ('multipart/related; type="*/*"', "*/*", None),
        ('Multipart/Related; TYPE="Image/JPEG"', "image/jpeg", None),
        ("multipart/related; type=image/x-jls", "image/jls", None),
        ("multipart/related", "*/*", None),
    ],
)
def test_multipart(header: str, content_type: str, transfer_syntax: str | None) -> None:
    media_range = only(header)
    assert media_range.is_multipart
    assert (media_range.content_type, media_range.transfer_syntax) == (content_type, transfer_syntax)


def test_quality_orders_and_zero_excludes() -> None:
    """PS3.18 8.7.8.1 (checklist 3)."""
    ranges = parse_accept(["text/html;q=0.5, application/dicom+json", "image/png;q=0, */*;q=0.1"])
    assert [r.media_type for r in ranges] == ["application/dicom+json", "text/html", "*/*"]


def test_commas_and_semicolons_in_quotes_divide_nothing() -> None:
    ranges = parse_accept(['multipart/related; type="a/b"; boundary="x,y;q=0", image/jpeg'])
    assert [r.media_type for r in ranges] == ["multipart/related", "image/jpeg"]
    assert ranges[0].parameters["boundary"] == "x,y;q=0"


def test_items_that_make_no_sense_are_left_out() -> None:
    """PS3.18 8.7.7 (checklist 3)."""
    assert parse_accept(["", ",,", "nonsense", "/;q=1", ";;"]) == []


@pytest.mark.parametrize(
    ("offered", "wanted", "covered"),
    [
        ("*/*", "image/jpeg", True),
        ("image/*", "image/jpeg", True),
        ("image/*", "application/dicom", False),
        ("image/jp", "image/jpeg", False),
    ],
)
def test_covers(offered: str, wanted: str, covered: bool) -> None:
    assert only(offered).covers(wanted) is covered


@pytest.mark.parametrize(
    ("header", "media_type", "covered_by"),
    [
        ("image/*, image/jpeg;q=0", "image/jpeg", []),
        ("image/*, image/jpeg;q=0", "image/png", ["image/*"]),
        ("image/*;q=0.9, image/jpeg;q=0.1", "image/jpeg", ["image/jpeg"]),
        ("*/*;q=0.2, image/*;q=0.1, image/png", "image/jpeg", ["image/*"]),
        ("*/*, image/jpeg", "image/jpeg", ["image/jpeg", "*/*"]),
        ('*/*, multipart/related; type="image/jpeg"; q=0', "image/jpeg", ["*/*"]),
        (
            "application/dicom, application/dicom; transfer-syntax=1.2; q=0",
            "application/dicom",
            ["application/dicom"],
        ),
        ("*; q=.2", "image/jpeg", ["*/*"]),
    ],
)
def test_the_most_specific_item_decides(header: str, media_type: str, covered_by: list[str]) -> None:
    """RFC 9110 12.5.1, PS3.18 8.7.8.1 (checklist 3)."""
    assert [r.media_type for r in parse_accept([header]) if r.covers(media_type)] == covered_by


@pytest.mark.parametrize(
    ("text", "quality"), [("0.5", 0.5), (".5", 0.5), ("1.", 1), ("9", 1), ("much", 1), ("nan", 1)]
)
def test_a_quality_that_is_none_is_passed_over(text: str, quality: float) -> None:
    assert only(f"image/jpeg; q={text}").quality == quality


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("jpeg", "'jpeg' is no media type"),
        ("a/b; q=1; q=0.5", "has q more than once"),
        ("a/b; transfer-syntax=1.2; transfer-syntax=1.3", "has transfer-syntax more than once"),
        ('a/b; transfer-syntax="1.2,1.3"', "neither one UID nor *"),
    ],
)
def test_what_is_passed_over_is_kept_with_the_reason(item: str, reason: str) -> None:
    """PS3.18 8.7.3.5.2 (checklist 5)."""
    said = read_accept([item, "image/png"])
    assert [r.media_type for r in said.ranges] == ["image/png"]
    assert reason in said.passed_over[0]


@given(st.lists(st.text(max_size=80), max_size=4))
def test_any_text_is_read_without_failing(headers: list[str]) -> None:
    for media_range in parse_accept(headers):
        assert 0 < media_range.quality <= 1
        assert "/" in media_range.media_type
