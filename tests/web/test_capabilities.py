"""Retrieve Capabilities (PS3.18 8.9; checklist 16, 18), made from the table of resources."""

from collections.abc import Iterator
from xml.etree import ElementTree as ET

import httpx
import pytest

from app.web.capabilities import JSON, WADL, offered_resources
from app.web.dicomweb import RESOURCES, URI_SERVICE
from app.web.transactions import TRANSACTIONS
from tests.web.door import Door, opened_door

SPACE = "{http://wadl.dev.java.net/2009/02}"
STUDY = "/dicom-web/studies/{study}"


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with opened_door(tmp_path_factory.mktemp("capabilities")) as door:
        yield door


def options(door: Door, path: str = "/dicom-web", **headers: str) -> httpx.Response:
    return door.request("OPTIONS", path, headers={k.replace("_", "-"): v for k, v in headers.items()})


def resources(answer: httpx.Response) -> dict[str, ET.Element]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith(WADL)
    (described,) = ET.fromstring(answer.content)
    assert described.attrib["base"] == "https://dermzoo.example/"
    return {f"/{one.attrib['path']}": one for one in described}


def test_every_endpoint_is_described() -> None:
    assert TRANSACTIONS.keys() == {one.endpoint for one in (*RESOURCES, URI_SERVICE)}


@pytest.mark.parametrize(
    "path", ["/dicom-web", "/dicom-web/", "/dicom-web?accept=application/vnd.sun.wadl%2Bxml"]
)
def test_the_service_is_described_as_wadl(door: Door, path: str) -> None:
    """8.9.3: every resource with its methods, parameters and representations (checklist 16)."""
    described = resources(options(door, path))
    for resource in RESOURCES:
        element = described[f"/dicom-web{resource.path.replace(':path', '')}"]
        methods = [method.attrib["name"] for method in element.findall(f"{SPACE}method")]
        assert set(resource.methods) <= set(methods)
        variables = [one.attrib["name"] for one in element.findall(f"{SPACE}param")]
        assert variables == resource.path_parameters
    search = described["/dicom-web/studies"].find(f"{SPACE}method[@name='GET']")
    parameters = {one.attrib["name"] for one in search.iter(f"{SPACE}param")}
    assert {"limit", "offset", "fuzzymatching", "includefield", "PatientID", "StudyDate"} <= parameters
    given = [one.attrib["mediaType"] for one in search.find(f"{SPACE}response")]
    assert given == ["application/dicom+json", 'multipart/related; type="application/dicom+xml"']
    store = described["/dicom-web/studies"].find(f"{SPACE}method[@name='POST']")
    taken = [one.attrib["mediaType"] for one in store.find(f"{SPACE}request").iter(f"{SPACE}representation")]
    assert 'multipart/related; type="application/dicom"' in taken


def test_json_says_the_same(door: Door) -> None:
    answer = options(door, Accept="application/json")
    assert answer.headers["content-type"] == JSON
    said = {one["path"]: one for one in answer.json()["resources"]}
    assert said.keys() == resources(options(door)).keys()
    elsewhere = {one.path for one in offered_resources() if not one.path.startswith("/dicom-web")}
    assert said.keys() | elsewhere == {one.path for one in offered_resources()}
    assert {"/wado", "/collections/{collection}/wado"} <= elsewhere
    assert [one["name"] for one in said[STUDY]["methods"]] == ["GET", "HEAD", "POST", "DELETE"]


@pytest.mark.parametrize(
    ("path", "count", "allow"),
    [
        ("/dicom-web/studies/1.2", None, "GET, HEAD, POST, DELETE, OPTIONS"),
        ("/dicom-web/studies/1.2/series/1.3/instances/1.4/thumbnail", 1, "GET, HEAD, OPTIONS"),
        ("/dicom-web/changes", 1, "GET, HEAD, OPTIONS"),
        ("/wado", 1, "GET, HEAD, OPTIONS"),
    ],
)
def test_a_resource_tells_of_itself_and_what_is_below(
    door: Door, path: str, count: int | None, allow: str
) -> None:
    answer = options(door, path)
    described = resources(answer)
    assert count is None or len(described) == count
    assert all(len(one.split("/")) >= len(path.split("/")) for one in described)
    assert answer.headers["allow"] == allow


def test_the_whole_server(door: Door) -> None:
    assert resources(options(door, "/")).keys() == {one.path for one in offered_resources()}


def test_what_is_known_is_not_sent_again(door: Door) -> None:
    """8.9: 304 with If-None-Match (checklist 16)."""
    tag = options(door).headers["etag"]
    unchanged = options(door, If_None_Match=tag)
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert options(door, If_None_Match=tag, Accept=JSON).status_code == 200


def test_refusals(door: Door) -> None:
    assert options(door, Accept="text/html").status_code == 406
    assert options(door, "/nowhere").status_code == 404
    assert options(door, "/dicom-web/patients").status_code == 404


@pytest.mark.parametrize("path", ["/dicom-web", "/dicom-web/studies", "/wado", "/nowhere"])
def test_a_preflight_stays_a_preflight(door: Door, path: str) -> None:
    """It is told by Access-Control-Request-Method (checklist 18)."""
    answer = options(door, path, Origin="https://viewer.example", Access_Control_Request_Method="GET")
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-methods"]
