"""STOW-RS of pictures and documents that are not DICOM (PS3.18 10.5.1)."""

import struct
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from app.cage import Cage
from app.dicom.mp4 import read_film
from app.errors import Unreadable, UnsupportedTransferSyntax
from tests.factories import make_jpeg, make_pixels, uid
from tests.web.models import (
    BULK,
    PIXEL_DATA,
    bulk,
    failures,
    held,
    metadata,
    model,
    png,
    post,
    without_pixels,
)
from tests.web.storing import Client, answer, assert_nothing_is_held, empty_archive


@pytest.fixture(scope="module")
def cage() -> Iterator[Cage]:
    cage = Cage(processes=2, memory_bytes=2**30, cpu_s=10, wall_s=120)
    yield cage
    cage.close()


@pytest.fixture
def archive(tmp_path, cage):
    with empty_archive(tmp_path, cage) as archive:
        yield archive


@pytest.fixture
def client(archive) -> Client:
    return Client(archive)


def box(kind: bytes, *contents: bytes) -> bytes:
    """A box of an ISO base media file."""
    content = b"".join(contents)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def film(
    coding: bytes = b"avc1", profile: int = 100, level: int = 41, frames: int = 50, handler: bytes = b"vide"
) -> bytes:
    """An MP4 of 640 x 480 pixels and two seconds, its movie box at the end as cameras have it."""
    configuration = box(b"avcC", bytes([1, profile, 0, level]))
    if coding == b"hvc1":
        configuration = box(b"hvcC", bytes([1, profile]) + bytes(10) + bytes([level]))
    entry = box(coding, bytes(24), struct.pack(">HH", 640, 480), bytes(50), configuration)
    table = box(b"stbl", box(b"stsd", bytes(8), entry), box(b"stsz", bytes(8), struct.pack(">I", frames)))
    media = box(
        b"mdia",
        box(b"mdhd", bytes(12), struct.pack(">II", 1000, 2000)),
        box(b"hdlr", bytes(8), handler),
        box(b"minf", table),
    )
    return box(b"ftyp", b"isom") + box(b"mdat", bytes(100)) + box(b"moov", box(b"trak", media))


class TestPictures:
    """PS3.18 10.5.1 (checklist 55): Image Pixel attributes come from the picture."""

    def test_a_jpeg_is_kept_as_it_is(self, client, archive):
        picture = make_jpeg(33, 57)
        response = post(client, metadata(without_pixels()), bulk(picture, "image/jpeg"))
        assert response.status_code == 200, response.headers
        stored = held(archive)
        assert stored.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.50"
        (frame,) = pydicom.encaps.generate_frames(stored.PixelData, number_of_frames=1)
        assert frame.removesuffix(b"\0") == picture.removesuffix(b"\0")
        assert (stored.Rows, stored.Columns, stored.SamplesPerPixel, stored.BitsStored) == (33, 57, 3, 8)
        assert (stored.PhotometricInterpretation, stored.LossyImageCompression) == ("YBR_FULL_422", "01")

    @pytest.mark.parametrize(
        ("mode", "syntax", "photometric"),
        [
            ({}, "1.2.840.10008.1.2.4.50", "YBR_FULL_422"),
            ({"progressive": True}, "1.2.840.10008.1.2.4.55", "YBR_FULL_422"),
            ({"keep_rgb": True}, "1.2.840.10008.1.2.4.50", "RGB"),
            ({"gray": True}, "1.2.840.10008.1.2.4.50", "MONOCHROME2"),
        ],
    )
    def test_kinds_of_jpeg(self, client, archive, mode, syntax, photometric):
        out = BytesIO()
        picture = Image.fromarray(make_pixels())
        if mode.pop("gray", False):
            picture = picture.convert("L")
        picture.save(out, "JPEG", **mode)
        response = post(client, metadata(without_pixels()), bulk(out.getvalue(), "image/jpeg"))
        assert response.status_code == 200, response.headers
        stored = held(archive)
        assert stored.file_meta.TransferSyntaxUID == syntax
        assert stored.PhotometricInterpretation == photometric

    @pytest.mark.parametrize(
        ("pixels", "photometric"),
        [
            (make_pixels(), "RGB"),
            (make_pixels()[:, :, 0], "MONOCHROME2"),
            (np.dstack([make_pixels(), np.full((16, 24), 255, np.uint8)]), "RGB"),
            (make_pixels()[:, :, 0].astype(np.uint16) * 200, "MONOCHROME2"),
        ],
        ids=["colour", "gray", "opaque", "16 bits"],
    )
    def test_a_png_is_decoded(self, client, archive, pixels, photometric):
        response = post(client, metadata(without_pixels()), bulk(png(pixels), "image/png"))
        assert response.status_code == 200, response.headers
        stored = held(archive)
        assert stored.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
        assert stored.PhotometricInterpretation == photometric
        expected = pixels[:, :, :3] if pixels.ndim == 3 else pixels
        assert np.array_equal(stored.pixel_array, expected)
        assert "LossyImageCompression" not in stored

    def test_the_colour_profile_of_a_png(self, client, archive):
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        picture = png(make_pixels(), icc_profile=profile)
        assert post(client, metadata(without_pixels()), bulk(picture, "image/png")).status_code == 200
        assert held(archive).ICCProfile.removesuffix(b"\0") == profile.removesuffix(b"\0")

    def test_attributes_that_do_not_agree(self, client, archive):
        """PS3.18 Annex I.2 (checklist 58, 59): replaced, with B000 and what they were."""
        one = without_pixels() | {
            "00280010": {"vr": "US", "Value": [512]},
            "00280011": {"vr": "US", "Value": [24]},
            "00280004": {"vr": "CS", "Value": ["YBR_FULL"]},
        }
        response = post(client, metadata(one), bulk(make_jpeg(), "image/jpeg"))
        (stored,) = answer(response).ReferencedSOPSequence
        assert (response.status_code, stored.WarningReason) == (202, 0xB000)
        (modified,) = stored.OriginalAttributesSequence[0].ModifiedAttributesSequence
        assert [(one.keyword, one.value) for one in modified] == [("Rows", 512)]
        assert (held(archive).Rows, held(archive).PhotometricInterpretation) == (16, "YBR_FULL")

    def test_earlier_compressions_are_the_senders_to_tell(self, client, archive):
        one = without_pixels() | {
            "00282110": {"vr": "CS", "Value": ["01"]},
            "00282112": {"vr": "DS", "Value": [4, 2]},
        }
        assert post(client, metadata(one), bulk(make_jpeg(), "image/jpeg")).status_code == 200
        assert held(archive).LossyImageCompressionRatio == [4, 2]
        assert "LossyImageCompressionMethod" not in held(archive)

    def test_frames_in_parts_of_their_own(self, client, archive):
        frames = [make_jpeg(quality=quality) for quality in (50, 70, 90)]
        parts = [
            bulk(frame, "image/jpeg", f"{BULK}/frames/{number}") for number, frame in enumerate(frames, 1)
        ]
        response = post(client, metadata(without_pixels()), *reversed(parts))
        assert response.status_code == 200, response.headers
        stored = held(archive)
        assert stored.NumberOfFrames == 3
        found = pydicom.encaps.generate_frames(stored.PixelData, number_of_frames=3)
        assert [frame.removesuffix(b"\0") for frame in found] == [one.removesuffix(b"\0") for one in frames]
        assert post(client, metadata(without_pixels(name="b")), *parts[1:]).status_code == 409

    def test_compressed_bulk_data_in_a_transfer_syntax_that_is_named(self, client, archive):
        one = model(jpeg=True)
        one[PIXEL_DATA] = {"vr": "OB", "BulkDataURI": BULK}
        stream = b"\xff\x4f\xff\x51" + bytes(60)
        response = post(
            client, metadata(one), bulk(stream, "image/jp2; transfer-syntax=1.2.840.10008.1.2.4.91")
        )
        assert response.status_code == 200
        assert held(archive).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.91"

    def test_the_metadata_name_the_transfer_syntax_before_the_part(self, client, archive):
        """PS3.18 8.7.3 (checklist 12)."""
        one = model() | {"00020010": {"vr": "UI", "Value": ["1.2.840.10008.1.2.4.90"]}}
        one[PIXEL_DATA] = {"vr": "OB", "BulkDataURI": BULK}
        response = post(client, metadata(one), bulk(b"\xff\x4f\xff\x51", "image/jp2"))
        assert response.status_code == 200
        assert held(archive).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.90"

    @pytest.mark.parametrize(
        ("content", "media_type", "reason"),
        [
            (b"GIF89a", "image/gif", 0xC122),
            (b"", "video/mpeg", 0xC122),
            (b"", "video/mp4", 0xC000),
            (film(b"av01"), "video/mp4", 0xC122),
            (film(profile=110), "video/mp4", 0xC122),
            (film(level=51), "video/mp4", 0xC122),
            (film(handler=b"soun"), "video/mp4", 0xC000),
            (film()[:-1], "video/mp4", 0xC000),
            (make_jpeg(), "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.90", 0xC122),
            (make_jpeg(), "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.70", 0xC122),
            (make_jpeg().replace(b"\xff\xc0", b"\xff\xc9"), "image/jpeg", 0xC122),
            (b"no picture", "image/jpeg", 0xC000),
            (b"no picture", "image/png", 0xC000),
            (png(make_pixels())[:60], "image/png", 0xC000),
            (png(np.zeros((4, 4, 4), np.uint8)), "image/png", 0xC000),
            (
                png(make_pixels())[:16] + b"\x7f\xff\xff\xff" * 2 + png(make_pixels())[24:],
                "image/png",
                0xC000,
            ),
            (make_pixels().tobytes(), "application/octet-stream", 0xC000),
            (b"", "image/jpeg", 0xC000),
        ],
    )
    def test_what_is_no_picture_that_can_be_kept(self, client, archive, content, media_type, reason):
        """PS3.18 Table I.2-2 (checklist 58)."""
        response = post(client, metadata(without_pixels()), bulk(content, media_type))
        assert (response.status_code, failures(response)) == (409, [reason]), response.headers
        assert answer(response).FailedSOPSequence[0].ReferencedSOPInstanceUID == uid("instance")
        assert response.headers["Warning"]
        assert_nothing_is_held(archive)


class TestFilms:
    """PS3.18 10.5.1 (checklist 55): an MP4 is kept as it is; its movie box tells the rest."""

    @pytest.mark.parametrize(
        ("content", "syntax", "bits"),
        [
            (film(), "102", 8),
            (film(profile=77, level=30), "102", 8),
            (film(level=42), "104", 8),
            (film(b"hvc1", profile=1, level=120), "107", 8),
            (film(b"hvc1", profile=2, level=153), "108", 10),
        ],
    )
    def test_an_mp4(self, client, archive, content, syntax, bits):
        response = post(client, metadata(without_pixels()), bulk(content, "video/mp4"))
        assert response.status_code == 200, response.headers
        stored = held(archive)
        assert stored.file_meta.TransferSyntaxUID == f"1.2.840.10008.1.2.4.{syntax}"
        assert (stored.Rows, stored.Columns, stored.BitsStored, stored.NumberOfFrames) == (480, 640, bits, 50)
        assert (stored.FrameTime, stored.CineRate, stored.PhotometricInterpretation) == (
            40,
            25,
            "YBR_PARTIAL_420",
        )
        fragments = pydicom.encaps.generate_fragments(stored.PixelData)
        next(fragments)  # the Basic Offset Table
        assert b"".join(fragments)[: len(content)] == content

    def test_one_whose_transfer_syntax_is_named(self, client, archive):
        described = model() | {PIXEL_DATA: {"vr": "OB", "BulkDataURI": BULK}}
        part = bulk(b"a stream", "video/mp4; transfer-syntax=1.2.840.10008.1.2.4.106")
        assert post(client, metadata(described), part).status_code == 200
        assert held(archive).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.106"

    @given(st.integers(0, len(film()) - 1), st.binary(max_size=12))
    @settings(max_examples=200)
    def test_damaged_ones_are_read_or_refused(self, place, damage):
        content = film()[:place] + damage + film()[place + len(damage) :]
        with suppress(Unreadable, UnsupportedTransferSyntax):
            read_film(BytesIO(content), len(content))


class TestDocuments:
    def document(self, **more) -> dict:
        one = without_pixels(None) | {
            "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.104.1"]},
            "00420011": {"vr": "OB", "BulkDataURI": BULK},
        }
        return one | more

    def test_a_pdf(self, client, archive):
        """PS3.18 10.5.1 (checklist 55)."""
        content = b"%PDF-1.4 and so on."
        response = post(client, metadata(self.document()), bulk(content, "application/pdf"))
        assert response.status_code == 200, response.headers
        stored = held(archive)
        assert stored.EncapsulatedDocument == content + b"\0"
        assert (stored.MIMETypeOfEncapsulatedDocument, stored.EncapsulatedDocumentLength) == (
            "application/pdf",
            19,
        )

    def test_what_is_called_a_pdf(self, client, archive):
        response = post(client, metadata(self.document()), bulk(b"MZ", "application/pdf"))
        assert (response.status_code, failures(response)) == (409, [0xC000])
