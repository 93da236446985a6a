"""Monochrome frames are shown by the window, the look-up table or the range that PS3.3 gives them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_voi
from pydicom.sequence import Sequence

from app.cage import Cage
from app.dicom.grayscale import gray
from app.dicom.image_pixel import read_image_pixel
from app.dicom.rendering_options import Rendering, Window
from tests.dicom.pixel_tasks import BEST, near, picture, write_gray
from tests.factories import instance_bytes, make_instance

pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning", "ignore:.*:DeprecationWarning")

SPECIMENS = Path(__file__).parents[1] / "data" / "dicom"
RAMP = np.arange(256, dtype=np.uint16).reshape(16, 16) * 16


@pytest.fixture(scope="module")
def cage():
    cage = Cage(processes=2, memory_bytes=2**30, cpu_s=20)
    yield cage
    cage.close()


def levels(cage, path, parameters=BEST):
    return np.asarray(picture(cage, path, parameters)).astype(int)


def test_without_a_window_the_whole_range_is_shown(cage, tmp_path):
    shown = levels(cage, write_gray(tmp_path / "a", RAMP))
    near(shown, np.rint(RAMP / RAMP.max() * 255))
    near(levels(cage, write_gray(tmp_path / "b", RAMP, PhotometricInterpretation="MONOCHROME1")), 255 - shown)
    near(levels(cage, write_gray(tmp_path / "c", RAMP, PresentationLUTShape="INVERSE")), 255 - shown)


def test_eight_bits_are_shown_as_they_are(cage, tmp_path):
    samples = np.full((16, 16), 40, np.uint8)
    samples[:8] = 90
    near(levels(cage, write_gray(tmp_path / "a", samples)), samples)


def by_the_standard(values, center, width):
    """PS3.3 C.11.2.1.2.1, word by word."""
    shown = np.empty(values.shape)
    for index, x in np.ndenumerate(values):
        if x <= center - 0.5 - (width - 1) / 2:
            shown[index] = 0
        elif x > center - 0.5 + (width - 1) / 2:
            shown[index] = 255
        else:
            shown[index] = ((x - (center - 0.5)) / (width - 1) + 0.5) * 255
    return np.rint(shown)


def test_the_window_of_the_data_set_is_applied_after_rescaling(cage, tmp_path):
    window = {"WindowCenter": [100, 5], "WindowWidth": [800, 7], "RescaleSlope": 2, "RescaleIntercept": -1024}
    near(
        levels(cage, write_gray(tmp_path / "a", RAMP, **window)), by_the_standard(RAMP * 2.0 - 1024, 100, 800)
    )


def test_signed_values_and_unused_high_bits(cage, tmp_path):
    values = RAMP.astype(np.int16) - 2048
    window = {"WindowCenter": 0, "WindowWidth": 1000}
    near(levels(cage, write_gray(tmp_path / "a", values, **window)), by_the_standard(values, 0, 1000))
    dirty = (values & 0x0FFF) | 0x3000  # an overlay in the bits above
    path = write_gray(tmp_path / "b", dirty.astype(np.int16), BitsStored=12, HighBit=11, **window)
    near(levels(cage, path), by_the_standard(values, 0, 1000))


@given(st.floats(-3000, 9000), st.floats(1, 5000))
@settings(max_examples=60, deadline=None)
def test_a_linear_window_is_exact(center, width):
    header = Dataset()
    header.Rows = header.Columns = 16
    header.BitsAllocated = 16
    header.PhotometricInterpretation = "MONOCHROME2"
    image = read_image_pixel(header, "1.2.840.10008.1.2.1")
    if width == 1:
        expected = np.where(center - 0.5 < RAMP, 255.0, 0.0)
    else:
        expected = by_the_standard(RAMP, center, width)
    assert np.abs(gray(RAMP, header, image, 1, Window(center, width)) - expected).max() <= 1
    steep = gray(RAMP, header, image, 1, Window(1608.5, 33))  # 1600 and 1616 are a quarter from its ends
    assert steep.reshape(-1)[99:103].tolist() == [0, 64, 191, 255]


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (Window(2000, 1000), by_the_standard(RAMP, 2000, 1000)),
        (Window(2000, 1), np.where(RAMP > 1999.5, 255, 0)),
        (Window(2000, 1000, "linear-exact"), np.clip((RAMP - 2000.0) / 1000 + 0.5, 0, 1) * 255),
        (Window(2000, 1000, "sigmoid"), 255 / (1 + np.exp(-4 * (RAMP - 2000.0) / 1000))),
    ],
)
def test_a_window_asked_for_goes_before_the_stored_one(window, expected, cage, tmp_path):
    path = write_gray(tmp_path / "a", RAMP, WindowCenter=10, WindowWidth=10)
    near(levels(cage, path, Rendering(quality=100, window=window)), np.rint(expected))


def test_a_look_up_table_is_applied(cage):
    source = dcmread(SPECIMENS / "valid/vlut_04.dcm")
    assert "VOILUTSequence" in source
    table = apply_voi(source.pixel_array, source)
    top = 2 ** source.VOILUTSequence[0].LUTDescriptor[2] - 1
    near(levels(cage, SPECIMENS / "valid/vlut_04.dcm"), np.rint(table / top * 255), 4)


def test_functional_groups_keep_a_window_for_each_frame(cage, tmp_path):
    def group(center, slope):
        item, voi, rescale = Dataset(), Dataset(), Dataset()
        voi.WindowCenter, voi.WindowWidth = center, 100
        rescale.RescaleSlope, rescale.RescaleIntercept = slope, 0
        item.FrameVOILUTSequence = Sequence([voi])
        item.PixelValueTransformationSequence = Sequence([rescale])
        return item

    instance = make_instance(rows=16, columns=16)
    del instance.PlanarConfiguration
    instance.SamplesPerPixel, instance.PhotometricInterpretation, instance.NumberOfFrames = (
        1,
        "MONOCHROME2",
        2,
    )
    instance.BitsAllocated, instance.BitsStored, instance.HighBit = 16, 16, 15
    instance.PixelData = RAMP.tobytes() * 2
    instance["PixelData"].VR = "OW"
    instance.SharedFunctionalGroupsSequence = Sequence([Dataset()])
    instance.PerFrameFunctionalGroupsSequence = Sequence([group(1000, 1), group(6000, 2)])
    (tmp_path / "a").write_bytes(instance_bytes(instance))
    near(picture(cage, tmp_path / "a", number=1), by_the_standard(RAMP, 1000, 100))
    near(picture(cage, tmp_path / "a", number=2), by_the_standard(RAMP * 2, 6000, 100))


def test_floating_point_pixels(cage):
    source = dcmread(SPECIMENS / "valid/parametric_map_float.dcm")
    shown = levels(cage, SPECIMENS / "valid/parametric_map_float.dcm")
    assert shown.shape == source.pixel_array.shape
    assert shown.max() > shown.min()
