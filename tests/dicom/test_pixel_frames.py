"""Which bytes are which frame, told by lengths, offset tables, fragments and beginnings of streams."""

import struct

import pytest

from app.dicom.frames import count_frames, frame_segments, needs_decoding
from app.dicom.scan import Scanned, scan
from app.errors import Unreadable
from tests.dicom.part10_bytes import EXPLICIT, JPEG, element, fragments, image, instance

SOI = b"\xff\xd8\xff\xe0"
MPEG4 = "1.2.840.10008.1.2.4.102"


def native(value: bytes, vr: str = "OB", **description: object) -> tuple[bytes, Scanned]:
    content = instance(*image(**description), element(0x7FE00010, vr, value))
    return content, scan(content)


def encapsulated(
    *values: bytes, frames: str = "", offset_table: bytes = b"", transfer_syntax_uid: str = JPEG
) -> list[bytes]:
    """The frames that are found."""
    content = instance(
        *image(frames=frames),
        fragments(*values, offset_table=offset_table),
        transfer_syntax_uid=transfer_syntax_uid,
    )
    return frames_of(content, scan(content))


def frames_of(content: bytes, scanned: Scanned) -> list[bytes]:
    return [
        b"".join(content[at : at + length] for at, length in frame_segments(scanned.frames, number))
        for number in range(1, count_frames(scanned.frames) + 1)
    ]


def starts(*positions: int, code: str = "I") -> bytes:
    return struct.pack(f"<{len(positions)}{code}", *positions)


class TestNative:
    @pytest.mark.parametrize(
        ("value", "description", "frames"),
        [
            (b"abcd", {}, [b"abcd"]),
            (b"abcdefgh", {"frames": "2"}, [b"abcd", b"efgh"]),
            (b"abcdefgh", {"bits": 16}, [b"abcdefgh"]),
            (b"abcdefghijkl", {"samples": 3, "photometric": "RGB"}, [b"abcdefghijkl"]),
            (b"abcdefgh", {"samples": 3, "photometric": "YBR_FULL_422"}, [b"abcdefgh"]),
            (b"abcdefghi\0", {"rows": 3, "columns": 3}, [b"abcdefghi"]),
            (b"ab", {"rows": 4, "columns": 4, "bits": 1}, [b"ab"]),
            (b"ab", {"rows": 3, "columns": 3, "bits": 1}, [b"ab"]),
            (b"abcd", {"rows": 4, "columns": 4, "bits": 1, "frames": "2"}, [b"ab", b"cd"]),
        ],
    )
    def test_frames_are_cut_by_their_length(self, value, description, frames):
        content, scanned = native(value, **description)
        assert frames_of(content, scanned) == frames
        assert scanned.warnings == ()

    def test_frames_that_begin_within_a_byte_need_decoding(self):
        _, scanned = native(b"abcd", rows=3, columns=3, bits=1, frames="3")
        assert needs_decoding(scanned.frames)
        assert count_frames(scanned.frames) == 3

    @pytest.mark.parametrize(("value", "frames"), [(b"abcdef", [b"abcd"]), (b"ab", [])])
    def test_whole_frames_of_short_pixel_data_are_there(self, value, frames):
        content, scanned = native(value, frames="1000000")
        assert frames_of(content, scanned) == frames
        assert "shorter than Rows x Columns" in scanned.warnings[0]

    def test_long_pixel_data_are_noted(self):
        content, scanned = native(b"abcdefgh")
        assert frames_of(content, scanned) == [b"abcd"]
        assert "longer" in scanned.warnings[0]

    @pytest.mark.parametrize("description", [{"rows": 0}, {"bits": 0}, {"bits": 128}, {"bits": 12}])
    def test_pixel_data_without_a_size_have_no_frames(self, description):
        _, scanned = native(b"abcd", **description)
        assert scanned.frames == b""
        assert "do not describe" in scanned.warnings[0]

    @pytest.mark.parametrize("frames", ["1A", "0", "-1"])
    def test_a_wrong_number_of_frames_is_one(self, frames):
        content, scanned = native(b"abcd", frames=frames)
        assert frames_of(content, scanned) == [b"abcd"]
        assert "taken as 1" in scanned.warnings[0]

    def test_a_file_cut_within_its_pixels_keeps_whole_frames(self):
        content, _ = native(b"abcdefgh", frames="2")
        cut = content[:-3]
        scanned = scan(cut)
        assert frames_of(cut, scanned) == [b"abcd"]
        assert "the file ends 3 bytes before the end of its pixel data" in scanned.warnings

    def test_a_file_cut_before_its_first_frame_is_whole_is_refused(self):
        with pytest.raises(Unreadable, match="ends within its pixel data, after 1 of 4 bytes"):
            scan(native(b"abcd")[0][:-3])

    @pytest.mark.parametrize(("tag", "vr", "bits"), [(0x7FE00008, "OF", 32), (0x7FE00009, "OD", 64)])
    def test_float_pixels(self, tag, vr, bits):
        content = instance(*image(1, 1, bits=bits), element(tag, vr, bytes(bits // 8)))
        assert frames_of(content, scan(content)) == [bytes(bits // 8)]

    def test_a_photometric_interpretation_of_another_vr_is_no_obstacle(self):
        content = instance(
            *image(samples=3)[:-1], element(0x00280004, "PN", "a=b"), element(0x7FE00010, "OB", bytes(12))
        )
        assert frames_of(content, scan(content)) == [bytes(12)]

    def test_native_pixels_under_a_compressed_transfer_syntax_are_no_frames(self):
        scanned = scan(instance(*image(), element(0x7FE00010, "OB", b"abcd"), transfer_syntax_uid=JPEG))
        assert scanned.frames == b""
        assert "not encapsulated" in scanned.warnings[0]


class TestEncapsulated:
    def test_one_fragment_a_frame(self):
        assert encapsulated(b"ab", b"cd", frames="2") == [b"ab", b"cd"]

    def test_all_fragments_of_the_only_frame(self):
        assert encapsulated(b"ab", b"cd") == [b"abcd"]

    def test_ten_thousand_fragments(self):
        values = [struct.pack("<I", number) for number in range(10_000)]
        assert encapsulated(*values, frames="10000") == values

    def test_a_basic_offset_table_tells_frames_apart(self):
        assert encapsulated(b"ab", b"cd", b"ef", frames="2", offset_table=starts(0, 10)) == [b"ab", b"cdef"]

    def test_an_extended_offset_table_does_too(self):
        content = instance(
            *image(frames="2"),
            element(0x7FE00001, "OV", starts(0, 20, code="Q")),
            element(0x7FE00002, "OV", starts(4, 2, code="Q")),
            fragments(b"ab", b"cd", b"ef"),
            transfer_syntax_uid=JPEG,
        )
        assert frames_of(content, scan(content)) == [b"abcd", b"ef"]

    @pytest.mark.parametrize(
        "table", [b"", starts(0, 11), starts(0, 20, 10), starts(13, 23), starts(0), b"abc\0\1"]
    )
    def test_beginnings_of_streams_tell_where_the_table_does_not(self, table):
        values = [SOI + b"a", b"bb", SOI + b"c"]
        assert encapsulated(*values, frames="2", offset_table=table) == [SOI + b"abb", SOI + b"c"]

    def test_what_nothing_tells_apart_is_no_frame(self):
        content = instance(*image(frames="2"), fragments(b"ab", b"cd", b"ef"), transfer_syntax_uid=JPEG)
        scanned = scan(content)
        assert scanned.frames == b""
        assert "cannot be told apart" in scanned.warnings[0]

    def test_fewer_fragments_than_frames(self):
        content = instance(*image(frames="1000000"), fragments(b"ab", b"cd"), transfer_syntax_uid=JPEG)
        scanned = scan(content)
        assert frames_of(content, scanned) == [b"ab", b"cd"]
        assert "Number of Frames is 1000000, but there are 2 fragments" in scanned.warnings

    def test_no_fragment(self):
        scanned = scan(instance(*image(), fragments(), transfer_syntax_uid=JPEG))
        assert scanned.frames == b""
        assert "no fragment" in scanned.warnings[0]

    def test_video_is_one_stream(self):
        assert encapsulated(b"ab", b"cd", b"ef", frames="500", transfer_syntax_uid=MPEG4) == [b"abcdef"]

    def test_a_missing_end_is_noted_and_a_cut_fragment_refused(self):
        content = instance(*image(), fragments(b"abcd", ended=False), transfer_syntax_uid=JPEG)
        scanned = scan(content)
        assert frames_of(content, scanned) == [b"abcd"]
        assert "no Sequence Delimitation Item" in scanned.warnings[0]
        with pytest.raises(Unreadable, match=r"fragment 1 of .* has 4 bytes, but 3 are left"):
            scan(content[:-1])

    def test_fragments_under_an_uncompressed_transfer_syntax_are_noted(self):
        scanned = scan(instance(*image(), fragments(b"ab"), transfer_syntax_uid=EXPLICIT))
        assert "uncompressed" in scanned.warnings[0]

    def test_rubbish_between_fragments_is_refused(self):
        content = instance(*image(), fragments(b"ab")[:-8] + b"x" * 8, transfer_syntax_uid=JPEG)
        with pytest.raises(Unreadable, match="neither a fragment nor its end"):
            scan(content)
