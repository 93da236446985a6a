"""What notebooks and 3D Slicer use, Python's dicomweb-client, against the real server.

Warnings are errors in this suite, so a lenient reading by the client fails here too.
"""

from collections.abc import Iterator
from io import BytesIO

import numpy as np
import pytest
from dicomweb_client import DICOMwebClient
from dicomweb_client.session_utils import create_session
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit
from requests import HTTPError

from tests.conformance.conftest import OF_ORTHANC
from tests.conftest import SAMPLE
from tests.factories import instance_bytes, make_instance, uid
from tests.servers import Server

NAME = "ISIC_0000000"
ORIGINAL = SAMPLE / "images" / f"{NAME}.jpg"
PICTURES = len(list((SAMPLE / "images").glob("*.jpg")))


def picture(encoded: bytes) -> Image.Image:
    """A picture from its file."""
    return Image.open(BytesIO(encoded))


@pytest.fixture
def client(root: str, request: pytest.FixtureRequest) -> DICOMwebClient:
    asked = request.node.callspec.params.get("media_types")
    reason = OF_ORTHANC.get((request.node.originalname, asked))
    if reason is not None and "/proxy/" in root:
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
    return DICOMwebClient(root)


@pytest.fixture
def uids(client: DICOMwebClient) -> tuple[str, str, str]:
    """The study, series and SOP Instance UID of one picture of the sample."""
    [study] = client.search_for_studies(search_filters={"PatientID": NAME})
    study_instance_uid = Dataset.from_json(study).StudyInstanceUID
    [instance] = map(Dataset.from_json, client.search_for_instances(study_instance_uid))
    return study_instance_uid, instance.SeriesInstanceUID, instance.SOPInstanceUID


def test_searches_all_levels(client: DICOMwebClient, uids: tuple[str, str, str]) -> None:
    study, series, sop = uids
    assert len(client.search_for_studies()) == PICTURES
    assert len(client.search_for_series()) == PICTURES
    assert len(client.search_for_instances()) == PICTURES
    assert [Dataset.from_json(one).SeriesInstanceUID for one in client.search_for_series(study)] == [series]
    assert [Dataset.from_json(one).SOPInstanceUID for one in client.search_for_instances(study, series)] == [
        sop
    ]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        pytest.param({"PatientID": "ISIC_000000?"}, 5, id="wildcard"),
        pytest.param({"00100020": NAME}, 1, id="tag"),
        pytest.param({"PatientID": "*"}, PICTURES, id="star"),
        pytest.param({"PatientName": NAME.lower()}, 1, id="names ignore case"),
        pytest.param({"ModalitiesInStudy": "XC"}, PICTURES, id="modalities in study"),
        pytest.param({"PatientID": "nobody"}, 0, id="nothing"),
    ],
)
def test_search_filters(client: DICOMwebClient, filters: dict[str, str], found: int) -> None:
    assert len(client.search_for_studies(search_filters=filters)) == found


def test_pages_in_a_stable_order(client: DICOMwebClient) -> None:
    whole = client.search_for_studies(fields=["StudyDescription"])
    pages = [client.search_for_studies(limit=5, offset=offset) for offset in range(0, PICTURES, 5)]
    paged = [Dataset.from_json(study).StudyInstanceUID for page in pages for study in page]
    assert paged == [Dataset.from_json(study).StudyInstanceUID for study in whole]
    assert client.search_for_studies(offset=PICTURES) == []


def test_retrieves_metadata_at_each_level(client: DICOMwebClient, uids: tuple[str, str, str]) -> None:
    study, series, sop = uids
    of_study = client.retrieve_study_metadata(study)
    assert of_study == client.retrieve_series_metadata(study, series)
    assert of_study == [client.retrieve_instance_metadata(study, series, sop)]
    asked: list[str] = []
    dataset = Dataset.from_json(of_study[0], bulk_data_uri_handler=lambda uri: asked.append(uri) or b"")
    assert dataset.SOPInstanceUID == sop
    assert dataset.PhotometricInterpretation.startswith("YBR")
    assert asked, "pixel data stand in metadata by reference"


def test_retrieves_bulk_data(client: DICOMwebClient, uids: tuple[str, str, str]) -> None:
    uri = client.retrieve_instance_metadata(*uids)["7FE00010"]["BulkDataURI"]
    [pixel_data] = client.retrieve_bulkdata(uri)
    assert np.array_equal(np.asarray(picture(pixel_data)), np.asarray(picture(ORIGINAL.read_bytes())))


def test_retrieves_a_range_of_bulk_data(client: DICOMwebClient, uids: tuple[str, str, str]) -> None:
    """PS3.18 10.4.1.1.5 (checklist 38)."""
    uri = client.retrieve_instance_metadata(*uids)["7FE00010"]["BulkDataURI"]
    [whole] = client.retrieve_bulkdata(uri)
    assert client.retrieve_bulkdata(uri, byte_range=(1000, 1999)) == [whole[1000:2000]]


def test_retrieves_an_instance_as_stored(client: DICOMwebClient, uids: tuple[str, str, str]) -> None:
    instance = client.retrieve_instance(*uids)
    assert instance.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    assert uids[2] == instance.SOPInstanceUID


def test_series_and_study_come_decoded_without_a_transfer_syntax(
    client: DICOMwebClient, uids: tuple[str, str, str]
) -> None:
    # PS3.18 8.7.3.5.2: application/dicom without a transfer syntax is Explicit VR Little Endian
    expected = np.asarray(picture(ORIGINAL.read_bytes()).convert("RGB"), dtype=int)
    for [instance] in (client.retrieve_series(*uids[:2]), list(client.iter_study(uids[0]))):
        assert instance.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert instance.PhotometricInterpretation == "RGB"
        assert np.abs(instance.pixel_array.astype(int) - expected).mean() < 1


@pytest.mark.parametrize(
    "media_types",
    [
        None,
        ("image/jpeg",),
        ("image/*",),
        (("image/jpeg", str(JPEGBaseline8Bit)),),
        (("application/octet-stream", "*"),),
    ],
    ids=str,
)
def test_retrieves_frames(
    client: DICOMwebClient, uids: tuple[str, str, str], media_types: tuple | None
) -> None:
    [frame] = client.retrieve_instance_frames(*uids, [1], media_types=media_types)
    expected = np.asarray(picture(ORIGINAL.read_bytes()))
    assert np.array_equal(np.asarray(picture(frame)), expected)


def test_retrieves_decoded_frames(client: DICOMwebClient, uids: tuple[str, str, str]) -> None:
    [frame] = client.retrieve_instance_frames(
        *uids, [1], media_types=(("application/octet-stream", str(ExplicitVRLittleEndian)),)
    )
    width, height = picture(ORIGINAL.read_bytes()).size
    assert len(frame) in {width * height * 3, width * height * 3 + 1}


@pytest.mark.parametrize("media_types", [None, ("image/jpeg",), ("image/*",)], ids=str)
def test_retrieves_rendered(
    client: DICOMwebClient, uids: tuple[str, str, str], media_types: tuple | None
) -> None:
    original = picture(ORIGINAL.read_bytes())
    for rendered in (
        client.retrieve_instance_rendered(*uids, media_types=media_types),
        client.retrieve_instance_frames_rendered(*uids, [1], media_types=media_types),
    ):
        assert picture(rendered).size == original.size
    small = client.retrieve_instance_rendered(
        *uids, media_types=media_types, params={"viewport": "128,128", "quality": 50}
    )
    assert max(picture(small).size) == 128


def test_what_is_not_here_is_404(client: DICOMwebClient) -> None:
    with pytest.raises(HTTPError) as raised:
        client.retrieve_instance_metadata("1.2.3", "1.2.4", "1.2.5")
    assert raised.value.response.status_code == 404


@pytest.fixture(scope="module")
def storing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server to store in, instances of names of their own."""
    server = Server(tmp_path_factory.mktemp("storing"))
    try:
        yield server.start()
    finally:
        server.stop()


def test_stores_with_a_token_and_reads_back_the_same(storing: Server) -> None:
    session = create_session()
    session.headers["Authorization"] = f"Bearer {storing.token('store')}"
    client = DICOMwebClient(storing.dicomweb_url, session=session)
    sent = [make_instance("plain"), make_instance("jpeg", jpeg=True)]

    answer = client.store_instances(sent)

    assert [item.ReferencedSOPInstanceUID for item in answer.ReferencedSOPSequence] == [
        uid("plain"),
        uid("jpeg"),
    ]
    assert "FailedSOPSequence" not in answer
    anonymous = DICOMwebClient(storing.dicomweb_url)
    for instance in sent:
        stored = anonymous.retrieve_instance(uid("study"), uid("series"), instance.SOPInstanceUID)
        assert stored == instance
        assert stored.file_meta.TransferSyntaxUID == instance.file_meta.TransferSyntaxUID


def test_a_store_above_a_megabyte_is_chunked(storing: Server) -> None:
    session = create_session()
    session.headers["Authorization"] = f"Bearer {storing.token('store')}"
    client = DICOMwebClient(storing.dicomweb_url, session=session)
    large = make_instance("large", rows=700, columns=700)
    assert len(instance_bytes(large)) > 1_000_000

    assert len(client.store_instances([large]).ReferencedSOPSequence) == 1
    assert client.retrieve_instance(uid("study"), uid("series"), uid("large")) == large


def test_no_token_no_store(storing: Server) -> None:
    client = DICOMwebClient(storing.dicomweb_url)
    with pytest.raises(HTTPError) as raised:
        client.store_instances([make_instance("refused", study="refused")])
    assert raised.value.response.status_code in {401, 403}
    assert client.search_for_studies(search_filters={"StudyInstanceUID": uid("refused")}) == []
