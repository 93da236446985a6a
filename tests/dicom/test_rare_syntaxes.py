"""Transfer syntaxes of which there are no specimens: the frames are made here, by others' encoders."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian

from app.cage import Cage
from app.dicom.transcoding import transcode
from app.errors import NotConvertible
from tests.dicom.pixel_tasks import stored, write_jpeg
from tests.factories import make_instance, make_pixels

PIXELS = make_pixels(64, 96)


def saved(kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(PIXELS).save(out, kind, **options)
    return out.getvalue()


def decoded(tmp_path: Path, syntax: str, photometric: str, frame: bytes) -> np.ndarray:
    instance = make_instance(rows=64, columns=96, jpeg=True, PhotometricInterpretation=photometric)
    write_jpeg(tmp_path / "in.dcm", instance, frame)
    file = replace(stored(tmp_path / "in.dcm"), transfer_syntax_uid=syntax)  # pydicom does not write all
    cage = Cage(1, 2**30, 20)
    try:
        cage.run(transcode, file, ExplicitVRLittleEndian, str(tmp_path / "out.dcm"))
    finally:
        cage.close()
    made = dcmread(tmp_path / "out.dcm")
    assert made.PhotometricInterpretation == "RGB"
    return made.pixel_array


@pytest.mark.parametrize("last", ["53", "55"])
def test_progressive_jpeg(last: str, tmp_path: Path) -> None:
    """Spectral selection and full progression (PS3.5, retired): what many cameras and phones write."""
    frame = saved("JPEG", quality=95, progressive=True)
    ours = decoded(tmp_path, f"1.2.840.10008.1.2.4.{last}", "YBR_FULL_422", frame)
    assert np.array_equal(ours, np.asarray(Image.open(io.BytesIO(frame))))


def test_encapsulated_uncompressed(tmp_path: Path) -> None:
    """PS3.5 A.4.11: a frame is a fragment."""
    assert np.array_equal(decoded(tmp_path, "1.2.840.10008.1.2.1.98", "RGB", PIXELS.tobytes()), PIXELS)


@pytest.mark.parametrize("last", ["92", "93"])
def test_part_2_of_frames_one_by_one(last: str, tmp_path: Path) -> None:
    frame = saved("JPEG2000", irreversible=False, no_jp2=True)
    assert np.array_equal(decoded(tmp_path, f"1.2.840.10008.1.2.4.{last}", "YBR_RCT", frame), PIXELS)


def test_part_2_of_many_components_is_refused(tmp_path: Path) -> None:
    """Frames that are compressed together are one stream with a component for each: not decoded here."""
    gray = io.BytesIO()
    Image.fromarray(PIXELS[:, :, 0]).save(gray, "JPEG2000", no_jp2=True)
    with pytest.raises(NotConvertible, match="of 1 samples; the data set says 96 x 64 of 3"):
        decoded(tmp_path, "1.2.840.10008.1.2.4.92", "RGB", gray.getvalue())
