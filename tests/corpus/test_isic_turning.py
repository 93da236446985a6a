import dataclasses
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from app.corpus.isic import lossless
from app.corpus.isic.entropy import (
    STANDARD_AC,
    STANDARD_DC,
    HuffmanTable,
    MinimumCodedUnit,
    decode_scan,
    encode_scan,
)
from app.corpus.isic.jpeg import clean, read_jpeg
from app.corpus.isic.picture import prepare_picture
from app.errors import NotImportable
from tests.corpus.pictures import (
    PILLOW_TRANSPOSITIONS,
    SAMPLE,
    asymmetric,
    call,
    insert,
    jpeg_bytes,
    pixels,
    segment,
)

INVERSE = {2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def expected(data: bytes, orientation: int) -> np.ndarray:
    with Image.open(BytesIO(data)) as image:
        return np.asarray(image.transpose(PILLOW_TRANSPOSITIONS[orientation])).astype(int)


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("RGB", {"subsampling": 2}),
        ("RGB", {"subsampling": 1, "restart_marker_blocks": 3}),
        ("RGB", {"subsampling": 0, "optimize": True}),
        ("L", {"optimize": True, "restart_marker_rows": 1}),
        # coarse across, fine down: a table that was not transposed would show
        ("L", {"qtables": [[1 + 12 * (at % 8) for at in range(64)]]}),
    ],
)
def test_whole_units_are_turned_without_loss(orientation, mode, options):
    data = jpeg_bytes(asymmetric(64, 48, mode), orientation, **options)
    picture = prepare_picture(data, call)
    turned = pixels(picture.data)
    want = expected(data, orientation)
    assert turned.shape == want.shape == (picture.jpeg.rows, picture.jpeg.columns, *want.shape[2:])
    # The inverse transforms of two decoders' halves round apart; the coefficients do not.
    assert abs(turned - want).mean() < 1
    assert abs(turned - want).max() <= 12
    assert picture.jpeg.orientation == 1
    assert "without loss" in picture.derivation[0]
    assert len(picture.compression_ratios) == 1
    back = lossless.turn(picture.data, INVERSE[orientation])
    assert (pixels(back) == pixels(data)).all()


@pytest.mark.parametrize("orientation", range(2, 9))
def test_odd_sizes_come_upright_and_say_how(orientation):
    data = jpeg_bytes(asymmetric(61, 43), orientation)
    picture = prepare_picture(data, call)
    want = expected(data, orientation)
    got = pixels(picture.data)
    assert got.shape == want.shape
    assert abs(got - want).mean() < 3
    if orientation == 5:  # only transposed: no edge is mirrored
        assert "without loss" in picture.derivation[0]
    else:
        assert "decoded and encoded again" in picture.derivation[0]
        assert len(picture.compression_ratios) == 2
        assert picture.jpeg.sampling == ((2, 1), (1, 1), (1, 1))


@pytest.mark.parametrize("orientation", [None, 1])
def test_upright_pictures_are_not_touched(orientation):
    data = jpeg_bytes(asymmetric(61, 43), orientation)
    picture = prepare_picture(data, lambda *_: pytest.fail("nothing to decode"))
    assert picture.data == clean(read_jpeg(data))
    assert "bitstream unchanged" in picture.derivation[0]


@pytest.mark.parametrize(
    ("mode", "options", "photometric"),
    [
        ("RGB", {"progressive": True}, "YBR_FULL_422"),
        ("RGB", {"keep_rgb": True}, "YBR_FULL_422"),
        ("CMYK", {}, "YBR_FULL_422"),
        ("L", {"progressive": True}, "MONOCHROME2"),
    ],
)
def test_what_baseline_cannot_carry_is_encoded_again(mode, options, photometric):
    image = asymmetric(61, 43, mode)
    data = jpeg_bytes(image, icc_profile=SRGB, **options)
    xmp = b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description'
    xmp += b' xmlns:x="http://ns.adobe.com/xap/1.0/rights/" x:UsageTerms="CC-BY"/></rdf:RDF>'
    data = insert(data, segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp))
    picture = prepare_picture(data, call)
    assert picture.jpeg.is_baseline
    assert picture.jpeg.photometric_interpretation == photometric
    assert xmp in picture.data
    assert (picture.jpeg.icc_profile == SRGB) is (mode != "CMYK")
    assert ("lossy JPEG has" if "keep_rgb" in options else "Baseline cannot carry") in picture.derivation[0]
    want = np.asarray(image.convert("RGB" if mode == "CMYK" else mode)).astype(int)
    assert abs(pixels(picture.data) - want).mean() < 4


def test_a_real_image_there_and_back():
    data = (SAMPLE / "images" / "ISIC_0009995.jpg").read_bytes()
    there = lossless.turn(data, 6)
    assert read_jpeg(there).rows == read_jpeg(data).columns
    assert (pixels(lossless.turn(there, 8)) == pixels(data)).all()


def test_damaged_data_are_refused():
    data = jpeg_bytes(asymmetric(64, 48), 6)
    scan = data.index(b"\xff\xda") + 14
    for damaged in (
        data[: scan + 40] + b"\xff\xd9",
        data[:scan] + b"\xfe" * (len(data) - scan - 2) + b"\xff\xd9",
    ):
        jpeg = read_jpeg(damaged)
        assert lossless.can_turn(jpeg)
        with pytest.raises(NotImportable, match="damaged picture data"):
            lossless.turn(clean(jpeg), 6)


def test_a_file_that_no_decoder_reads_is_refused():
    data = bytearray(jpeg_bytes(asymmetric(61, 43), 6))
    data[data.index(b"\xff\xc0") + 11] = 0x33  # sampling that the data do not have
    tables = data.index(b"\xff\xc4")
    data[tables + 5 : tables + 21] = b"\xff" * 16
    with pytest.raises(NotImportable, match="cannot be decoded"):
        prepare_picture(bytes(data), call)


def test_too_large_for_plain_python_is_encoded_again(monkeypatch):
    jpeg = read_jpeg(jpeg_bytes(asymmetric(64, 48), 6))
    assert lossless.can_turn(jpeg)
    assert not lossless.can_turn(dataclasses.replace(jpeg, rows=6400, columns=6400))
    monkeypatch.setattr(lossless, "MAX_CODED_BYTES", 10)
    assert not lossless.can_turn(jpeg)


@settings(max_examples=50)
@given(st.integers(1, 5), st.data())
def test_coefficients_survive_coding(units, data):
    unit = MinimumCodedUnit(
        (0, 0, 1), (STANDARD_DC[0], STANDARD_DC[0], STANDARD_DC[1]), (STANDARD_AC[0],) * 2 + (STANDARD_AC[1],)
    )
    blocks = np.zeros((units * 3, 64), dtype=np.int16)
    for _ in range(data.draw(st.integers(0, 40))):
        at = data.draw(st.integers(0, len(blocks) - 1)), data.draw(st.integers(0, 63))
        blocks[at] = data.draw(st.integers(-1023, 1023))
    assert (decode_scan(encode_scan(blocks, unit), unit, units, 0) == blocks).all()


def test_data_that_end_early_are_noticed_to_the_byte():
    unit = MinimumCodedUnit((0,), STANDARD_DC[:1], STANDARD_AC[:1])
    blocks = np.arange(1, 257, dtype=np.int16).reshape(4, 64)
    coded = encode_scan(blocks, unit)
    assert (decode_scan(coded, unit, 4, 0) == blocks).all()
    assert coded[-1]  # not the zero after a stuffed FF, which carries no bits
    for missing in range(1, 12):
        with pytest.raises(ValueError, match="picture data"):
            decode_scan(coded[:-missing], unit, 4, 0)


def test_standard_tables_are_those_that_every_encoder_writes():
    data = jpeg_bytes(asymmetric(16, 16))
    written, at = {}, -1
    while (at := data.find(b"\xff\xc4", at + 1)) >= 0:
        rest = data[at + 4 : at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")]
        while rest:
            count = sum(rest[1:17])
            written[rest[0]] = HuffmanTable(rest[1:17], rest[17 : 17 + count])
            rest = rest[17 + count :]
    assert [written[key] for key in (0, 1, 0x10, 0x11)] == [*STANDARD_DC, *STANDARD_AC]
