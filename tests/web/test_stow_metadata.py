"""STOW-RS of metadata and bulk data (PS3.18 10.5.1): DICOM JSON and the Native DICOM Model."""

import base64
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from io import BytesIO

import pydicom
import pytest
from pydicom.dataset import Dataset

from app.cage import Cage
from app.dicom.xml_model import xml_document
from app.web.store_spool import BUFFER_BYTES
from tests.factories import instance_bytes, make_jpeg, make_pixels, uid
from tests.servers import PROJECT
from tests.web.models import (
    BULK,
    JSON,
    PIXEL_DATA,
    XML,
    body,
    bulk,
    failures,
    held,
    metadata,
    model,
    post,
    without_pixels,
)
from tests.web.storing import BOUNDARY, Client, answer, assert_nothing_is_held, empty_archive

SPECIMENS = PROJECT / "tests" / "data" / "dicom" / "valid"


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


class TestJson:
    """PS3.18 10.5.1 (checklist 54): one array in one part, bulk data after it."""

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
        """PS3.18 Annex I.2 (checklist 58): what is left out is said, with B006."""
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

    def test_bulk_data_are_never_in_memory_as_a_whole(self, client, archive, monkeypatch):
        """Neither while they come nor while the file is composed; the length is not known in advance."""
        written = []
        staged = type(archive.storage.staging().__enter__().new())
        write = staged.write
        monkeypatch.setattr(
            staged, "write", lambda self, data: (written.append(len(data)), write(self, data))
        )
        one = model(rows=1000, columns=2000)
        pixels = base64.b64decode(one[PIXEL_DATA]["InlineBinary"])
        one[PIXEL_DATA] = {"vr": "OW", "BulkDataURI": BULK}
        content = body(metadata(one), bulk(pixels))

        async def chunks() -> AsyncIterator[bytes]:
            for start in range(0, len(content), 65536):
                yield content[start : start + 65536]

        content_type = f'multipart/related; type="{JSON}"; boundary={BOUNDARY}'
        assert client.post(chunks(), Content_Type=content_type).status_code == 200
        assert sum(written) > 2 * len(pixels)
        assert max(written) <= BUFFER_BYTES + 65536

    def test_another_study(self, client, archive):
        """PS3.18 10.5.1 (checklist 53)."""
        response = post(client, metadata(model()), study=f"/{uid('other')}")
        assert (response.status_code, failures(response)) == (409, [0xA900])
        assert_nothing_is_held(archive)


class TestXml:
    """PS3.18 10.5.1 (checklist 54): one data set in each part, bulk data after them."""

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


@pytest.mark.skipif(shutil.which("dcm2json") is None, reason="Debian package dcmtk is not installed")
class TestOfDcmtk:
    """What dcm2json and dcm2xml write is taken back; their data sets are compared with the original."""

    @pytest.mark.parametrize(
        "name", ["chrRuss", "sr_document", "rtplan", "image_dfl", "waveform_ecg", "sm_image"]
    )
    def test_json(self, client, archive, name):
        content = subprocess.run(
            ["dcm2json", SPECIMENS / f"{name}.dcm"], check=True, capture_output=True
        ).stdout
        assert client.post(content, Content_Type=JSON).status_code == 200
        self.compare(held(archive), name)

    @pytest.mark.parametrize("name", ["chrRuss", "sr_document", "rtplan", "image_dfl", "sm_image"])
    def test_xml(self, client, archive, name):
        command = ["dcm2xml", "-nat", "+Eb", SPECIMENS / f"{name}.dcm"]
        content = subprocess.run(command, check=True, capture_output=True).stdout
        assert client.post(content, Content_Type=XML).status_code == 200
        self.compare(held(archive), name)

    def compare(self, stored: pydicom.FileDataset, name: str) -> None:
        original = pydicom.dcmread(SPECIMENS / f"{name}.dcm")
        for one in original:
            # Both turn text into UTF-8, and leave out components of names that are empty.
            if one.tag.group % 2 or one.keyword == "SpecificCharacterSet" or one.VR in {"PN", "SQ"}:
                continue
            assert stored[one.tag].value == one.value, one
