"""Look-up tables and palettes of every kind (PS3.3 C.7.6.3.1.5, C.7.6.19, C.7.9.2, C.11.1.1)."""

from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom.dataset import Dataset

from app.dicom.lookup_tables import read_palette, read_table
from app.dicom.rendering import render
from app.dicom.rendering_options import PNG, Rendering
from app.errors import NotConvertible
from tests.dicom.pixel_tasks import stored, write_gray

SPECIMENS = Path(__file__).parents[1] / "data" / "dicom"


def table(descriptor, data):
    item = Dataset()
    item.LUTDescriptor = descriptor
    item.add_new("LUTData", "OW" if isinstance(data, bytes) else "US", data)
    return item


def palette(segments, entries, bits=16):
    header = Dataset()
    header.RedPaletteColorLookupTableDescriptor = [entries, 0, bits]
    kind = "<u2" if bits > 8 else "u1"
    header.SegmentedRedPaletteColorLookupTableData = np.array(segments, kind).tobytes()
    return read_palette(header, "Red", is_signed=False, is_big_endian=False)


@given(st.integers(-32768, 32767), st.lists(st.integers(0, 4095), min_size=1, max_size=50), st.data())
def test_inputs_beyond_the_ends_take_the_first_and_the_last(first, entries, data):
    made = read_table(
        table([len(entries), first & 0xFFFF, 12], np.array(entries, "<u2").tobytes()),
        is_signed=True,
        is_big_endian=False,
    )
    value = data.draw(st.integers(-70000, 70000))
    assert made.of(np.array([value]))[0] == entries[min(max(value - first, 0), len(entries) - 1)]


def test_entries_of_a_byte_stand_alone_or_in_words():
    entries = list(range(0, 200, 4))
    packed = read_table(table([50, 0, 8], bytes(entries)), is_signed=False, is_big_endian=False)
    words = read_table(table([50, 0, 8], entries), is_signed=False, is_big_endian=False)
    assert packed.entries.tolist() == words.entries.tolist() == entries


def test_big_endian_words_are_turned_round():
    made = read_table(table([2, 0, 16], b"\x12\x34\xff\x00"), is_signed=False, is_big_endian=True)
    assert made.entries.tolist() == [0x1234, 0xFF00]


@pytest.mark.parametrize(
    ("segments", "entries", "bits", "expected"),
    [
        ([0, 3, 5, 6, 7], 3, 16, [5, 6, 7]),
        ([0, 1, 0, 1, 4, 400], 5, 16, [0, 100, 200, 300, 400]),
        ([0, 2, 9, 8, 1, 2, 10, 2, 2, 0, 0], 8, 16, [9, 8, 9, 10, 9, 8, 9, 10]),
        ([0, 1, 7, 1, 3, 10, 2, 1, 6, 0], 7, 16, [7, 8, 9, 10, 10, 10, 10]),  # from byte 6 on
        ([0, 2, 9, 8, 2, 1, 0, 0, 0, 0, 0, 1, 3], 5, 8, [9, 8, 9, 8, 3]),
    ],
)
def test_segments_are_expanded(segments, entries, bits, expected):
    """PS3.3 C.7.9.2 (checklist 44)."""
    assert palette(segments, entries, bits).entries.tolist() == expected


@given(st.lists(st.integers(0, 300), max_size=60))
def test_broken_segments_end_in_entries_or_a_sentence(segments):
    with suppress(NotConvertible):
        assert 1 <= len(palette(segments, 64).entries) <= 64


@pytest.mark.parametrize("descriptor", [None, [3], [3, 0, 40], ["x", 0, 8]])
def test_a_descriptor_that_cannot_be_is_refused(descriptor):
    item = Dataset()
    item.LUTData = b"\0" * 6
    if descriptor and "x" not in descriptor:
        item.LUTDescriptor = descriptor
    with pytest.raises(NotConvertible):
        read_table(item, is_signed=False, is_big_endian=False)


def test_a_segmented_palette_of_a_real_image():
    shown = render(stored(SPECIMENS / "valid/gdcm-US-ALOKA-16.dcm"), (1,), Rendering(media_type=PNG))
    assert np.asarray(Image.open(BytesIO(shown))).std() > 10


def test_a_supplemental_palette_colours_the_highest_values(tmp_path):
    """PS3.3 C.7.6.19 (checklist 44): gray below its first value, colour from there on."""
    tables = {
        f"{name}PaletteColorLookupTableDescriptor": [2, 200, 16] for name in ("Red", "Green", "Blue")
    } | {
        "RedPaletteColorLookupTableData": np.array([0xFFFF, 0], "<u2").tobytes(),
        "GreenPaletteColorLookupTableData": np.array([0, 0xFFFF], "<u2").tobytes(),
        "BluePaletteColorLookupTableData": np.array([0, 0], "<u2").tobytes(),
    }
    samples = np.array([[10, 199], [200, 201]], np.uint8).repeat(8, 0).repeat(8, 1)
    path = write_gray(tmp_path / "in.dcm", samples, PixelPresentation="COLOR", **tables)
    shown = np.asarray(Image.open(BytesIO(render(stored(path), (1,), Rendering(media_type=PNG)))))
    assert shown[[0, 0, 8, 8], [0, 8, 0, 8]].tolist() == [
        [10, 10, 10],
        [199, 199, 199],
        [255, 0, 0],
        [0, 255, 0],
    ]
