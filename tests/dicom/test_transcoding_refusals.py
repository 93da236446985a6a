"""What is not as it claims to be, or too much, is refused with a sentence before it costs anything."""

import zlib
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless

from app.cage import Cage
from app.dicom.dicom_file import DicomFile
from app.dicom.transcoding import transcode, transcode_frames
from app.errors import ArchiveError, CagedFailure, InstanceUnavailable, NotConvertible, NotFound, Unreadable
from tests.dicom.pixel_tasks import peak_memory_bytes, stored, write_jpeg
from tests.factories import instance_bytes, make_instance, make_jpeg

pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning", "ignore:.*:DeprecationWarning")

SPECIMENS = Path(__file__).parents[1] / "data" / "dicom"


@pytest.fixture(scope="module")
def cage():
    cage = Cage(processes=2, memory_bytes=2**30, cpu_s=20)
    yield cage
    cage.close()


def j2k_bomb(rows, columns):
    """A JPEG 2000 stream that claims a size and has nothing."""
    size = b"".join(number.to_bytes(4, "big") for number in (columns, rows, 0, 0, columns, rows, 0, 0))
    siz = b"\x00\x00" + size + b"\x00\x01" + b"\x07\x01\x01"
    stream = b"\xff\x4f\xff\x51" + (len(siz) + 2).to_bytes(2, "big") + siz
    return (
        stream
        + b"\xff\x52\x00\x0c\x00\x00\x00\x01\x00\x05\x04\x04\x00\x00\xff\x5c\x00\x04\x40\x40\xff\xd9\x00"
    )


@pytest.mark.parametrize("says", [(60000, 60000), (30000, 30000), (16, 16)])
def test_a_frame_that_claims_to_be_huge_is_not_decoded(says, tmp_path):
    cage = Cage(1, 2**30, 10)
    before = cage.run(peak_memory_bytes)
    instance = small_header(*says)
    instance.file_meta.TransferSyntaxUID = JPEG2000Lossless
    write_jpeg(tmp_path / "bomb.dcm", instance, j2k_bomb(60000, 60000))
    for task in (convert, convert_some):
        with pytest.raises((NotConvertible, CagedFailure)):
            cage.run(task, stored(tmp_path / "bomb.dcm"), str(tmp_path / "out"))
    assert cage.run(peak_memory_bytes) < before + 128 * 2**20
    cage.close()


def small_header(rows, columns):
    instance = make_instance(jpeg=True, SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2")
    instance.Rows, instance.Columns = rows, columns
    return instance


def convert(file, target):
    return transcode(file, ExplicitVRLittleEndian, target)


def convert_some(file, target):
    return transcode_frames(file, [1], ExplicitVRLittleEndian, target)


def test_a_deflated_bomb_is_refused(tmp_path):
    cage = Cage(1, 2**30, 10)
    before = cage.run(peak_memory_bytes)
    content = instance_bytes(make_instance())
    meta_end = 144 + int.from_bytes(content[140:144], "little")
    explicit = b"1.2.840.10008.1.2.1\x00"
    assert explicit in content[:meta_end]
    meta = content[:meta_end].replace(b"\x14\x00" + explicit, b"\x16\x00" + b"1.2.840.10008.1.2.1.99")
    meta = meta[:140] + (int.from_bytes(meta[140:144], "little") + 2).to_bytes(4, "little") + meta[144:]
    huge = b"\xe0\x7f\x10\x00OW\x00\x00" + (2**26).to_bytes(4, "little")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = packer.compress(content[meta_end:] + huge)
    for _ in range(64):
        data += packer.compress(bytes(2**20))
    (tmp_path / "bomb.dcm").write_bytes(meta + data + packer.flush())
    file = DicomFile(str(tmp_path / "bomb.dcm"), "1.2.840.10008.1.2.1.99")
    with pytest.raises(Unreadable, match="grows"):
        cage.run(transcode, file, ExplicitVRLittleEndian, str(tmp_path / "out"))
    assert cage.run(peak_memory_bytes) < before + 64 * 2**20
    cage.close()


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ({"Rows": 17}, "claims 24 x 16"),
        ({"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2"}, "of 3 samples"),
        ({"SamplesPerPixel": 4}, "4 samples per pixel"),
        ({"BitsAllocated": 12}, "12 bits allocated"),
        ({"Rows": 0}, "cannot be shown"),
        ({"PhotometricInterpretation": "CMYK"}, "'CMYK' is no colour"),
        ({"NumberOfFrames": "9000000"}, None),
    ],
)
def test_a_frame_and_its_data_set_must_agree(attributes, sentence, cage, tmp_path):
    instance = make_instance(jpeg=True)
    for keyword, value in attributes.items():
        setattr(instance, keyword, value)
    write_jpeg(tmp_path / "in.dcm", instance, make_jpeg())
    if sentence is None:  # the catalogue counted the frames
        cage.run(transcode, stored(tmp_path / "in.dcm"), ExplicitVRLittleEndian, str(tmp_path / "out"))
        assert dcmread(tmp_path / "out").NumberOfFrames == 1
        return
    with pytest.raises(NotConvertible, match=sentence):
        cage.run(transcode, stored(tmp_path / "in.dcm"), ExplicitVRLittleEndian, str(tmp_path / "out"))


def test_what_cannot_be_decoded_says_so(cage, tmp_path):
    instance = make_instance(jpeg=True)
    instance.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"
    write_jpeg(tmp_path / "in.dcm", instance, b"\x00\x00\x01\xb3")
    with pytest.raises(NotConvertible, match=r"1\.2\.840\.10008\.1\.2\.4\.100 cannot be decoded"):
        cage.run(transcode, stored(tmp_path / "in.dcm"), ExplicitVRLittleEndian, str(tmp_path / "out"))


def test_more_pixels_than_the_budget_are_refused_before_decoding(cage, tmp_path):
    instance = make_instance(jpeg=True, frames=2)
    instance.Rows = instance.Columns = 9000
    (tmp_path / "in.dcm").write_bytes(instance_bytes(instance))
    with pytest.raises(NotConvertible, match="the instance would be 463 MiB; 256 MiB are allowed"):
        cage.run(transcode, stored(tmp_path / "in.dcm"), ExplicitVRLittleEndian, str(tmp_path / "out"))
    instance.Rows = instance.Columns = 20000
    (tmp_path / "in.dcm").write_bytes(instance_bytes(instance))
    for task in (convert, convert_some):
        with pytest.raises(NotConvertible, match="One frame would decode to 1144 MiB; 256 MiB are allowed"):
            cage.run(task, stored(tmp_path / "in.dcm"), str(tmp_path / "out"))


def test_a_frame_that_is_not_there_is_not_found(cage, tmp_path):
    with pytest.raises(NotFound, match="no frame 7; the instance has 6"):
        cage.run(
            transcode_frames,
            stored(SPECIMENS / "derived/derm_multiframe_jpeg.dcm"),
            [7],
            ExplicitVRLittleEndian,
            str(tmp_path / "out"),
        )


def test_a_file_that_went_away_is_unavailable(cage, tmp_path):
    file = DicomFile(str(tmp_path / "gone.dcm"), ExplicitVRLittleEndian)
    with pytest.raises(InstanceUnavailable) as caught:
        cage.run(transcode, file, ExplicitVRLittleEndian, str(tmp_path / "out"))
    assert "gone" not in str(caught.value)


def test_a_file_that_ends_without_the_last_delimiter_converts(cage, tmp_path):
    path = SPECIMENS / "invalid/emri_small_jpeg_2k_lossless_too_short.dcm"
    cage.run(transcode, stored(path), ExplicitVRLittleEndian, str(tmp_path / "out"))
    whole = dcmread(SPECIMENS / "valid/emri_small_jpeg_2k_lossless.dcm")
    assert (
        dcmread(tmp_path / "out").pixel_array == whole.pixel_array[: dcmread(tmp_path / "out").NumberOfFrames]
    ).all()


@pytest.mark.parametrize("path", sorted((SPECIMENS / "invalid").glob("*.dcm")), ids=lambda path: path.name)
def test_broken_specimens_end_in_a_file_or_a_sentence(path, cage, tmp_path):
    try:
        file = stored(path)
    except ArchiveError:
        return
    try:
        cage.run(transcode, file, ExplicitVRLittleEndian, str(tmp_path / "out"))
    except ArchiveError:
        return
    assert dcmread(tmp_path / "out").file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
