"""What is encoded here decodes, in programs of other people, to the samples it was made from."""

import io
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import generate_frames
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit

from app.cage import Cage
from app.dicom.decoding import decode_frame
from app.dicom.image_pixel import ImagePixel
from app.dicom.media_types import DECODABLE, ENCODABLE
from app.dicom.pixel_encoding import ENCODERS, encode_frame
from app.dicom.scan import scan
from app.dicom.transcoding import transcode, transcode_frames
from app.errors import NotConvertible
from tests.dicom.pixel_tasks import peak_memory_bytes, stored
from tests.dicom.test_golden_pixels import DCMTK, JPEG_2000, SPECIMENS, as_pillow_has_it
from tests.factories import instance_bytes, make_instance, make_pixels

pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning", "ignore:.*:DeprecationWarning")

UNSIGNED = {"1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.112"}
LOSSLESS = sorted(ENCODERS.keys() - {JPEGBaseline8Bit})
ONE_FOR_EACH_ENCODER = sorted({ENCODERS[syntax]: syntax for syntax in LOSSLESS}.values())
# Colour and grey, one frame and several, odd sizes, signed and not, all bits and some, a palette.
SOURCES = [
    "valid/CT_small.dcm",
    "valid/emri_small.dcm",
    "valid/SC_rgb_rle_16bit_2frame.dcm",
    "valid/SC_rgb_small_odd_big_endian.dcm",
    "valid/examples_palette.dcm",
    "valid/MR_small_implicit.dcm",
    "valid/JPEG-lossy.dcm",
    "valid/image_dfl.dcm",
    "derived/derm_multiframe_jpeg.dcm",
]


@pytest.fixture(scope="module")
def cage():
    cage = Cage(processes=1, memory_bytes=2**30, cpu_s=20)
    yield cage
    cage.close()


def test_the_server_knows_what_the_codecs_do() -> None:
    assert ENCODERS.keys() | {ExplicitVRLittleEndian} == ENCODABLE
    assert ENCODABLE <= DECODABLE


@pytest.mark.parametrize("syntax", ONE_FOR_EACH_ENCODER)
@pytest.mark.parametrize("name", SOURCES)
def test_nothing_is_lost(name: str, syntax: str, cage: Cage, tmp_path: Path) -> None:
    """PS3.18 8.7.3.4 (checklist 12): the syntaxes of image/jpeg, dicom-rle, jls, jp2, jphc and jxl."""
    source, whole = stored(SPECIMENS / name), tmp_path / "whole.dcm"
    cage.run(transcode, source, ExplicitVRLittleEndian, str(whole))
    before = dcmread(whole)
    if before.PixelRepresentation == 1 and syntax in UNSIGNED:
        with pytest.raises(NotConvertible, match="signed"):
            cage.run(transcode, source, syntax, str(tmp_path / "made.dcm"))
        return
    length = cage.run(transcode, source, syntax, str(tmp_path / "made.dcm"))
    assert length == (tmp_path / "made.dcm").stat().st_size
    made = dcmread(tmp_path / "made.dcm")
    agree(made, before, syntax)
    assert np.array_equal(decoded_elsewhere(made, syntax, tmp_path), before.pixel_array)


def agree(made, before, syntax: str) -> None:
    """Attributes, File Meta Information, offset table and fragments agree with the frames (PS3.5 A.4)."""
    assert made.file_meta.TransferSyntaxUID == syntax
    # The same samples are the same image (PS3.3 C.7.6.1.1.5).
    assert made.SOPInstanceUID == made.file_meta.MediaStorageSOPInstanceUID == before.SOPInstanceUID
    assert made.get("LossyImageCompression") == before.get("LossyImageCompression")
    described = {0x00280004, 0x7FE00010}
    for element in before:
        if element.tag not in described:
            assert made[element.tag].value == element.value
    assert {element.tag for element in made} == {element.tag for element in before}
    colour = "YBR_RCT" if syntax in JPEG_2000 else "RGB"
    is_colour = before.SamplesPerPixel == 3
    assert made.PhotometricInterpretation == (colour if is_colour else before.PhotometricInterpretation)
    found = scan(Path(made.filename).read_bytes())
    assert not found.warnings
    value, frames = made.PixelData, int(made.get("NumberOfFrames", 1))
    assert value[:4] == b"\xfe\xff\x00\xe0"
    assert int.from_bytes(value[4:8], "little") == 4 * frames
    offsets = np.frombuffer(value, "<u4", frames, 8)
    for offset in offsets:
        start = 8 + 4 * frames + int(offset)
        assert value[start : start + 4] == b"\xfe\xff\x00\xe0"
        assert int.from_bytes(value[start + 4 : start + 8], "little") % 2 == 0


def decoded_elsewhere(made, syntax: str, folder: Path) -> np.ndarray:
    if syntax in DCMTK:
        subprocess.run([DCMTK[syntax], made.filename, folder / "back.dcm"], check=True)
        return dcmread(folder / "back.dcm").pixel_array
    stored_file = stored(made.filename)
    # JPEG XL has no reader here but the one that wrote it; Pillow cuts colour to 8 bits.
    if syntax not in JPEG_2000 or (made.SamplesPerPixel == 3 and made.BitsAllocated == 16):
        transcode(stored_file, ExplicitVRLittleEndian, str(folder / "back.dcm"))
        return dcmread(folder / "back.dcm").pixel_array
    count = int(made.get("NumberOfFrames", 1))
    frames = list(generate_frames(made.PixelData, number_of_frames=count))
    pictures = np.stack([np.asarray(Image.open(io.BytesIO(frame))) for frame in frames]).squeeze()
    kind = f"{'i' if made.PixelRepresentation else 'u'}{made.BitsAllocated // 8}"
    unmoved = as_pillow_has_it(np.zeros((1, 1)), frames[0])[0, 0]
    step = int(as_pillow_has_it(np.ones((1, 1)), frames[0])[0, 0] - unmoved)
    return ((pictures.astype(np.int64) - int(unmoved)) // step).astype(kind)


def test_lossy_compression_makes_another_image(cage: Cage, tmp_path: Path) -> None:
    """PS3.3 C.7.6.1.1.5: derived, under another UID, with the ratio; checklist 41: only when asked for."""
    (tmp_path / "in.dcm").write_bytes(instance_bytes(make_instance(rows=64, columns=96)))
    for name in ("once", "again"):
        cage.run(transcode, stored(tmp_path / "in.dcm"), JPEGBaseline8Bit, str(tmp_path / name))
    source, made = dcmread(tmp_path / "in.dcm"), dcmread(tmp_path / "once")
    assert (tmp_path / "once").read_bytes() == (tmp_path / "again").read_bytes()
    assert made.SOPInstanceUID == made.file_meta.MediaStorageSOPInstanceUID != source.SOPInstanceUID
    assert made.ImageType == ["DERIVED", "PRIMARY"]
    assert made.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert made.SourceImageSequence[0].PurposeOfReferenceCodeSequence[0].CodeValue == "121320"
    assert made.DerivationCodeSequence[0].CodeValue == "113040"
    assert (made.LossyImageCompression, made.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
    frame = next(generate_frames(made.PixelData, number_of_frames=1))
    assert abs(made.LossyImageCompressionRatio - 64 * 96 * 3 / len(frame)) < 0.1
    assert (made.PhotometricInterpretation, made.PlanarConfiguration) == ("YBR_FULL_422", 0)
    subprocess.run(["dcmdjpeg", tmp_path / "once", tmp_path / "back"], check=True)
    difference = dcmread(tmp_path / "back").pixel_array.astype(int) - make_pixels(64, 96)
    assert np.abs(difference).mean() < 3
    assert np.abs(difference[20:40, 30:60]).max() < 6


def test_a_second_lossy_compression_adds_to_the_first(cage: Cage, tmp_path: Path) -> None:
    source = dcmread(SPECIMENS / "valid/US1_J2KI.dcm")
    cage.run(transcode, stored(SPECIMENS / "valid/US1_J2KI.dcm"), JPEGBaseline8Bit, str(tmp_path / "out"))
    made = dcmread(tmp_path / "out")
    assert made.LossyImageCompression == "01"
    assert len(np.atleast_1d(made.LossyImageCompressionRatio)) == 1 + len(
        np.atleast_1d(source.get("LossyImageCompressionRatio", []))
    )
    assert made.SourceImageSequence[-1].PurposeOfReferenceCodeSequence[0].CodeValue == "121322"


def test_lossy_syntaxes_without_loss_keep_their_uid(cage: Cage, tmp_path: Path) -> None:
    """PS3.5 A.4.4 and A.4.3: `.91` and `.81` may hold what has lost nothing."""
    (tmp_path / "in.dcm").write_bytes(instance_bytes(make_instance()))
    for syntax in ("1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.81"):
        cage.run(transcode, stored(tmp_path / "in.dcm"), syntax, str(tmp_path / "out"))
        made = dcmread(tmp_path / "out")
        assert (made.SOPInstanceUID, made.LossyImageCompression) == (make_instance().SOPInstanceUID, "00")
        cage.run(transcode, stored(tmp_path / "out"), ExplicitVRLittleEndian, str(tmp_path / "back"))
        assert dcmread(tmp_path / "back").LossyImageCompression == "00"


@pytest.mark.parametrize("syntax", ONE_FOR_EACH_ENCODER)
@pytest.mark.parametrize(("bits", "samples_per_pixel"), [(8, 1), (8, 3), (16, 1), (16, 3)])
def test_noise_is_encoded_though_it_takes_more_room_than_its_samples(
    syntax: str, bits: int, samples_per_pixel: int
) -> None:
    shape = (70, 200) if samples_per_pixel == 1 else (70, 200, 3)
    noise = np.random.default_rng(1).integers(0, 2**bits, shape, f"u{bits // 8}")
    photometric = "MONOCHROME2" if samples_per_pixel == 1 else "RGB"
    described = (70, 200, samples_per_pixel, photometric, bits, bits, bits - 1, False, False, False, 1)
    image = ImagePixel(ExplicitVRLittleEndian, *described)
    encoded = encode_frame(noise, image, syntax)
    assert np.array_equal(decode_frame(encoded, ImagePixel(syntax, *described)).reshape(shape), noise)


@pytest.mark.parametrize(
    ("name", "syntax", "sentence"),
    [
        ("valid/CT_small.dcm", "1.2.840.10008.1.2.4.50", "it does not hold samples of 16 bits"),
        ("valid/examples_palette.dcm", "1.2.840.10008.1.2.4.50", "indices of a palette"),
        ("valid/rtdose.dcm", "1.2.840.10008.1.2.4.90", "it does not hold samples of 32 bits"),
        ("valid/parametric_map_float.dcm", "1.2.840.10008.1.2.5", "floating point"),
        ("valid/liver_1frame.dcm", "1.2.840.10008.1.2.4.80", "samples of 1 bits"),
        ("valid/CT_small.dcm", "1.2.840.10008.1.2.4.110", "signed samples"),
        ("valid/CT_small.dcm", "1.2.840.10008.1.2.4.102", "cannot be made"),
        ("valid/test-SR.dcm", "1.2.840.10008.1.2.4.90", "no image"),
    ],
)
def test_what_does_not_suit_says_so(
    name: str, syntax: str, sentence: str, cage: Cage, tmp_path: Path
) -> None:
    with pytest.raises(NotConvertible, match=sentence):
        cage.run(transcode, stored(SPECIMENS / name), syntax, str(tmp_path / "out"))


@pytest.mark.parametrize("name", ["valid/CT_small.dcm", "valid/SC_rgb_jpeg_dcmtk.dcm", "valid/test-SR.dcm"])
def test_implicit_little_endian_for_who_reads_nothing_else(name: str, cage: Cage, tmp_path: Path) -> None:
    """The default of PS3.5 10.1; never over DICOMweb (checklist 7), but a DICOM network needs it."""
    for syntax in (ImplicitVRLittleEndian, ExplicitVRLittleEndian):
        cage.run(transcode, stored(SPECIMENS / name), syntax, str(tmp_path / syntax))
    implicit = dcmread(tmp_path / ImplicitVRLittleEndian)
    assert implicit.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    assert implicit.original_encoding == (True, True)
    explicit = dcmread(tmp_path / ExplicitVRLittleEndian)
    assert [element.value for element in implicit] == [element.value for element in explicit]
    done = subprocess.run(
        ["dcmdump", "-q", tmp_path / ImplicitVRLittleEndian], check=True, capture_output=True
    )
    assert not done.stderr


def test_native_pixels_are_copied_whatever_their_length(tmp_path: Path) -> None:
    """A piece at a time: 48 MiB of pixels take less than 16 MiB of memory."""
    instance = make_instance(rows=4096, columns=12288, SamplesPerPixel=1, PlanarConfiguration=None)
    instance.PhotometricInterpretation = "MONOCHROME2"
    instance.PixelData = bytes(4096) * 12288
    instance.add_new(0x7FE10010, "LO", "AFTER THE PIXELS")
    (tmp_path / "in.dcm").write_bytes(instance_bytes(instance))
    cage = Cage(1, 2**30, 20)
    source = stored(tmp_path / "in.dcm")
    try:
        cage.run(transcode, stored(SPECIMENS / "valid/CT_small.dcm"), ImplicitVRLittleEndian, "/dev/null")
        before = cage.run(peak_memory_bytes)
        cage.run(transcode, source, ImplicitVRLittleEndian, str(tmp_path / "out"))
        assert cage.run(peak_memory_bytes) < before + 16 * 2**20
    finally:
        cage.close()
    made = dcmread(tmp_path / "out")
    assert made.PixelData == instance.PixelData
    assert made[0x7FE10010].value == "AFTER THE PIXELS"


def test_frames_alone_are_those_of_the_instance(cage: Cage, tmp_path: Path) -> None:
    """PS3.18 8.7.3 (checklist 11): one frame a part, without delimiters."""
    source = stored(SPECIMENS / "derived/derm_multiframe_jpeg.dcm")
    for syntax in ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5"):
        cage.run(transcode, source, syntax, str(tmp_path / "whole"))
        whole = list(generate_frames(dcmread(tmp_path / "whole").PixelData, number_of_frames=6))
        lengths = cage.run(transcode_frames, source, [6, 1], syntax, str(tmp_path / "frames"))
        octets = (tmp_path / "frames").read_bytes()
        assert whole[5].startswith(octets[: lengths[0]])
        assert whole[0].startswith(octets[lengths[0] :])


@pytest.mark.parametrize("syntax", LOSSLESS)
@pytest.mark.parametrize("shape", [(1, 1, 3), (7, 1, 3), (1, 7, 3)])
def test_one_row_or_column_of_another_array(shape: tuple[int, int, int], syntax: str) -> None:
    """Of planes put together, say: such a view has strides that numpy does not mind."""
    samples = np.arange(np.prod(shape), dtype=np.uint8).reshape(3, *shape[:2]).transpose(1, 2, 0)
    rows, columns, _ = shape
    image = ImagePixel(syntax, rows, columns, 3, "RGB", 8, 8, 7, False, False, False, 1)
    assert np.array_equal(decode_frame(encode_frame(samples, image, syntax), image), samples)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), syntax=st.sampled_from(LOSSLESS))
def test_any_samples_survive(data: st.DataObject, syntax: str) -> None:
    """Every size, every number of bits, also values that use bits they should not."""
    kind = data.draw(st.sampled_from(["u1", "u2", "i1", "i2"]))
    if kind[0] == "i" and syntax in UNSIGNED:
        return
    rows, columns = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 20))
    samples_per_pixel = data.draw(st.sampled_from([1, 3]))
    shape = (rows, columns) if samples_per_pixel == 1 else (rows, columns, 3)
    samples = data.draw(hnp.arrays(np.dtype(f"<{kind}"), shape))
    bits = 8 * samples.itemsize
    # A sign can be told only where Bits Stored is: other bits of a signed sample are not kept.
    stored_bits = bits if kind[0] == "i" else data.draw(st.integers(1, bits))
    image = ImagePixel(
        syntax,
        rows,
        columns,
        samples_per_pixel,
        "RGB" if samples_per_pixel == 3 else "MONOCHROME2",
        bits,
        stored_bits,
        stored_bits - 1,
        is_signed=kind[0] == "i",
        is_planar=False,
        is_float=False,
        number_of_frames=1,
    )
    assert np.array_equal(decode_frame(encode_frame(samples, image, syntax), image), samples)
