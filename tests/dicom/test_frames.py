"""Packing the places of frames and bulk values: what goes in comes out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.dicom.frames import (
    Segment,
    bulk_segment,
    count_frames,
    frame_segments,
    needs_decoding,
    pack_bulk,
    pack_decoded,
    pack_frames,
    pack_uniform,
)
from app.errors import NotFound

offsets = st.integers(0, 2**63)
segments = st.builds(Segment, offsets, offsets)


@given(st.lists(st.lists(segments, min_size=1, max_size=4), max_size=20))
def test_every_frame_comes_back(frames):
    packed = pack_frames(frames)
    assert count_frames(packed) == len(frames)
    assert [list(frame_segments(packed, number)) for number in range(1, len(frames) + 1)] == frames
    assert not needs_decoding(packed)


@given(st.lists(segments, min_size=1, max_size=20))
def test_one_segment_a_frame_takes_16_bytes_a_frame(frames):
    assert len(pack_frames([[segment] for segment in frames])) <= max(21, 1 + 16 * len(frames))


@given(st.integers(0, 2**40), st.integers(1, 2**30), st.integers(1, 1000), st.integers(1, 1000))
def test_uniform_frames_follow_one_another(offset, length, count, number):
    packed = pack_uniform(offset, length, count)
    assert count_frames(packed) == count
    if number > count:
        with pytest.raises(NotFound, match=f"no frame {number}"):
            frame_segments(packed, number)
    else:
        assert frame_segments(packed, number) == (Segment(offset + (number - 1) * length, length),)


@pytest.mark.parametrize(
    "packed",
    [
        pack_uniform(0, 1, 2),
        pack_frames([[Segment(0, 1)], [Segment(1, 1)]]),
        pack_frames([[Segment(0, 1), Segment(3, 1)], [Segment(1, 1)]]),
        pack_decoded(2),
    ],
    ids=["uniform", "one segment", "several segments", "decoded"],
)
@pytest.mark.parametrize("number", [-(2**70), -1, 0, 3, 2**70])
def test_numbers_out_of_range_are_not_found(packed, number):
    assert count_frames(packed) == 2
    with pytest.raises(NotFound, match="has 2"):
        frame_segments(packed, number)


def test_no_frames():
    for packed in (b"", pack_frames([]), pack_uniform(5, 5, 0), pack_decoded(0)):
        assert packed == b""
        assert count_frames(packed) == 0
        with pytest.raises(NotFound, match="no frame 1"):
            frame_segments(packed, 1)


def test_decoded_frames_are_counted_but_have_no_bytes():
    packed = pack_decoded(3)
    assert needs_decoding(packed)
    assert count_frames(packed) == 3
    with pytest.raises(NotFound, match="must be decoded"):
        frame_segments(packed, 2)


@given(st.dictionaries(st.from_regex(r"\A[0-9A-F]{8}(/[0-9]{1,3}/[0-9A-F]{8})?\Z"), segments))
def test_bulk_values_come_back(values):
    packed = pack_bulk(values)
    assert {path: bulk_segment(packed, path) for path in values} == values
    assert bulk_segment(packed, "no such path") is None
