"""What is decoded here is, sample for sample, what programs of other people decode.

DCMTK decodes RLE, JPEG and JPEG-LS; Pillow JPEG 2000 and High-Throughput JPEG 2000. JPEG decoders may differ
by the rounding of their cosine transform; those two do not.
"""

import io
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import generate_frames
from pydicom.uid import ExplicitVRLittleEndian

from app.cage import Cage
from app.dicom.transcoding import transcode
from tests.dicom.pixel_tasks import stored
from tests.dicom.test_transcoding import CONFORMING, NOT_DECODABLE, SPECIMENS

pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning", "ignore:.*:DeprecationWarning")

JPEG = "1.2.840.10008.1.2.4."
DCMTK = {
    "1.2.840.10008.1.2.5": "dcmdrle",
    **dict.fromkeys((f"{JPEG}{last}" for last in (50, 51, 57, 70)), "dcmdjpeg"),
    **dict.fromkeys((f"{JPEG}{last}" for last in (80, 81)), "dcmdjpls"),
}
JPEG_2000 = {f"{JPEG}{last}" for last in (90, 91, 201, 202, 203)}
SYNTAXES = {
    name: dcmread(SPECIMENS / name, stop_before_pixels=True).file_meta.TransferSyntaxUID
    for name in CONFORMING
    if name not in NOT_DECODABLE
}


@pytest.fixture(scope="module")
def cage():
    cage = Cage(processes=1, memory_bytes=2**30, cpu_s=20)
    yield cage
    cage.close()


def decoded(cage, name: str, tmp_path: Path) -> np.ndarray:
    cage.run(transcode, stored(SPECIMENS / name), ExplicitVRLittleEndian, str(tmp_path / "ours.dcm"))
    return dcmread(tmp_path / "ours.dcm").pixel_array


@pytest.mark.parametrize("name", [name for name, syntax in SYNTAXES.items() if syntax in DCMTK])
def test_decoded_as_by_dcmtk(name: str, cage: Cage, tmp_path: Path) -> None:
    """Photometric Interpretation too: decoded colour is RGB, for DCMTK as for us (checklist 40)."""
    subprocess.run([DCMTK[SYNTAXES[name]], SPECIMENS / name, tmp_path / "theirs.dcm"], check=True)
    theirs = dcmread(tmp_path / "theirs.dcm")
    assert np.array_equal(decoded(cage, name, tmp_path), theirs.pixel_array)
    assert dcmread(tmp_path / "ours.dcm").PhotometricInterpretation == theirs.PhotometricInterpretation


NOT_FOR_PILLOW = {"valid/GDCMJ2K_TextGBR.dcm"}  # its boxes are not as ISO/IEC 15444-1 wants them


@pytest.mark.parametrize(
    "name", [name for name, syntax in SYNTAXES.items() if syntax in JPEG_2000 and name not in NOT_FOR_PILLOW]
)
def test_decoded_as_by_pillow(name: str, cage: Cage, tmp_path: Path) -> None:
    source = dcmread(SPECIMENS / name)
    if "PixelData" not in source:
        pytest.skip("it has no pixels")
    ours = decoded(cage, name, tmp_path).reshape(-1, source.Rows, source.Columns, source.SamplesPerPixel)
    frames = list(generate_frames(source.PixelData, number_of_frames=len(ours)))
    for number in {0, len(frames) - 1}:
        theirs = np.asarray(Image.open(io.BytesIO(frames[number])))
        assert np.array_equal(as_pillow_has_it(ours[number].squeeze(), frames[number]), theirs)


def as_pillow_has_it(samples: np.ndarray, frame: bytes) -> np.ndarray:
    """Signed samples counted from 0, and those of more than 8 bits moved up to the top of 16."""
    precision = frame[frame.index(b"\xff\x4f\xff\x51") + 42]  # Ssiz (T.800 A.5.1)
    bits = (precision & 0x7F) + 1
    samples = samples.astype(np.int64) + (1 << (bits - 1) if precision & 0x80 else 0)
    return samples << (16 - bits if bits > 8 else 0)
