"""STOW-RS of metadata and bulk data (PS3.18 10.5.1): JSON, XML, pictures and documents."""

import json
from collections.abc import Iterator
from io import BytesIO

import numpy as np
import pydicom
import pytest
from PIL import Image, ImageCms
from pydicom.dataset import Dataset

from app.cage import Cage
from app.dicom import json_reader
from app.dicom.xml_model import xml_document
from tests.factories import instance_bytes, make_jpeg, make_pixels, uid
from tests.web.storing import BOUNDARY, Client, answer, assert_nothing_is_held, empty_archive

JSON, XML = "application/dicom+json", "application/dicom+xml"
IMAGE_PIXEL = "0028"
PIXEL_DATA = "7FE00010"
BULK = "bulk/1"


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


def model(**arguments) -> dict:
    """An instance as DICOM JSON has it, its pixels inline."""
    return pydicom.dcmread(BytesIO(instance_bytes(**arguments))).to_json_dict()


def without_pixels(uri: str | None = BULK, **arguments) -> dict:
    """The metadata of a picture that others describe: no Image Pixel attributes, pixels by reference."""
    attributes = {tag: one for tag, one in model(**arguments).items() if not tag.startswith(IMAGE_PIXEL)}
    del attributes[PIXEL_DATA]
    return attributes | ({PIXEL_DATA: {"vr": "OB", "BulkDataURI": uri}} if uri else {})


def body(*parts: tuple[str, bytes]) -> bytes:
    """A multipart of header lines and contents."""
    content = b"".join(f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + part + b"\r\n" for head, part in parts)
    return content + f"--{BOUNDARY}--\r\n".encode()


def metadata(*models: dict) -> tuple[str, bytes]:
    return f"Content-Type: {JSON}", json.dumps(models).encode()


def bulk(
    content: bytes, media_type: str = "application/octet-stream", location: str = BULK
) -> tuple[str, bytes]:
    return f"Content-Type: {media_type}\r\nContent-Location: {location}", content


def post(client: Client, *parts: tuple[str, bytes], root: str = JSON, **options):
    content_type = f'multipart/related; type="{root}"; boundary={BOUNDARY}'
    return client.post(body(*parts), Content_Type=content_type, **options)


def held(archive, sop_instance_uid: str | None = None) -> pydicom.FileDataset:
    """The one file that is held, or that of an instance."""
    for key in list(archive.storage.keys()):
        with archive.storage.open(key) as opened:
            dataset = pydicom.dcmread(BytesIO(opened.read(0, opened.size)))
        if sop_instance_uid in {None, dataset.SOPInstanceUID}:
            return dataset
    raise AssertionError("it is not held")


def failures(response) -> list[int]:
    said = answer(response)
    items = [*said.get("FailedSOPSequence", []), *said.get("OtherFailuresSequence", [])]
    return [item.FailureReason for item in items]


def png(pixels: np.ndarray, **options) -> bytes:
    out = BytesIO()
    Image.fromarray(pixels).save(out, "PNG", **options)
    return out.getvalue()


class TestJson:
    """PS3.18 10.5.1.1.1 (checklist 54): one array in one part, bulk data after it."""

    def test_several_instances_with_bulk_data(self, client, archive):
        pixels = make_pixels().tobytes()
        models = []
        for name in ("a", "b"):
            one = model(name=name)
            one[PIXEL_DATA] = {"vr": one[PIXEL_DATA]["vr"], "BulkDataURI": f"bulk/{name}"}
            models.append(one)
        response = post(
            client, metadata(*models), bulk(pixels, location="bulk/b"), bulk(pixels, location="bulk/a")
        )
        assert response.status_code == 200, response.headers
        assert [item.ReferencedSOPInstanceUID for item in answer(response).ReferencedSOPSequence] == [
            uid("a"),
            uid("b"),
        ]
        assert held(archive, uid("a")) == pydicom.dcmread(BytesIO(instance_bytes(name="a")))

    @pytest.mark.parametrize("content_type", [JSON, "application/json", f"{JSON}; charset=utf-8"])
    def test_a_single_part_without_bulk_data(self, client, archive, content_type):
        response = client.post(json.dumps([model()]).encode(), Content_Type=content_type)
        assert response.status_code == 200
        assert held(archive) == pydicom.dcmread(BytesIO(instance_bytes()))

    def test_the_same_again_is_a_success(self, client, archive):
        """PS3.18 10.5 (checklist 59): composed again, the file is the same byte for byte."""
        for _ in range(2):
            response = post(client, metadata(without_pixels()), bulk(make_jpeg(), "image/jpeg"))
            assert response.status_code == 200
        assert len(list(archive.storage.keys())) == 1
        assert (
            post(client, metadata(without_pixels()), bulk(make_jpeg(quality=50), "image/jpeg")).status_code
            == 409
        )

    def test_bulk_data_below_sequences_and_text(self, client, archive):
        one = model()
        one["00420010"] = {"vr": "ST", "BulkDataURI": "text"}
        one["00081140"] = {"vr": "SQ", "Value": [{"00091010": {"vr": "UN", "BulkDataURI": "deep"}}]}
        response = post(
            client, metadata(one), bulk("Zoë".encode(), "text/plain", "text"), bulk(b"abc", location="deep")
        )
        assert response.status_code == 200, response.headers
        stored = held(archive)
        assert stored.DocumentTitle == "Zoë"
        assert stored.ReferencedImageSequence[0][0x00091010].value == b"abc\0"

    def test_some_good_some_not(self, client, archive):
        """PS3.18 10.5.3 (checklist 57): each instance has its own result."""
        bad_value, no_uid = model(name="b"), model(name="c")
        bad_value["00280010"]["Value"] = ["many"]
        del no_uid["00080018"]
        response = post(client, metadata(model(name="a"), bad_value, no_uid))
        said = answer(response)
        assert response.status_code == 202
        assert [item.ReferencedSOPInstanceUID for item in said.ReferencedSOPSequence] == [uid("a")]
        assert failures(response) == [0xC000, 0x0117]
        assert "(0028,0010)" in response.headers["Warning"]

    def test_bulk_data_that_did_not_come(self, client, archive):
        response = post(client, metadata(without_pixels()))
        (failed,) = answer(response).FailedSOPSequence
        assert response.status_code == 409
        assert (failed.FailureReason, failed.ReferencedSOPInstanceUID) == (0xC000, uid("instance"))
        assert BULK in response.headers["Warning"]
        assert_nothing_is_held(archive)

    def test_bulk_data_that_nobody_names(self, client, archive):
        response = post(client, metadata(model()), bulk(b"abc", location="other"))
        said = answer(response)
        assert response.status_code == 202
        assert len(said.ReferencedSOPSequence) == len(said.OtherFailuresSequence) == 1
        assert "other" in response.headers["Warning"]

    def test_bulk_data_named_very_often(self, client, archive):
        """A small body must not become a large archive."""
        models = [
            model(name=str(number)) | {"00091010": {"vr": "OB", "BulkDataURI": BULK}} for number in range(30)
        ]
        response = post(client, metadata(*models), bulk(bytes(1_000_000)))
        assert response.status_code == 202
        assert 0xC000 in failures(response)
        assert len(list(archive.storage.keys())) == 19  # of 20 MB that one request may bring

    def test_elements_of_the_file_meta_information(self, client, archive):
        """PS3.18 Table I.2-1 (checklist 58): what is left out is said, with B006."""
        one = model() | {
            "00020016": {"vr": "AE", "Value": ["ME"]},
            "00020010": {"vr": "UI", "Value": ["1.2.840.10008.1.2"]},
        }
        response = post(client, metadata(one))
        (stored,) = answer(response).ReferencedSOPSequence
        assert (response.status_code, stored.WarningReason) == (202, 0xB006)
        assert "(0002,0016)" in response.headers["Warning"]
        assert held(archive).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"

    def test_text_that_its_character_set_cannot_hold(self, client, archive):
        """PS3.18 F.2 (checklist 59): the text counts, and the coercion is recorded."""
        response = post(
            client,
            metadata(
                model(SpecificCharacterSet="ISO_IR 100")
                | {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Иван"}]}}
            ),
        )
        (stored,) = answer(response).ReferencedSOPSequence
        assert (response.status_code, stored.WarningReason) == (202, 0xB000)
        (original,) = stored.OriginalAttributesSequence
        assert original.ModifiedAttributesSequence[0].SpecificCharacterSet == "ISO_IR 100"
        assert original.ReasonForTheAttributeModification == "COERCE"
        assert (held(archive).SpecificCharacterSet, held(archive).PatientName) == ("ISO_IR 192", "Иван")

    def test_another_study(self, client, archive):
        """PS3.18 10.5.1.2 (checklist 53)."""
        response = post(client, metadata(model()), study=f"/{uid('other')}")
        assert (response.status_code, failures(response)) == (409, [0xA900])
        assert_nothing_is_held(archive)


class TestXml:
    """PS3.18 10.5.1.1.2 (checklist 54): one data set in each part, bulk data after them."""

    def test_several_instances_with_bulk_data(self, client, archive):
        parts = []
        for name in ("a", "b"):
            one = model(name=name)
            one[PIXEL_DATA] = {"vr": one[PIXEL_DATA]["vr"], "BulkDataURI": f"bulk/{name}"}
            parts.append((f"Content-Type: {XML}; charset=utf-8", xml_document(one)))
        pixels = make_pixels().tobytes()
        response = post(
            client,
            *parts,
            bulk(pixels, location="bulk/a"),
            bulk(pixels, location="bulk/b"),
            root=XML,
            Accept=XML,
        )
        assert (response.status_code, response.headers["content-type"]) == (200, XML)
        assert held(archive, uid("b")) == pydicom.dcmread(BytesIO(instance_bytes(name="b")))

    def test_a_single_part(self, client, archive):
        response = client.post(xml_document(model()), Content_Type=XML)
        assert response.status_code == 200
        assert held(archive) == pydicom.dcmread(BytesIO(instance_bytes()))

    def test_one_that_is_none(self, client, archive):
        hostile = b'<!DOCTYPE a [<!ENTITY b "c">]><NativeDicomModel/>'
        response = post(
            client,
            (f"Content-Type: {XML}", hostile),
            (f"Content-Type: {XML}", xml_document(model())),
            root=XML,
        )
        said = answer(response)
        assert (response.status_code, len(said.ReferencedSOPSequence)) == (202, 1)
        assert [item.FailureReason for item in said.OtherFailuresSequence] == [0xC000]
        assert "DOCTYPE" in response.headers["Warning"]


class TestPictures:
    """PS3.18 10.5.1.1.3 (checklist 55): Image Pixel attributes come from the picture."""

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
        """PS3.18 Table I.2-1 (checklist 58, 59): replaced, with B000 and what they were."""
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
            (b"", "video/mp4", 0xC122),
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


class TestDocuments:
    def document(self, **more) -> dict:
        one = without_pixels(None) | {
            "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.104.1"]},
            "00420011": {"vr": "OB", "BulkDataURI": BULK},
        }
        return one | more

    def test_a_pdf(self, client, archive):
        """PS3.18 10.5.1.1.3 (checklist 55)."""
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


class TestOrder:
    """PS3.18 10.5.1.1 (checklist 54): where the body cannot be understood, nothing of it is stored."""

    @pytest.mark.parametrize(
        ("parts", "root", "status", "says"),
        [
            ([bulk(b"a"), metadata(model())], JSON, 400, "Part 1 comes before the metadata"),
            ([metadata(model()), metadata(model())], JSON, 400, "one array in one part"),
            ([metadata(model()), bulk(b"a"), metadata(model())], JSON, 400, "Part 3 has metadata"),
            ([metadata(model()), bulk(b"a"), bulk(b"b")], JSON, 400, f"Content-Location of another: {BULK}"),
            ([metadata(model()), ("Content-Type: image/jpeg", b"")], JSON, 400, "no Content-Location"),
            ([metadata(model()), bulk(b"", "image/jpeg; transfer-syntax=jpeg")], JSON, 400, "no UID"),
            (
                [metadata(model()), (f"Content-Location: {BULK}\r\nContent-Encoding: gzip", b"")],
                JSON,
                415,
                "gzip",
            ),
            ([metadata()], JSON, 400, "of no instance"),
            ([(f"Content-Type: {JSON}", b"[{]")], JSON, 400, "not JSON"),
            ([(f"Content-Type: {JSON}", b"[" * 5000)], JSON, 400, "not JSON"),
            ([(f"Content-Type: {JSON}; charset=utf-16", b"[]")], JSON, 415, "UTF-8"),
            ([metadata(model())], XML, 400, f"of type {XML}"),
            (
                [(f"Content-Type: {XML}", b""), bulk(b"a"), (f"Content-Type: {XML}", b"")],
                XML,
                400,
                "before all bulk data",
            ),
        ],
    )
    def test_malformed(self, client, archive, parts, root, status, says):
        response = post(client, *parts, root=root)
        assert response.status_code == status
        assert says in response.json()["detail"]
        assert_nothing_is_held(archive)

    def test_metadata_that_are_too_long(self, client, archive, monkeypatch):
        monkeypatch.setattr("app.web.metadata_spool.JSON_BYTES", 1000)
        response = post(client, metadata(model()))
        assert response.status_code == 413
        assert "1000 bytes" in response.json()["detail"]
        assert_nothing_is_held(archive)

    def test_the_limit_is_that_of_the_reader(self):
        from app.web import metadata_spool

        assert metadata_spool.JSON_BYTES is json_reader.JSON_BYTES

    def test_a_body_cut_short(self, client, archive):
        content_type = f'multipart/related; type="{JSON}"; boundary={BOUNDARY}'
        cut = body(metadata(without_pixels()), bulk(make_jpeg(), "image/jpeg"))[:-100]
        response = client.post(cut, Content_Type=content_type)
        assert response.status_code == 400
        assert_nothing_is_held(archive)


def test_the_answer_as_xml_says_the_same(client):
    """PS3.18 10.5.3 (checklist 56)."""
    from app.dicom.xml_reader import read_xml

    content = json.dumps([model(), model() | {"00100020": {"vr": "LO", "Value": ["OTHER"]}}]).encode()
    as_json = client.post(content, Content_Type=JSON)
    as_xml = client.post(content, Content_Type=JSON, Accept=XML)
    assert as_json.status_code == as_xml.status_code == 202
    assert as_xml.headers["content-type"] == XML
    assert Dataset.from_json(read_xml(as_xml.content)) == answer(as_json)
    parts = client.post(content, Content_Type=JSON, Accept=f'multipart/related; type="{XML}"')
    assert parts.status_code == 202
    assert as_xml.content in parts.content
