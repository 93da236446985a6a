"""Every public method of Python's dicomweb-client against the real server; its warnings are errors here.

Its requests are those of PS3.18 10.4, 10.5 and 10.6 (checklist 1, 8, 35, 43, 56).
"""

import inspect
from collections.abc import Callable
from io import BytesIO
from itertools import product
from typing import Any

import pytest
from dicomweb_client import DICOMwebClient
from dicomweb_client.session_utils import create_session
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit
from requests import HTTPError

from tests.conformance.conftest import OF_ORTHANC
from tests.factories import make_instance, uid
from tests.proxy.sample import Proxied
from tests.servers import Server

UIDS = tuple[str, str, str]
Call = Callable[[DICOMwebClient, UIDS], Any]
JPEG = ("image/jpeg", str(JPEGBaseline8Bit))
DICOM = ("application/dicom", str(ExplicitVRLittleEndian))
SMALL = {"viewport": "64,64", "quality": 50}


def size(picture: bytes) -> int:
    return max(Image.open(BytesIO(picture)).size)


def uri(client: DICOMwebClient, uids: UIDS) -> str:
    return str(client.retrieve_instance_metadata(*uids)["7FE00010"]["BulkDataURI"])


# What each reading method is called with, and what is true of its result.
READS: dict[str, list[tuple[Call, Callable[[Any], bool]]]] = {
    "search_for_studies": [
        (lambda c, u: c.search_for_studies(search_filters={"StudyInstanceUID": u[0]}), lambda r: len(r) == 1),
        (lambda c, u: c.search_for_studies(limit=4, get_remaining=True), lambda r: len(r) == 19),
        (lambda c, u: c.search_for_studies(fuzzymatching=True, limit=2, offset=1), lambda r: len(r) == 2),
        (
            lambda c, u: c.search_for_studies(fields=["StudyDescription", "00100040"]),
            lambda r: all("00081190" in one for one in r),
        ),
    ],
    "search_for_series": [
        (lambda c, u: c.search_for_series(u[0]), lambda r: len(r) == 1),
        (lambda c, u: c.search_for_series(limit=7, get_remaining=True), lambda r: len(r) == 19),
    ],
    "search_for_instances": [
        (lambda c, u: c.search_for_instances(u[0]), lambda r: len(r) == 1),
        (lambda c, u: c.search_for_instances(*u[:2]), lambda r: len(r) == 1),
        (lambda c, u: c.search_for_instances(limit=18, get_remaining=True), lambda r: len(r) == 19),
        (lambda c, u: c.search_for_instances(search_filters={"SOPInstanceUID": u[2]}), lambda r: len(r) == 1),
    ],
    "retrieve_study_metadata": [(lambda c, u: c.retrieve_study_metadata(u[0]), lambda r: len(r) == 1)],
    "retrieve_series_metadata": [(lambda c, u: c.retrieve_series_metadata(*u[:2]), lambda r: len(r) == 1)],
    "retrieve_instance_metadata": [
        (lambda c, u: c.retrieve_instance_metadata(*u), lambda r: "00080018" in r),
    ],
    "retrieve_study": [
        (lambda c, u: c.retrieve_study(u[0]), lambda r: r[0].file_meta.TransferSyntaxUID == DICOM[1]),
        (
            lambda c, u: c.retrieve_study(u[0], media_types=(("application/dicom", "*"),)),
            lambda r: r[0].file_meta.TransferSyntaxUID == JPEG[1],
        ),
    ],
    "retrieve_series": [
        (lambda c, u: c.retrieve_series(*u[:2], media_types=(DICOM,)), lambda r: len(r) == 1)
    ],
    "retrieve_instance": [
        (lambda c, u: c.retrieve_instance(*u), lambda r: r.file_meta.TransferSyntaxUID == JPEG[1]),
        (
            lambda c, u: c.retrieve_instance(*u, media_types=(DICOM,)),
            lambda r: r.file_meta.TransferSyntaxUID == DICOM[1],
        ),
        (lambda c, u: c.retrieve_instance(*u, media_types=("application/dicom",)), lambda r: r.Rows > 0),
    ],
    "iter_study": [(lambda c, u: list(c.iter_study(u[0])), lambda r: len(r) == 1)],
    "iter_series": [(lambda c, u: list(c.iter_series(*u[:2])), lambda r: len(r) == 1)],
    "retrieve_instance_frames": [
        (lambda c, u: c.retrieve_instance_frames(*u, [1]), lambda r: size(r[0]) > 64),
        (lambda c, u: c.retrieve_instance_frames(*u, [1, 1]), lambda r: len(r) == 2),
        (lambda c, u: c.retrieve_instance_frames(*u, [1], media_types=(JPEG,)), lambda r: size(r[0]) > 64),
        (
            lambda c, u: c.retrieve_instance_frames(
                *u, [1], media_types=("application/octet-stream", "image/*")
            ),
            lambda r: len(r) == 1,
        ),
        (
            lambda c, u: c.retrieve_instance_frames(
                *u, [1], media_types=(("image/jp2", "1.2.840.10008.1.2.4.90"),)
            ),
            lambda r: r[0][:4] == b"\xff\x4f\xff\x51",
        ),
    ],
    "iter_instance_frames": [(lambda c, u: list(c.iter_instance_frames(*u, [1])), lambda r: size(r[0]) > 64)],
    "retrieve_bulkdata": [
        (lambda c, u: c.retrieve_bulkdata(uri(c, u)), lambda r: size(r[0]) > 64),
        (lambda c, u: c.retrieve_bulkdata(uri(c, u), byte_range=(0, 1)), lambda r: r == [b"\xff\xd8"]),
        (
            lambda c, u: c.retrieve_bulkdata(uri(c, u), media_types=("application/octet-stream",)),
            lambda r: len(r) == 1,
        ),
    ],
    "iter_bulkdata": [(lambda c, u: list(c.iter_bulkdata(uri(c, u))), lambda r: size(r[0]) > 64)],
    "retrieve_series_rendered": [
        (
            lambda c, u: c.retrieve_series_rendered(*u[:2], media_types=("image/jpeg",), params=SMALL),
            lambda r: size(r) == 64,
        ),
    ],
    "retrieve_instance_rendered": [
        (lambda c, u: c.retrieve_instance_rendered(*u, params=SMALL), lambda r: size(r) == 64),
        (
            lambda c, u: c.retrieve_instance_rendered(
                *u, media_types=("image/png",), params={"viewport": "9,9"}
            ),
            lambda r: r[:4] == b"\x89PNG",
        ),
        (
            lambda c, u: c.retrieve_instance_rendered(*u, media_types=("image/gif", "image/jpeg")),
            lambda r: size(r) > 64,
        ),
    ],
    "retrieve_instance_frames_rendered": [
        (
            lambda c, u: c.retrieve_instance_frames_rendered(*u, [1], params={"iccprofile": "srgb", **SMALL}),
            lambda r: size(r) == 64,
        ),
    ],
    "lookup_keyword": [(lambda c, u: c.lookup_keyword("00100020"), lambda r: r == "PatientID")],
    "lookup_tag": [(lambda c, u: c.lookup_tag("PatientID"), lambda r: r == "00100020")],
}
NOT_KEPT = {"retrieve_study", "retrieve_series", "iter_study", "iter_series"}  # they pass through
WRITES = {"store_instances", "delete_study", "delete_series", "delete_instance"}
OF_THE_CLIENT = {"set_chunk_size", "set_http_retry_params"}


@pytest.fixture
def uids(sample_server: Server) -> UIDS:
    [found] = DICOMwebClient(sample_server.dicomweb_url).search_for_instances(
        search_filters={"PatientID": "ISIC_0000000"}
    )
    instance = Dataset.from_json(found)
    return instance.StudyInstanceUID, instance.SeriesInstanceUID, instance.SOPInstanceUID


def test_no_method_is_left_out() -> None:
    methods = {name for name, _ in inspect.getmembers(DICOMwebClient, callable) if not name.startswith("_")}
    assert methods == READS.keys() | WRITES | OF_THE_CLIENT


@pytest.mark.parametrize("name", READS)
def test_reading(sample_server: Server, uids: UIDS, name: str) -> None:
    """PS3.18 10.4, 10.6 (checklist 1, 8, 35)."""
    client = DICOMwebClient(sample_server.dicomweb_url)
    client.set_http_retry_params(retry=False)
    for number, (call, is_right) in enumerate(READS[name]):
        assert is_right(call(client, uids)), (name, number)


@pytest.mark.parametrize("name", READS)
def test_reading_from_orthanc_cold_and_warm(proxied: Proxied, uids: UIDS, name: str) -> None:
    """PS3.18 10.4, 10.6 (checklist 1, 8, 35): as from our archive; what is warm costs Orthanc nothing."""
    client, itself = DICOMwebClient(proxied.url), proxied.directly()
    for one in (client, itself):
        one.set_http_retry_params(retry=False)
    proxied.forget()
    for is_warm in (False, True):
        for number, (call, is_right) in enumerate(READS[name]):
            if (name, number) in OF_ORTHANC:
                for one in () if is_warm else (itself, client):
                    with pytest.raises((HTTPError, KeyError)):
                        call(one, uids)
                continue
            proxied.recording.taken()
            assert is_right(call(client, uids)), (name, number)
            assert not is_warm or name in NOT_KEPT or proxied.recording.taken() == []


def test_reading_in_chunks(sample_server: Server, uids: UIDS) -> None:
    """PS3.18 8.6.1 (checklist 8): parts that arrive in pieces are the same parts."""
    client = DICOMwebClient(sample_server.dicomweb_url)
    [whole] = client.retrieve_instance_frames(*uids, [1])
    client.set_chunk_size(1000)
    assert list(client.iter_instance_frames(*uids, [1])) == [whole]
    assert next(client.iter_bulkdata(uri(client, uids))).startswith(whole[:-1])


def test_links_of_results_are_followed(sample_server: Server, uids: UIDS) -> None:
    """PS3.18 10.6.3.3 (checklist 43): Retrieve URLs at every level are resources of the public root."""
    client = DICOMwebClient(sample_server.dicomweb_url)
    session = create_session()
    for search in (client.search_for_studies, client.search_for_series, client.search_for_instances):
        [found] = search(search_filters={"StudyInstanceUID": uids[0]})
        [url] = found["00081190"]["Value"]
        assert url.startswith(sample_server.dicomweb_url)
        assert session.get(f"{url}/metadata", headers={"Host": "localhost:1"}).status_code == 200


def test_writing(server: Server) -> None:
    """PS3.18 10.5 (checklist 43, 53, 56), and our DELETE: store, then take back at each level."""
    session = create_session()
    session.headers["Authorization"] = f"Bearer {server.token('store', 'curate')}"
    client = DICOMwebClient(server.dicomweb_url, session=session)
    made = {
        (study, series): make_instance(f"{study}{series}", study=study, series=f"{study}{series}")
        for study, series in product(("a", "b"), ("1", "2"))
    }
    answer = client.store_instances(list(made.values()))
    assert len(answer.ReferencedSOPSequence) == 4
    for item in answer.ReferencedSOPSequence:
        assert item.RetrieveURL.startswith(server.dicomweb_url)
        assert session.get(item.RetrieveURL).status_code == 200
    [again] = client.store_instances([made["a", "1"]], study_instance_uid=uid("a")).ReferencedSOPSequence
    assert again.ReferencedSOPInstanceUID == uid("a1")
    with pytest.raises(HTTPError) as raised:
        client.store_instances([make_instance("c", study="c")], study_instance_uid=uid("a"))
    assert raised.value.response.status_code == 409

    reason = {"reason": "a test"}
    client.delete_instance(uid("a"), uid("a1"), uid("a1"), additional_params=reason)
    client.delete_series(uid("a"), uid("a2"), additional_params=reason)
    client.delete_study(uid("b"), additional_params=reason)
    assert client.search_for_studies() == []
    with pytest.raises(HTTPError) as raised:
        client.retrieve_instance(uid("a"), uid("a1"), uid("a1"))
    assert raised.value.response.status_code == 410
