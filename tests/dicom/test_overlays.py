"""Overlays in every form they are kept in, and text burned in (PS3.3 C.9.2, PS3.18 8.3.5.1.1)."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset

from app.dicom.annotation import icon, legible
from app.dicom.overlays import Overlay, overlays
from app.dicom.rendering import render, thumbnail
from app.dicom.rendering_options import PNG, Rendering
from tests.dicom.pixel_tasks import stored, write_gray
from tests.factories import make_instance, write_instance

FLAT = np.full((32, 48), 90, np.uint8)
SPECIMENS = Path(__file__).parents[1] / "data" / "dicom"


def add_overlay(header, bits, origin=(1, 1), frames=None, frame_origin=None, group=0x6000):
    data = np.packbits(bits.reshape(-1), bitorder="little").tobytes()
    elements = [
        (0x0010, "US", bits.shape[-2]),
        (0x0011, "US", bits.shape[-1]),
        (0x0040, "CS", "G"),
        (0x0050, "SS", list(origin)),
        (0x0100, "US", 1),
        (0x0102, "US", 0),
        (0x3000, "OW", data + b"\0" * (len(data) % 2)),
    ]
    if frames:
        elements += [(0x0015, "IS", str(frames)), (0x0051, "US", frame_origin or 1)]
    for element, vr, value in elements:
        header.add_new((group, element), vr, value)
    return header


def shown(path, **options):
    content = render(stored(path), (1,), Rendering(media_type=PNG, **options))
    return np.asarray(Image.open(BytesIO(content))).astype(int)


@pytest.mark.parametrize("origin", [(1, 1), (5, 9), (-3, -4), (30, 40), (500, 500), (-500, 1)])
def test_a_plane_lies_where_its_origin_says(origin, tmp_path):
    """PS3.3 C.9.2.1.1 (checklist 44)."""
    bits = np.zeros((10, 14), np.uint8)
    bits[2:6, 3:9] = 1
    path = write_gray(tmp_path / "in.dcm", FLAT)
    write_instance(path, add_overlay(dcmread(path), bits, origin))
    expected = FLAT.astype(int)
    for row, column in np.argwhere(bits) + np.array(origin) - 1:
        if 0 <= row < 32 and 0 <= column < 48:
            expected[row, column] = 255
    assert np.array_equal(shown(path), expected)


def test_planes_of_several_frames_belong_to_one_each(tmp_path):
    bits = np.stack([np.zeros((8, 8), np.uint8), np.ones((8, 8), np.uint8)])
    header = add_overlay(Dataset(), bits, frames=2, frame_origin=3)
    assert overlays(header, 2) == []
    assert not overlays(header, 3)[0].bits.any()
    assert overlays(header, 4)[0].bits.all()
    assert overlays(header, 5) == []


def test_a_plane_in_the_high_bits(tmp_path):
    """PS3.3 C.9.2 (checklist 44): retired, and still met."""
    samples = np.full((32, 48), 1000, np.uint16)
    samples[4:8, 4:8] |= 1 << 14
    header = dcmread(write_gray(tmp_path / "in.dcm", samples, BitsStored=12, HighBit=11))
    header.WindowCenter, header.WindowWidth = 1000, 2000
    for element, vr, value in (
        (0x0010, "US", 32),
        (0x0011, "US", 48),
        (0x0100, "US", 16),
        (0x0102, "US", 14),
    ):
        header.add_new((0x6002, element), vr, value)
    picture = shown(write_instance(tmp_path / "in.dcm", header))
    assert (picture[4:8, 4:8] == 255).all()
    assert 120 < picture[20, 20] < 135


@given(st.binary(max_size=40), st.integers(0, 40), st.integers(0, 40), st.integers(-60000, 60000))
def test_broken_planes_are_left_out(data, rows, columns, origin):
    header = Dataset()
    for element, vr, value in ((0x0010, "US", rows), (0x0011, "US", columns), (0x3000, "OW", data)):
        header.add_new((0x6000, element), vr, value)
    for plane in overlays(header, 1):
        moved = Overlay(plane.group, origin, -origin, plane.bits)
        assert moved.on(7, 9).shape == (7, 9)


def test_a_thumbnail_has_no_overlay(tmp_path):
    """PS3.18 10.4.1.1.4 (checklist 52): an overlay may hold a name."""
    path = write_gray(tmp_path / "in.dcm", FLAT)
    write_instance(path, add_overlay(dcmread(path), np.ones((32, 48), np.uint8)))
    small = np.asarray(Image.open(BytesIO(thumbnail(stored(path), 1, 128, 128))))
    assert np.abs(small.astype(int) - 90).max() <= 2
    assert (shown(path) == 255).all()


def test_a_thumbnail_of_what_has_a_name_burned_in_is_a_placeholder(tmp_path):
    """PS3.18 10.4.1.1.4 (checklist 52)."""
    path = write_instance(tmp_path / "in.dcm", make_instance(rows=64, columns=96, BurnedInAnnotation="YES"))
    small = Image.open(BytesIO(thumbnail(stored(path), 1, 128, 128)))
    assert (small.mode, small.size) == ("L", (128, 128))


# --- burned in on demand -------------------------------------------------------------------------------


def photograph(path):
    return write_instance(path, make_instance(rows=240, columns=320, Manufacturer="Lens & Co"))


@pytest.mark.parametrize(
    ("annotations", "top", "bottom"),
    [
        ({"patient"}, True, False),
        ({"technique"}, False, True),
        ({"patient", "technique"}, True, True),
        ({}, False, False),
    ],
)
def test_what_is_asked_for_is_burned_in(annotations, top, bottom, tmp_path):
    """PS3.18 8.3.5.1.1 (checklist 49): and nothing where nothing is asked for."""
    path = photograph(tmp_path / "in.dcm")
    changed = (shown(path, annotations=frozenset(annotations)) != shown(path)).any(axis=2)
    assert changed[:80].any() == top
    assert changed[160:].any() == bottom


def test_annotation_stays_legible_at_every_size(tmp_path):
    from app.dicom.rendering_options import Viewport

    path = photograph(tmp_path / "in.dcm")
    small = {"viewport": Viewport(80, 60)}
    changed = shown(path, annotations=frozenset({"patient"}), **small) != shown(path, **small)
    assert changed.any()


@given(st.text(max_size=200))
def test_every_text_can_be_written(text):
    assert len(legible(text)) <= 64
    assert legible(text).isprintable() or not legible(text)


@given(st.integers(1, 300), st.integers(1, 300))
def test_a_placeholder_fits(width, height):
    assert icon("Report", width, height).size == (min(width, height),) * 2
