"""What we show is what an independent renderer shows, within 2 levels of 255.

DCMTK's dcm2pnm (dcmj2pnm for JPEG, dcml2pnm for JPEG-LS, dcmp2pgm for presentation states) runs for real.
"""

import shutil
import subprocess
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from app.dicom.presented import render_presented
from app.dicom.rendering import render
from app.dicom.rendering_options import PNG, Rendering
from tests.dicom.pixel_tasks import stored, write_gray
from tests.dicom.states import item, make_state, write_state

pytestmark = [
    pytest.mark.skipif(shutil.which("dcm2pnm") is None, reason="Debian package dcmtk is not installed"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning"),
]

SPECIMENS = Path(__file__).parents[1] / "data" / "dicom"
AS_THEY_ARE = Rendering(media_type=PNG, icc_profile="no")
FIRST_WINDOW, FIRST_TABLE, WHOLE_RANGE = ("+Wi", "1"), ("+Wl", "1"), ("+Wm",)

# Every photometric interpretation in every transfer syntax that there is a file of and DCMTK reads.
CASES = [
    ("dcm2pnm", "valid/MR_small_implicit.dcm", FIRST_WINDOW),
    ("dcm2pnm", "valid/MR_small_bigendian.dcm", FIRST_WINDOW),
    ("dcm2pnm", "valid/MR_small_RLE.dcm", FIRST_WINDOW),
    ("dcml2pnm", "valid/MR_small_jpeg_ls_lossless.dcm", FIRST_WINDOW),
    ("dcm2pnm", "valid/CT_small.dcm", WHOLE_RANGE),
    ("dcm2pnm", "valid/emri_small_RLE.dcm", WHOLE_RANGE),
    ("dcm2pnm", "valid/rtdose.dcm", WHOLE_RANGE),
    ("dcm2pnm", "valid/image_dfl.dcm", ()),
    ("dcm2pnm", "valid/liver_expb_1frame.dcm", WHOLE_RANGE),
    ("dcm2pnm", "valid/examples_overlay.dcm", FIRST_WINDOW),
    ("dcm2pnm", "valid/vlut_04.dcm", FIRST_TABLE),
    ("dcmj2pnm", "valid/JPEG-LL.dcm", WHOLE_RANGE),
    ("dcmj2pnm", "valid/JPEG-lossy.dcm", WHOLE_RANGE),
    ("dcmj2pnm", "valid/sample-op.dcm", ()),
    ("dcm2pnm", "valid/examples_palette.dcm", ()),
    ("dcm2pnm", "valid/OBXXXX1A_rle_2frame.dcm", ()),
    ("dcm2pnm", "valid/seg_image_sm_control_labelmap_palette_color.dcm", ()),
    ("dcm2pnm", "valid/color-pl.dcm", ()),
    ("dcm2pnm", "valid/SC_rgb_small_odd_big_endian.dcm", ()),
    ("dcm2pnm", "valid/SC_rgb_rle_2frame.dcm", ()),
    ("dcm2pnm", "valid/SC_rgb_rle_16bit_2frame.dcm", ()),
    ("dcm2pnm", "valid/SC_ybr_full_422_uncompressed.dcm", ()),
    ("dcmj2pnm", "valid/SC_rgb_jpeg_gdcm.dcm", ()),
    ("dcmj2pnm", "valid/SC_rgb_jpeg_app14_dcmd.dcm", ()),
    ("dcmj2pnm", "valid/SC_rgb_dcmtk__eb_cy_s4.dcm", ()),
    ("dcmj2pnm", "valid/SC_rgb_dcmtk__eb_cy_np.dcm", ()),
    ("dcmj2pnm", "valid/us_jpeg_10frames.dcm", ()),
    ("dcmj2pnm", "derived/derm_multiframe_jpeg.dcm", ()),
    ("dcml2pnm", "valid/sm_image_jpegls.dcm", ()),
    ("dcml2pnm", "derived/jls_near_rgb.dcm", ()),
    ("dcml2pnm", "derived/jls_rgb_ilv0.dcm", ()),
]


def by_dcmtk(program, *arguments):
    """Return the picture that a program of DCMTK makes."""
    out = Path(arguments[-1])
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert out.exists(), done.stderr
    return np.asarray(Image.open(out)).astype(int)


def ours(path, rendering=AS_THEY_ARE):
    return np.asarray(Image.open(BytesIO(render(stored(path), (1,), rendering)))).astype(int)


def differ_by(shown, expected):
    assert shown.shape == expected.shape
    return np.abs(shown - expected).max()


@pytest.mark.parametrize(("program", "name", "window"), CASES, ids=[name for _, name, _ in CASES])
def test_a_picture_is_that_of_dcmtk(program, name, window, tmp_path):
    """PS3.18 8.7.4 (checklist 44): at most 8 bits a channel, of every photometric interpretation."""
    path = SPECIMENS / name
    assert differ_by(ours(path), by_dcmtk(program, *window, path, tmp_path / "out.pnm")) <= 2


WINDOW = {"WindowCenter": 2000, "WindowWidth": 1500}
RAMP = (np.arange(4096, dtype=np.uint16) * 7 % 4096).reshape(64, 64)


def table(first, entries, bits):
    return item(
        LUTDescriptor=[len(entries), first, bits],
        LUTData=np.asarray(entries, "<u2").tobytes(),
        ModalityLUTType="US",
    )


@pytest.mark.parametrize(
    ("attributes", "window"),
    [
        (
            {"PhotometricInterpretation": "MONOCHROME1", "WindowCenter": 2000, "WindowWidth": 1500},
            FIRST_WINDOW,
        ),
        ({"RescaleSlope": 2, "RescaleIntercept": -1024, "WindowCenter": 9, "WindowWidth": 800}, FIRST_WINDOW),
        ({"WindowCenter": 2000, "WindowWidth": 700, "VOILUTFunction": "SIGMOID"}, FIRST_WINDOW),
        ({"WindowCenter": [9, 2000], "WindowWidth": [9, 1500]}, ("+Wi", "1")),
        ({"ModalityLUTSequence": [table(1024, range(0, 65536, 32), 16)]}, WHOLE_RANGE),
        ({"VOILUTSequence": [table(1000, range(0, 4096, 2), 12)]}, FIRST_TABLE),
        ({"PresentationLUTShape": "INVERSE", **WINDOW}, FIRST_WINDOW),
    ],
    ids=["inverse", "rescale", "sigmoid", "windows", "modality table", "voi table", "shape"],
)
def test_the_gray_pipeline_is_that_of_dcmtk(attributes, window, tmp_path):
    """PS3.3 C.11.1, C.11.2 (checklist 44)."""
    path = write_gray(tmp_path / "in.dcm", RAMP, BitsStored=12, HighBit=11, **attributes)
    assert differ_by(ours(path), by_dcmtk("dcm2pnm", *window, path, tmp_path / "out.pnm")) <= 2


def gray_image(path):
    samples = np.arange(64 * 96, dtype=np.uint16).reshape(64, 96) * 5 % 4096
    return write_gray(path, samples, BitsStored=12, HighBit=11, SOPClassUID="1.2.840.10008.5.1.4.1.1.7")


STATES = {
    "identity": {},
    "window": {"SoftcopyVOILUTSequence": [item(**WINDOW)]},
    "rescale": {
        "RescaleSlope": 2,
        "RescaleIntercept": -1000,
        "RescaleType": "US",
        "SoftcopyVOILUTSequence": [item(WindowCenter=1000, WindowWidth=3000)],
    },
    "inverse": {"PresentationLUTShape": "INVERSE", "SoftcopyVOILUTSequence": [item(**WINDOW)]},
    "rotated": {"ImageRotation": 90, "ImageHorizontalFlip": "N"},
    "rotated and flipped": {"ImageRotation": 270, "ImageHorizontalFlip": "Y"},
}


@pytest.mark.parametrize("values", STATES.values(), ids=STATES)
def test_a_presentation_state_is_applied_as_dcmtk_does(values, tmp_path):
    """PS3.18 8.7.4, PS3.4 Annex N (checklist 51)."""
    image = gray_image(tmp_path / "in.dcm")
    state = write_state(tmp_path / "pr.dcm", make_state(dcmread(image), **values))
    shown = render_presented(stored(state), stored(image), dcmread(image).SOPInstanceUID, 1, AS_THEY_ARE)
    expected = by_dcmtk("dcmp2pgm", "-p", state, image, tmp_path / "out.pgm")
    assert differ_by(np.asarray(Image.open(BytesIO(shown))).astype(int), expected) <= 2
