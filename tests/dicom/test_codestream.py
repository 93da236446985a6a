"""A compressed frame's own header is read as its encoder wrote it, and nonsense is refused."""

from io import BytesIO

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app.dicom.codestream import Claims, read_jpeg_2000_claims, read_jpeg_claims, read_jpeg_xl_claims
from app.errors import NotConvertible

sizes = st.integers(1, 300)
BASELINE, JPEG_LS = 0xC0, 0xF7  # the markers SOF0 and SOF55
READERS = [read_jpeg_claims, read_jpeg_2000_claims, read_jpeg_xl_claims]


@given(sizes, sizes, st.sampled_from(["L", "RGB"]), st.binary(max_size=40))
@settings(max_examples=40, deadline=None)
def test_jpeg(rows, columns, mode, comment):
    out = BytesIO()
    Image.new(mode, (columns, rows)).save(out, "JPEG", comment=comment)
    claims = read_jpeg_claims(out.getvalue())
    assert claims == Claims(rows, columns, len(mode), 8, "YCBCR", process=BASELINE)


def test_jpeg_says_rgb_or_nothing():
    image = Image.new("RGB", (8, 8))
    out = BytesIO()
    image.save(out, "JPEG", keep_rgb=True)
    assert read_jpeg_claims(out.getvalue()).colour_space == "RGB"
    out = BytesIO()
    image.save(out, "JPEG")
    without_jfif = out.getvalue()[:2] + out.getvalue()[20:]
    assert read_jpeg_claims(without_jfif).colour_space is None


@given(sizes, sizes, st.sampled_from([np.uint8, np.uint16]))
@settings(max_examples=20, deadline=None)
def test_jpeg_ls_and_lossless(rows, columns, kind):
    samples = np.zeros((rows, columns), kind)
    bits = 8 * samples.itemsize
    claims = read_jpeg_claims(imagecodecs.jpegls_encode(samples))
    assert claims == Claims(rows, columns, 1, bits, process=JPEG_LS)
    lossless = imagecodecs.jpeg8_encode(samples, lossless=True, bitspersample=bits)
    claims = read_jpeg_claims(lossless)
    assert (claims.rows, claims.columns, claims.bits) == (rows, columns, bits)


@pytest.mark.parametrize("container", ["j2k", "jp2"])
@given(rows=sizes, columns=sizes, samples=st.sampled_from([1, 3]), kind=st.sampled_from([np.uint8, np.int16]))
@settings(max_examples=20, deadline=None)
def test_jpeg_2000(container, rows, columns, samples, kind):
    array = np.zeros((rows, columns, samples) if samples > 1 else (rows, columns), kind)
    data = imagecodecs.jpeg2k_encode(array, codecformat=container)
    assert read_jpeg_2000_claims(data) == Claims(rows, columns, samples, 8 * array.itemsize)


@pytest.mark.parametrize("use_container", [False, True])
@given(rows=st.integers(1, 3000), columns=st.integers(1, 3000))
@settings(max_examples=30, deadline=None)
def test_jpeg_xl(use_container, rows, columns):
    samples = np.zeros((rows, columns), np.uint8)
    data = imagecodecs.jpegxl_encode(samples, effort=1, usecontainer=use_container)
    claims = read_jpeg_xl_claims(data)
    assert (claims.rows, claims.columns) == (rows, columns)


@pytest.mark.parametrize("reader", READERS)
@given(data=st.binary(max_size=200))
def test_nonsense_is_refused_with_a_sentence(reader, data):
    for start in (
        b"",
        b"\xff\xd8",
        b"\xff\x4f\xff\x51",
        b"\xff\x0a",
        b"\0\0\0\x0cJXL \r\n\x87\n",
        b"\xff\xd8\xff",
    ):
        try:
            claims = reader(start + data)
        except NotConvertible:
            continue
        assert isinstance(claims, Claims)
