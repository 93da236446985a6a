"""A real archive of other people, Debian's Orthanc, through the proxy: cold, warm, and stored to."""

from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import httpx
import pydicom
import pytest
from dicomweb_client import DICOMwebClient
from requests import HTTPError

from tests.factories import instance_bytes, make_instance, uid
from tests.proxy.conftest import MR, PICTURES, Between
from tests.web.storing import CONTENT_TYPE, multipart

STUDY, SERIES, FIRST = uid("p"), uid("s"), uid("p1")
INSTANCE = f"/studies/{STUDY}/series/{SERIES}/instances/{FIRST}"
OCTETS = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'


def test_python_client_cold_and_warm(between: Between) -> None:
    client = DICOMwebClient(between.url)
    between.recording.taken()
    answers = []
    for _ in range(2):
        found = client.search_for_studies(search_filters={"PatientID": "EXAMPLE_1"})
        metadata = client.retrieve_study_metadata(STUDY)
        one = client.retrieve_instance(STUDY, SERIES, FIRST)
        # Orthanc knows no media type */* here, which the client would ask for
        jpeg = (("image/jpeg", "1.2.840.10008.1.2.4.50"),)
        frames = client.retrieve_instance_frames(STUDY, SERIES, FIRST, [1], media_types=jpeg)
        rendered = client.retrieve_instance_rendered(STUDY, SERIES, FIRST)
        whole = client.retrieve_series(STUDY, SERIES)
        answers.append((found, metadata, one, frames, rendered, sorted(whole, key=str)))
        # Other tests may have asked for some of it before. A series passes through.
        asked = len(between.recording.taken())
        assert asked <= 6 if len(answers) == 1 else asked == 1
    assert answers[0] == answers[1]
    found, metadata, one, frames, _, whole = answers[0]
    assert [one["0020000D"]["Value"] for one in found] == [[STUDY]]
    assert len(metadata) == len(whole) == 3
    assert one.PixelData == pydicom.dcmread(BytesIO(PICTURES["p1"])).PixelData
    assert bytes(frames[0])[:2] == b"\xff\xd8"
    with pytest.raises(HTTPError, match="404"):
        client.retrieve_study_metadata("1.2.3.4")


def test_a_warm_frame_costs_the_upstream_nothing(between: Between, client: httpx.Client) -> None:
    # The same question in two orders of parameters and two spellings of Accept is one.
    path = f"{INSTANCE}/frames/1"
    first = client.get(path, headers={"Accept": OCTETS})
    assert len(between.recording.taken()) <= 1
    for accept in (OCTETS, "Multipart/Related;transfer-syntax=*;type=application/octet-stream"):
        again = client.get(path, headers={"Accept": accept})
        assert (again.status_code, again.content) == (200, first.content)
        known = client.get(path, headers={"Accept": accept, "If-None-Match": again.headers["ETag"]})
        assert (known.status_code, known.content) == (304, b"")
    assert between.recording.taken() == []


@pytest.mark.parametrize(
    "accept", ["application/dicom+json", 'multipart/related; type="application/dicom+xml"']
)
def test_nothing_points_at_the_upstream(between: Between, client: httpx.Client, accept: str) -> None:
    mr = pydicom.dcmread(BytesIO(MR), stop_before_pixels=True)
    paths = ["/studies", "/series", "/instances", f"/studies/{STUDY}/metadata", f"{INSTANCE}/metadata"]
    for path in [*paths, f"/studies/{mr.StudyInstanceUID}/metadata", f"/studies/{STUDY}/series"]:
        answer = client.get(path, headers={"Accept": accept})
        assert answer.status_code == 200, path
        for address in between.inner_addresses:
            assert address not in answer.text
            assert address not in str(answer.headers)
    for path in (INSTANCE, f"{INSTANCE}/frames/1", f"/studies/{STUDY}"):
        answer = client.get(path)
        assert answer.status_code == 200, path
        for address in between.inner_addresses:
            assert address.encode() not in answer.content
    assert f"{between.url}/studies/{STUDY}" in client.get("/studies").text


def test_credentials_stay_on_their_side(between: Between, client: httpx.Client) -> None:
    secret = {
        "Authorization": "Bearer mine",
        "Cookie": "mine=1",
        "X-Forwarded-For": "8.8.8.8",
        "TE": "trailers",
    }
    client.get("/studies", params={"PatientName": "No*"}, headers=secret)
    sent = between.recording.headers[-1]
    assert set(sent) == {"host", "accept", "accept-encoding", "user-agent", "authorization"}
    assert sent["authorization"] == "Basic b3J0aGFuYzpvcnRoYW5j"


def test_ranges_are_cut_from_the_whole(between: Between, client: httpx.Client) -> None:
    """RFC 9110 14: Orthanc has none, so they are answered from what is kept."""
    path = f"/studies/{STUDY}/series/{SERIES}/instances/{uid('p2')}"
    part = client.get(path, headers={"Range": "bytes=100-199"})
    assert (part.status_code, len(part.content)) == (206, 100)
    whole = client.get(path)
    assert whole.content[100:200] == part.content
    assert part.headers["Content-Range"] == f"bytes 100-199/{len(whole.content)}"
    last = client.get(path, headers={"Range": "bytes=-5", "If-Range": whole.headers["ETag"]})
    assert last.content == whole.content[-5:]
    beyond = client.get(path, headers={"Range": "bytes=99999999-"})
    assert beyond.status_code == 416
    assert len(between.recording.taken()) <= 1  # who copied the study before has fetched it


def test_two_processes_download_once(between: Between, client: httpx.Client) -> None:
    path = f"/studies/{uid('alone')}/series/{uid('alone')}/instances/{uid('alone')}/frames/1"

    def get(_: int) -> bytes:
        with httpx.Client(timeout=60) as another:  # a connection of its own, to either process
            answer = another.get(f"{between.url}{path}", headers={"Accept": OCTETS})
        assert answer.status_code == 200
        return answer.content

    with ThreadPoolExecutor(16) as threads:
        assert len(set(threads.map(get, range(32)))) == 1
    assert len(between.recording.taken()) <= 1  # none where the test is run again


def test_refusals_are_ours(between: Between, client: httpx.Client) -> None:
    for method, path, status in (
        ("GET", "/studies/1.2.3.4.5/metadata", 404),
        ("GET", "/studies?PatientName=a&limit=x", 400),
        ("DELETE", f"/studies/{STUDY}", 405),
        ("PUT", "/studies", 405),
        ("GET", "/studies/1.2/%2e%2e/%2e%2e/system", 400),
        ("GET", "/studies/not-a-uid/metadata", 400),
        ("GET", "/studies/1.2/a%00b", 400),
        ("GET", "/system", 404),
        ("GET", "/../../../tools/execute-script", 404),
        ("GET", "/bulkdata/http%3A%2F%2Felsewhere", 400),
    ):
        answer = client.request(method, path)
        assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json"), (
            path
        )
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert {path for _, path in between.recording.taken()} <= {
        "/dicom-web/studies/1.2.3.4.5/metadata",
        "/dicom-web/studies?PatientName=a&limit=x",
    }
    assert client.get(f"{between.server.url}/proxy/nobody/dicom-web/studies").status_code == 404


def test_stores_go_on_with_a_token_for_that_server(between: Between, client: httpx.Client) -> None:
    """PS3.18 10.5: with the scope that names the server, and with no other."""
    body = multipart(instance_bytes(make_instance("stored", study="stored", PatientID="STORED")))
    headers = {"Content-Type": CONTENT_TYPE, "Accept": "application/dicom+json"}
    assert client.post("/studies", content=body, headers=headers).status_code == 401
    other = {**headers, "Authorization": f"Bearer {between.server.token('store')}"}
    assert client.post("/studies", content=body, headers=other).status_code == 403
    assert between.recording.taken() == []
    token = {**headers, "Authorization": f"Bearer {between.server.token('store:orthanc')}"}
    stored = client.post("/studies", content=body, headers=token)
    assert stored.status_code == 200
    assert stored.json()["00081190"]["Value"] == [f"{between.url}/studies/{uid('stored')}"]
    assert client.get(f"/studies/{uid('stored')}/metadata").status_code == 200


def test_a_study_is_copied_and_what_is_held_is_not_fetched_again(
    between: Between, client: httpx.Client
) -> None:
    said = between.server.run("mirror", "orthanc", "--study", STUDY)
    assert said.splitlines()[-1] == "3 stored, 0 held before, 0 failed."
    for name, content in PICTURES.items():
        path = f"/studies/{STUDY}/series/{SERIES}/instances/{uid(name)}"
        accept = {"Accept": "application/dicom; transfer-syntax=*"}
        copied = httpx.get(f"{between.server.dicomweb_url}{path}", headers=accept)
        assert copied.content == content
    between.recording.taken()
    said = between.server.run("mirror", "orthanc", "--study", STUDY)
    assert said.splitlines()[-1] == "0 stored, 3 held before, 0 failed."
    assert len(between.recording.taken()) == 1
    with pytest.raises(RuntimeError, match="names no upstream 'nobody'"):
        between.server.run("mirror", "nobody", "--study", STUDY)
