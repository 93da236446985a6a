"""Specimens come out as Explicit VR Little Endian with the pixels that other programs decode."""

import hashlib
import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread, dcmwrite
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from app.cage import Cage
from app.dicom.scan import scan
from app.dicom.transcoding import transcode, transcode_frames
from tests.dicom.pixel_tasks import stored, write_jpeg
from tests.factories import instance_bytes, make_instance, make_pixels

# Real specimens have oddities that pydicom remarks on.
pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning", "ignore:.*:DeprecationWarning")

DATA = Path(__file__).parents[1] / "data"
SPECIMENS = DATA / "dicom"
DECODED = json.loads((DATA / "pixels" / "decoded.json").read_text())
NO_PIXELS_ELSEWHERE = {
    "valid/GDCMJ2K_TextGBR.dcm",  # pydicom stumbles over it
    "valid/liver_deflate.dcm",  # a transfer syntax younger than pydicom
    "derived/htj2k_lossy_rgb.dcm",
}
NOT_DECODABLE = {
    # Its size field holds the bytes of a delimiter; no decoder reads it.
    "valid/JPEG2000-embedded-sequence-delimiter.dcm",
}
CONFORMING = sorted(
    path.relative_to(SPECIMENS).as_posix()
    for folder in ("valid", "derived")
    for path in (SPECIMENS / folder).glob("*.dcm")
    if path.name != "SC_rgb_jpeg_cut.dcm"
)
HEADER = {0x00280004, 0x00280006, 0x00282110}  # what a decoded image says differently, with reason


@pytest.fixture(scope="module")
def cage():
    cage = Cage(processes=2, memory_bytes=2**30, cpu_s=20)
    yield cage
    cage.close()


def has_image(dataset):
    return "Rows" in dataset and "PixelData" in dataset


def reference(name, source):
    """What others decode, as (frames, rows, columns[, 3])."""
    samples = source.pixel_array
    frames = int(source.get("NumberOfFrames", 1) or 1)
    return samples if frames > 1 else samples.reshape(1, *samples.shape)


def same(ours, theirs, tolerance=0):
    assert ours.shape == theirs.shape
    if tolerance:
        assert np.abs(ours.astype(np.int64) - theirs.astype(np.int64)).max() <= tolerance
    else:
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("name", [name for name in CONFORMING if name not in NOT_DECODABLE])
def test_specimens_convert(name, cage, tmp_path):
    source = dcmread(SPECIMENS / name)
    length = cage.run(transcode, stored(SPECIMENS / name), ExplicitVRLittleEndian, str(tmp_path / "out.dcm"))
    assert length == (tmp_path / "out.dcm").stat().st_size
    made = dcmread(tmp_path / "out.dcm")
    assert made.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert made.SOPInstanceUID == made.file_meta.MediaStorageSOPInstanceUID == source.SOPInstanceUID
    scan((tmp_path / "out.dcm").read_bytes())
    if not has_image(made):
        return
    assert made["PixelData"].VR in {"OB", "OW"}
    assert len(made.PixelData) % 2 == 0
    if source.SamplesPerPixel == 3:
        assert (made.PhotometricInterpretation, made.PlanarConfiguration) == ("RGB", 0)
    else:
        assert made.PhotometricInterpretation == source.PhotometricInterpretation
    if name in DECODED:
        samples = made.pixel_array
        assert (list(samples.shape), str(samples.dtype)) == (DECODED[name]["shape"], DECODED[name]["type"])
        assert hashlib.sha256(samples.tobytes()).hexdigest() == DECODED[name]["sha256"]
    elif name not in NO_PIXELS_ELSEWHERE:
        # Only uncompressed YBR is turned to RGB by equations of our own; integers round otherwise.
        same(
            made.pixel_array, source.pixel_array, 1 if name == "valid/SC_ybr_full_422_uncompressed.dcm" else 0
        )


@pytest.mark.parametrize("name", [name for name in CONFORMING if name not in NOT_DECODABLE])
def test_all_other_attributes_stay(name, cage, tmp_path):
    source = dcmread(SPECIMENS / name)
    cage.run(transcode, stored(SPECIMENS / name), ExplicitVRLittleEndian, str(tmp_path / "out.dcm"))
    made = dcmread(tmp_path / "out.dcm")
    for element in source:
        if element.tag.group >= 0x7FE0 or element.tag.element == 0 or element.tag in HEADER:
            continue
        if source.file_meta.TransferSyntaxUID == ExplicitVRBigEndian and element.VR == "OW":
            continue  # words are turned round: shown below
        assert made[element.tag].value == element.value, element
    added = {element.tag for element in made} - {element.tag for element in source}
    assert added <= {0x00280006, 0x00282110}


@pytest.mark.parametrize("name", [name for name in CONFORMING if name not in NOT_DECODABLE])
def test_frames_decode_to_octets(name, cage, tmp_path):
    source = dcmread(SPECIMENS / name)
    if not has_image(source):
        return
    file = stored(SPECIMENS / name)
    cage.run(transcode, file, ExplicitVRLittleEndian, str(tmp_path / "whole.dcm"))
    whole = dcmread(tmp_path / "whole.dcm")
    frames = int(whole.get("NumberOfFrames", 1) or 1)
    numbers = [frames, 1] if frames > 1 else [1]
    lengths = cage.run(transcode_frames, file, numbers, ExplicitVRLittleEndian, str(tmp_path / "frames"))
    octets = (tmp_path / "frames").read_bytes()
    assert sum(lengths) == len(octets)
    samples = whole.pixel_array.reshape(frames, -1)
    for number, length in zip(numbers, lengths, strict=True):
        expected = samples[number - 1]
        packed = np.packbits(expected, bitorder="little") if whole.BitsAllocated == 1 else expected
        frame, octets = octets[:length], octets[length:]
        assert frame == packed.astype(packed.dtype.newbyteorder("<")).tobytes()


def test_lossy_high_throughput_frames_are_near_the_lossless_ones(cage, tmp_path):
    for name in ("htj2k_lossless_rgb", "htj2k_lossy_rgb"):
        file = stored(SPECIMENS / "derived" / f"{name}.dcm")
        cage.run(transcode, file, ExplicitVRLittleEndian, str(tmp_path / name))
    lossless, lossy = (dcmread(tmp_path / f"htj2k_{kind}_rgb") for kind in ("lossless", "lossy"))
    same(lossy.pixel_array, lossless.pixel_array, tolerance=4)
    assert lossy.LossyImageCompression == "01"
    assert "LossyImageCompression" not in lossless or lossless.LossyImageCompression == "00"


def test_deflated_frames_are_the_frames(cage, tmp_path):
    cage.run(
        transcode,
        stored(SPECIMENS / "valid/liver_deflate.dcm"),
        ExplicitVRLittleEndian,
        str(tmp_path / "out"),
    )
    one = dcmread(SPECIMENS / "valid/liver_1frame.dcm")
    assert (dcmread(tmp_path / "out").pixel_array[0] == one.pixel_array).all()


@pytest.mark.parametrize(
    ("photometric", "subsampling", "keep_rgb", "adobe"),
    [
        ("YBR_FULL_422", "4:2:0", False, False),
        ("YBR_FULL_422", "4:2:2", False, False),
        ("YBR_FULL", "4:4:4", False, False),
        ("RGB", "4:4:4", True, True),
        ("RGB", "4:2:0", False, False),  # a photograph embedded by a writer who mistook its colours
    ],
)
def test_colours_of_a_photograph_are_right(photometric, subsampling, keep_rgb, adobe, cage, tmp_path):
    pixels = make_pixels(64, 96)
    out = BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=98, subsampling=subsampling, keep_rgb=keep_rgb)
    instance = make_instance(rows=64, columns=96, jpeg=True, PhotometricInterpretation=photometric)
    write_jpeg(tmp_path / "in.dcm", instance, out.getvalue())
    cage.run(transcode, stored(tmp_path / "in.dcm"), ExplicitVRLittleEndian, str(tmp_path / "out.dcm"))
    made = dcmread(tmp_path / "out.dcm")
    same(made.pixel_array, np.asarray(Image.open(out).convert("RGB")), tolerance=0)
    same(made.pixel_array[20:40, 30:60], pixels[20:40, 30:60], tolerance=3)


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_every_native_encoding_gives_the_same_words(syntax, cage, tmp_path):
    written = dcmread(SPECIMENS / "valid/CT_small.dcm")
    written.add_new(0x60003000, "OW", b"\x01\x02\x03\x04")
    written.RedPaletteColorLookupTableData = b"\x11\x22\x33\x44"
    written.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:  # pydicom leaves words as they are
        for tag in (0x00281201, 0x60003000, 0x7FE00010):
            written[tag].value = np.frombuffer(written[tag].value, "<u2").byteswap().tobytes()
    dcmwrite(
        tmp_path / "in.dcm",
        written,
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=syntax != ExplicitVRBigEndian,
    )
    cage.run(transcode, stored(tmp_path / "in.dcm"), ExplicitVRLittleEndian, str(tmp_path / "out.dcm"))
    made, original = dcmread(tmp_path / "out.dcm"), dcmread(SPECIMENS / "valid/CT_small.dcm")
    assert made[0x60003000].value == b"\x01\x02\x03\x04"
    assert made.RedPaletteColorLookupTableData == b"\x11\x22\x33\x44"
    assert made.PixelData == original.PixelData
    assert made.pixel_array[5, 5] == original.pixel_array[5, 5]


def test_a_file_that_needs_a_prefix_converts_too(cage, tmp_path):
    content = instance_bytes(make_instance())
    (tmp_path / "bare").write_bytes(content[132:])
    file = stored(tmp_path / "bare")
    assert file.prefix
    cage.run(transcode, file, ExplicitVRLittleEndian, str(tmp_path / "out"))
    assert (dcmread(tmp_path / "out").pixel_array == dcmread_bytes(content).pixel_array).all()


def dcmread_bytes(content):
    return dcmread(BytesIO(content))
