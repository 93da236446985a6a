import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from app.corpus.isic.exif import read_orientation
from app.corpus.isic.jpeg import clean, read_jpeg
from app.errors import NotImportable
from tests.corpus.pictures import SAMPLE, asymmetric, insert, jpeg_bytes, markers, pixels, segment

PLAIN = jpeg_bytes(asymmetric(32, 24))
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize(
    ("data", "photometric"),
    [
        (jpeg_bytes(asymmetric(32, 24), subsampling=2), "YBR_FULL_422"),
        (jpeg_bytes(asymmetric(32, 24), subsampling=1), "YBR_FULL_422"),
        (jpeg_bytes(asymmetric(32, 24), subsampling=0), "YBR_FULL_422"),
        (jpeg_bytes(asymmetric(32, 24), keep_rgb=True), "RGB"),
        (jpeg_bytes(asymmetric(32, 24, "L")), "MONOCHROME2"),
    ],
)
def test_photometric_interpretation_agrees_with_the_bitstream(data, photometric):
    jpeg = read_jpeg(data)
    assert jpeg.photometric_interpretation == photometric
    assert jpeg.is_baseline
    assert (jpeg.rows, jpeg.columns) == (24, 32)


@pytest.mark.parametrize(
    ("image", "options"),
    [(asymmetric(32, 24), {"progressive": True}), (asymmetric(32, 24, "CMYK"), {})],
)
def test_what_baseline_cannot_carry_is_told(image, options):
    assert not read_jpeg(jpeg_bytes(image, **options)).is_baseline


def test_the_sample_is_baseline_and_comes_out_unchanged():
    for path in (SAMPLE / "images").iterdir():
        data = path.read_bytes()
        jpeg = read_jpeg(data)
        assert jpeg.is_baseline
        assert jpeg.photometric_interpretation == "YBR_FULL_422"
        assert clean(jpeg) == data


def gps_exif() -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "MakerOfCameras"
    exif[0x927C] = b"maker note"
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (48.0, 12.0, 30.5)
    return exif.tobytes()


def test_what_identifies_is_gone_and_the_picture_is_the_same():
    thumbnail = jpeg_bytes(asymmetric(8, 8))
    jfif = b"JFIF\0\x01\x02\x01\0\x60\0\x60"
    dirty = PLAIN[:2] + b"".join(
        (
            segment(0xE0, jfif + b"\x02\x01" + b"secret"),  # a thumbnail of 2 x 1 pixels
            segment(0xE0, b"JFXX\0\x10" + thumbnail),
            segment(0xE1, gps_exif()),
            segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0secret"),
            segment(0xE2, b"MPF\0secret"),
            segment(0xEB, b"JP\0secret"),
            segment(0xEF, b"secret"),
            segment(0xFE, b"secret comment"),
        )
    )
    dirty += PLAIN[PLAIN.index(b"\xff\xdb") :] + b"trailing secret"
    cleaned = clean(read_jpeg(dirty))
    assert b"secret" in dirty
    assert b"secret" not in cleaned
    assert b"Exif" not in cleaned
    assert b"MakerOfCameras" not in cleaned
    assert cleaned.endswith(b"\xff\xd9")
    assert [marker for marker, _ in markers(cleaned) if 0xE0 <= marker <= 0xFE] == [0xE0]
    assert markers(cleaned)[0][1] == jfif + b"\0\0"
    assert (pixels(cleaned) == pixels(PLAIN)).all()


def test_comments_between_scans_go_too():
    progressive = jpeg_bytes(asymmetric(32, 24), progressive=True)
    second = progressive.index(b"\xff\xda", progressive.index(b"\xff\xda") + 2)
    # before the tables of the second scan
    tables = progressive.rindex(b"\xff\xc4", 0, second)
    dirty = progressive[:tables] + segment(0xFE, b"secret") + progressive[tables:]
    assert clean(read_jpeg(dirty)) == clean(read_jpeg(progressive))


def test_adobe_and_the_colour_profile_stay():
    data = jpeg_bytes(asymmetric(32, 24), keep_rgb=True, icc_profile=SRGB)
    jpeg = read_jpeg(data)
    assert jpeg.icc_profile == SRGB
    cleaned = read_jpeg(clean(jpeg))
    assert cleaned.icc_profile == SRGB
    assert cleaned.photometric_interpretation == "RGB"
    assert (pixels(cleaned.data) == pixels(data)).all()


def test_a_colour_profile_in_chunks_is_joined_and_a_broken_one_is_none():
    chunks = [SRGB[:200], SRGB[200:]]
    segments = [
        segment(0xE2, b"ICC_PROFILE\0" + bytes((number, 2)) + chunk)
        for number, chunk in reversed(list(enumerate(chunks, 1)))
    ]
    assert read_jpeg(insert(PLAIN, *segments)).icc_profile == SRGB
    assert read_jpeg(insert(PLAIN, segments[0])).icc_profile is None


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_in_both_byte_orders(orientation, order):
    magic = b"II*\0" if order == "<" else b"MM\0*"
    entries = [(0x010F, 3, 1, 7), (0x0112, 3, 1, orientation)]
    directory = struct.pack(order + "H", len(entries)) + b"".join(
        struct.pack(order + "HHIHH", tag, kind, count, value, 0) for tag, kind, count, value in entries
    )
    assert read_orientation(magic + struct.pack(order + "I", 8) + directory) == orientation


@given(st.binary(max_size=64))
def test_any_exif_has_an_orientation(tail):
    assert 1 <= read_orientation(b"II*\0" + tail) <= 8
    assert read_orientation(tail) in range(1, 9)


def with_size(data: bytes, rows: int, columns: int) -> bytes:
    frame = data.index(b"\xff\xc0")
    return data[: frame + 5] + struct.pack(">HH", rows, columns) + data[frame + 9 :]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is not a JPEG"),
        (b"\x89PNG\r\n\x1a\n", "is not a JPEG"),
        (PLAIN[:100], "damaged or cut"),
        (PLAIN[:-2], "ends before its end marker"),
        (PLAIN[:-20], "ends before its end marker"),
        (b"\xff\xd8\xff\xd9", "0 frame headers"),
        (b"\xff\xd8" + bytes(50), "no marker at byte 2"),
        (with_size(PLAIN, 0, 32), "32 x 0 pixels"),
        (with_size(PLAIN, 65535, 65535), "the most is 100 megapixels"),
        (with_size(PLAIN, 9000, 9000), "bytes of picture for 9000 x 9000"),
        (insert(PLAIN, segment(0xC0, b"\x08\0\x18\0\x20\x03")), "2 frame headers"),
    ],
)
def test_a_bad_file_is_refused_with_the_reason(data, why):
    with pytest.raises(NotImportable, match=why) as caught:
        read_jpeg(data)
    assert caught.value.field == "image"


@given(st.binary(max_size=200), st.integers(2, len(PLAIN)))
def test_any_bytes_are_read_or_refused(garbage, at):
    try:
        cleaned = clean(read_jpeg(PLAIN[:at] + garbage + PLAIN[at:]))
    except NotImportable:
        return
    again = read_jpeg(cleaned)
    assert clean(again) == cleaned
    assert cleaned.endswith(b"\xff\xd9")
