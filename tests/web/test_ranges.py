"""Ranges of what is sent in one piece (RFC 9110 14; PS3.18 checklist 38)."""

import re

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.dicom.frames import Segment
from app.web.ranges import MOST_RANGES, cut, read_ranges
from tests.web.conftest import Archive
from tests.web.multiparts import parts

STORED = "application/dicom; transfer-syntax=*"
WAVEFORM = "54000100/0/54001010"


def ask(archive: Archive, path: str, accept: str | None, **fields: str) -> httpx.Response:
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    return archive.client.get(path, headers={"Accept": accept or "*/*", **headers})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("bytes=0-9", [(0, 10)]),
        ("bytes = 90-", [(90, 10)]),
        ("bytes=-10", [(90, 10)]),
        ("bytes=-1000", [(0, 100)]),
        ("BYTES=95-1000", [(95, 5)]),
        ("bytes=0-0, 5-6 ,-1", [(0, 1), (5, 2), (99, 1)]),
        ("bytes=,0-0", [(0, 1)]),
        ("bytes=0-1,100-", [(0, 2)]),
        ("bytes=100-", []),
        ("bytes=-0", []),
        ("bytes=200-300,400-", []),
        ("bytes=5-4", None),
        ("bytes=5-6,0-1", None),
        ("bytes=0-6,5-9", None),
        ("bytes=a-b", None),
        ("bytes=--5", None),
        ("bytes=-", None),
        ("bytes=", None),
        ("bytes= , ", None),
        ("frames=1-2", None),
        ("bytes 0-9", None),
        ("bytes=0-0" + ",1-1" * 99, None),
    ],
)
def test_range_fields(text: str, found: list[tuple[int, int]] | None) -> None:
    """RFC 9110 14.1.1, 14.2 (checklist 38): the whole where it is odd, 416 where it is beyond the end."""
    assert read_ranges(text, 100) == (None if found is None else [Segment(*one) for one in found])


@given(st.text(max_size=60), st.integers(0, 10**6))
def test_no_range_field_goes_beyond_the_content(text: str, length: int) -> None:
    for found in (read_ranges(text, length), read_ranges(f"bytes={text}", length)):
        assert found is None or len(found) <= MOST_RANGES
        assert all(0 <= one.offset < one.offset + one.length <= length for one in found or [])


@given(st.lists(st.binary(max_size=20), max_size=6), st.data())
def test_a_cut_is_what_a_slice_of_the_whole_is(pieces: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(pieces)
    start = data.draw(st.integers(0, len(whole)))
    length = data.draw(st.integers(0, len(whole) - start))
    assert b"".join(cut(pieces, Segment(start, length))) == whole[start : start + length]


@pytest.mark.parametrize(
    ("name", "leaf", "accept"),
    [
        ("p1", "", STORED),
        ("bare", "", STORED),
        ("p1", "/frames/1", "image/jpeg"),
        ("mr_minimal", "", STORED),
        ("color-pl", "/frames/1", "application/octet-stream"),
        ("JPEG-LL", "/frames/1", "application/octet-stream"),
        ("color-pl", "/bulkdata/7FE00010", None),
        ("waveform_ecg", f"/bulkdata/{WAVEFORM}", "application/octet-stream"),
    ],
)
def test_a_range_is_those_bytes(archive: Archive, name: str, leaf: str, accept: str | None) -> None:
    """PS3.18 8.4.1, RFC 9110 14.2 (checklist 38): 206 with Content-Range; a suffix, an open end, several."""
    path = archive.held[name].path + leaf
    whole = ask(archive, path, accept)
    assert (whole.status_code, whole.headers["accept-ranges"]) == (200, "bytes")
    size = len(whole.content)
    for text, start, stop in (
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=130-140", 130, 141),
        ("bytes=-7", size - 7, size),
        (f"bytes={size - 3}-{size + 99}", size - 3, size),
        ("bytes=2-", 2, size),
    ):
        answer = ask(archive, path, accept, Range=text)
        assert answer.status_code == 206
        assert answer.content == whole.content[start:stop]
        assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
        assert answer.headers["content-type"] == whole.headers["content-type"]
        assert answer.headers["etag"] == whole.headers["etag"]
    beyond = ask(archive, path, accept, Range=f"bytes={size}-")
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")
    assert ask(archive, path, accept, Range="lines=1-2").content == whole.content
    several = ask(archive, path, accept, Range="bytes=0-3,8-9,-2")
    assert several.status_code == 206
    boundary = several.headers["content-type"].removeprefix("multipart/byteranges; boundary=")
    found = several.content.split(f"--{boundary}".encode())
    assert (found[0], found[-1]) == (b"", b"--\r\n")
    for part, (start, stop) in zip(found[1:-1], ((0, 4), (8, 10), (size - 2, size)), strict=True):
        head, _, content = part.removesuffix(b"\r\n").partition(b"\r\n\r\n")
        assert f"Content-Range: bytes {start}-{stop - 1}/{size}" in head.decode()
        assert content == whole.content[start:stop]


def test_if_range_guards_against_another_file(archive: Archive, photo_path: str) -> None:
    """RFC 9110 13.1.5 (checklist 38, 42): strong tag or the very date, else the whole."""
    whole = ask(archive, photo_path, STORED)
    tag, modified = whole.headers["etag"], whole.headers["last-modified"]
    for validator, status in (
        (tag, 206),
        (modified, 206),
        (f"W/{tag}", 200),
        ('"other"', 200),
        ("Sat, 29 Oct 1994 19:43:31 GMT", 200),
    ):
        answer = ask(archive, photo_path, STORED, Range="bytes=0-9", If_Range=validator)
        assert answer.status_code == status, validator
    known = ask(archive, photo_path, STORED, Range="bytes=0-9", If_None_Match=tag)
    assert known.status_code == 304


def test_a_range_of_a_value_in_a_multipart_is_of_the_value(archive: Archive) -> None:
    """PS3.18 10.4.1.1.5 (checklist 38): what Python's client asks for with byte_range."""
    path = f"{archive.held['color-pl'].path}/bulkdata/7FE00010"
    whole = ask(archive, path, "application/octet-stream").content
    answer = ask(archive, path, 'multipart/related; type="*/*"', Range="bytes=5-14")
    assert answer.status_code == 206
    ((headers, content),) = parts(answer)
    assert content == whole[5:15]
    assert headers["Content-Range"] == f"bytes 5-14/{len(whole)}"


def test_a_range_of_several_instances_is_passed_over(archive: Archive) -> None:
    """RFC 9110 14.2 (checklist 38): a server may ignore it, and says so by not offering it."""
    path = re.sub("/series/.*", "", archive.held["p1"].path)
    answer = ask(archive, path, None, Range="bytes=0-9")
    assert answer.status_code == 200
    assert "accept-ranges" not in answer.headers
