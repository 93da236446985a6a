"""Small files that ask for much cost next to nothing, and one request.

Each runs under limits of one second of processor time, and may take 64 MiB of memory; a file that takes more
than it may ends in a CagedFailure, not in a sentence that says what is wrong with it.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from app.cage import Cage
from app.dicom.dicom_file import DicomFile
from app.dicom.frames import pack_decoded
from app.dicom.transcoding import transcode, transcode_frames
from app.errors import NotConvertible, Unreadable
from tests.dicom.pixel_tasks import peak_memory_bytes, stored, write_jpeg
from tests.factories import instance_bytes, make_instance, make_jpeg

MOST_MEMORY_BYTES = 64 * 2**20
JPEG_XL = "1.2.840.10008.1.2.4.110"
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"

SMALL_CODING_STYLE = struct.pack(">BBHBBBBBB", 0, 0, 1, 0, 5, 4, 4, 0, 0)


def j2k(rows: int, columns: int, tile: int, style: bytes = SMALL_CODING_STYLE) -> bytes:
    """A JPEG 2000 stream with the headers of an image and nothing in it."""
    size = struct.pack(">H8IH", 0, columns, rows, 0, 0, tile, tile, 0, 0, 1) + b"\7\1\1"
    segments = ((b"\xff\x51", size), (b"\xff\x52", style), (b"\xff\x5c", b"\x40\x40"))
    header = b"".join(marker + struct.pack(">H", len(content) + 2) + content for marker, content in segments)
    return b"\xff\x4f" + header + b"\xff\x90\0\x0a\0\0\0\0\0\x0e\0\1\xff\x93\xff\xd9"


def scans(count: int) -> bytes:
    jpeg = make_jpeg()
    start = jpeg.index(b"\xff\xda")
    return jpeg[:start] + jpeg[start:-2] * count + jpeg[-2:]


def jxl(rows: int, columns: int) -> bytes:
    """A JPEG XL stream of one colour, which takes a few hundred bytes whatever its size."""
    return bytes(imagecodecs.jpegxl_encode(np.zeros((rows, columns), np.uint8), lossless=True, effort=3))


RUNS = b"\x81\x00" * 200  # 128 zeros for every two bytes
RLE = struct.pack("<16I", 1, 64, *[0] * 14) + RUNS
FEW_PRECINCTS = struct.pack(">BBHBBBBBB", 1, 0, 1, 0, 0, 4, 4, 0, 0) + b"\x00"
FEW_CODE_BLOCKS = struct.pack(">BBHBBBBBB", 0, 0, 1, 0, 5, 0, 0, 0, 0)


@pytest.fixture(scope="module")
def cage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cage]:
    cage = Cage(processes=1, memory_bytes=2**30, cpu_s=1)
    path = tmp_path_factory.mktemp("warm") / "in.dcm"
    write_jpeg(path, make_instance(jpeg=True), make_jpeg())
    cage.run(transcode, stored(path), JPEG2000Lossless, "/dev/null")  # the codecs are loaded
    yield cage
    cage.close()


def refused(cage: Cage, file: DicomFile, *, says: str, task: Callable[..., object] = transcode) -> None:
    """See that it is refused in words, and that it took less than it may."""
    before = cage.run(peak_memory_bytes)
    arguments = ([1], ExplicitVRLittleEndian) if task is transcode_frames else (ExplicitVRLittleEndian,)
    with pytest.raises((NotConvertible, Unreadable), match=says):
        cage.run(task, file, *arguments, "/dev/null")
    assert cage.run(peak_memory_bytes) - before < MOST_MEMORY_BYTES


@pytest.mark.parametrize("task", [transcode, transcode_frames])
@pytest.mark.parametrize(
    ("syntax", "says_rows", "says_columns", "frame", "says"),
    [
        (JPEG2000Lossless, 60000, 60000, j2k(60000, 60000, 60000), "One frame would decode to 3433 MiB"),
        (JPEG2000Lossless, 30000, 30000, j2k(30000, 30000, 30000), "One frame would decode to 858 MiB"),
        (JPEG2000Lossless, 16, 16, j2k(9000, 9000, 9000), "claims 9000 x 9000 pixels"),
        (JPEG2000Lossless, 16384, 16384, j2k(16384, 16384, 16384), "To decode the frame would take 1280 MiB"),
        (JPEG2000Lossless, 12000, 12000, j2k(12000, 12000, 12000), "it cannot hold an image"),
        (JPEG2000Lossless, 4095, 4095, j2k(4095, 4095, 16), "claims 65536 tiles; 4096 are allowed"),
        (JPEG2000Lossless, 4096, 4096, j2k(4096, 4096, 4096, FEW_PRECINCTS), "16777216 precincts"),
        (JPEG2000Lossless, 4096, 4096, j2k(4096, 4096, 4096, FEW_CODE_BLOCKS), "1048576 code-blocks"),
        (JPEG2000Lossless, 16, 16, j2k(16, 16, 0), "tiles without a pixel"),
        (JPEGBaseline8Bit, 16, 24, scans(100), "more than 64 scans"),
        (JPEGBaseline8Bit, 65535, 65535, make_jpeg(), "One frame would decode to 4095 MiB"),
        (RLELossless, 65535, 65535, RLE, "One frame would decode to 4095 MiB"),
        (RLELossless, 16384, 16384, RLE, "The RLE frame ends too early"),
        (JPEG_XL, 60000, 60000, b"\xff\x0a" + bytes(30), "One frame would decode to 3433 MiB"),
        (JPEG_XL, 16, 16, jxl(4000, 4000), "claims 4000 x 4000 pixels"),
        (DEFLATED_FRAMES, 65535, 65535, zlib.compress(bytes(2**20))[2:], "One frame would decode to 4095"),
        (DEFLATED_FRAMES, 16384, 16384, zlib.compress(bytes(2**20))[2:-4], "The frame has 1048576 bytes"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else None,
)
def test_a_bomb_is_refused_before_it_is_decoded(
    task: Callable[..., object],
    syntax: str,
    says_rows: int,
    says_columns: int,
    frame: bytes,
    says: str,
    cage: Cage,
    tmp_path: Path,
) -> None:
    samples = 3 if syntax == JPEGBaseline8Bit and says_rows == 16 else 1
    instance = make_instance(
        jpeg=True,
        SamplesPerPixel=samples,
        PhotometricInterpretation="YBR_FULL_422" if samples == 3 else "MONOCHROME2",
        PlanarConfiguration=0 if samples == 3 else None,
    )
    instance.Rows, instance.Columns = says_rows, says_columns
    write_jpeg(tmp_path / "bomb.dcm", instance, frame)
    file = replace(stored(tmp_path / "bomb.dcm"), transfer_syntax_uid=syntax)  # pydicom does not know all
    refused(cage, file, says=says, task=task)


def test_a_billion_frames_are_refused(cage: Cage, tmp_path: Path) -> None:
    """NumberOfFrames is believed as far as there are bytes for them, and no further than the budget."""
    instance = make_instance(rows=1, columns=1, SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2")
    instance.NumberOfFrames = 10**9
    del instance.PlanarConfiguration
    (tmp_path / "bomb.dcm").write_bytes(instance_bytes(instance))
    file = stored(tmp_path / "bomb.dcm")
    # Where nobody counted, and where somebody counted wrong.
    for frames in (b"", pack_decoded(10**9)):
        worse = DicomFile(file.path, "1.2.840.10008.1.2.5", file.prefix, file.offset, frames)
        refused(cage, worse, says="Decoded, the instance would be 61035 MiB")


def test_one_frame_many_times_is_refused(cage: Cage, tmp_path: Path) -> None:
    path = tmp_path / "in.dcm"
    write_jpeg(path, make_instance(jpeg=True), make_jpeg())
    with pytest.raises(NotConvertible, match="256 MiB are allowed"):
        cage.run(transcode_frames, stored(path), [1] * 300_000, ExplicitVRLittleEndian, "/dev/null")


def test_a_deflated_data_set_is_inflated_within_bounds(cage: Cage, tmp_path: Path) -> None:
    """1 MB that inflates to 1 GB: it is measured before anything is kept of it."""
    content = instance_bytes(make_instance())
    meta_end = 144 + int.from_bytes(content[140:144], "little")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = packer.compress(content[meta_end:] + struct.pack("<HH4sI", 0x7FE0, 0x10, b"OW\0\0", 2**26))
    for _ in range(128):
        data += packer.compress(bytes(2**20))
    (tmp_path / "bomb.dcm").write_bytes(content[:meta_end] + data + packer.flush())
    refused(cage, DicomFile(str(tmp_path / "bomb.dcm"), DeflatedExplicitVRLittleEndian), says="grows")


def test_what_is_only_large_is_decoded(cage: Cage, tmp_path: Path) -> None:
    """A whole frame of one colour is no bomb: 16 million samples from 141 bytes."""
    samples = np.full((4096, 4096), 128, np.uint8)
    frame = bytes(imagecodecs.jpeg2k_encode(samples, level=0, codecformat="j2k", reversible=True))
    instance = make_instance(jpeg=True, SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2")
    instance.Rows, instance.Columns = samples.shape
    instance.file_meta.TransferSyntaxUID = JPEG2000Lossless
    write_jpeg(tmp_path / "in.dcm", instance, frame + b"\0" * (len(frame) % 2))
    lengths = cage.run(
        transcode_frames, stored(tmp_path / "in.dcm"), [1], ExplicitVRLittleEndian, str(tmp_path / "out")
    )
    assert lengths == [samples.size]
    assert (tmp_path / "out").read_bytes() == samples.tobytes()
