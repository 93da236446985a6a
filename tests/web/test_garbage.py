"""Whatever stands in a parameter, a path or a header: never a fault, and a refusal says what is wrong."""

from itertools import product
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from app.web.dicomweb import RESOURCES, URI_SERVICE, Resource
from app.web.transactions import TRANSACTIONS
from tests.web.conftest import Archive
from tests.web.door import opened_door

LONG = "9" * 5000
GARBAGE = [
    "",
    "%00",
    "%FF%FE",
    "%F0%9F%92%A9",
    "%E2%80%AEabc",  # right to left
    "-1",
    "1e309",
    "NaN",
    "%D9%A1%D9%A2",  # digits, but not of ASCII
    "1,2,3,4,5,6,7,8",
    ",,,",
    "..%2F..%2Fetc%2Fpasswd",
    "%27%22%3B--",
    "*?*?*?*?*?*",
    "%0D%0AX-Injected:%201",
    "%7B%22a%22:1%7D",
    LONG,
]
HEADERS = (
    "Accept",
    "Accept-Charset",
    "Accept-Encoding",
    "Range",
    "If-Range",
    "If-Match",
    "If-None-Match",
    "If-Modified-Since",
    "If-Unmodified-Since",
    "Authorization",
    "Content-Type",
    "Content-Length",
    "X-Forwarded-For",
    "Forwarded",
    "Origin",
    "Expect",
)
HEADER_GARBAGE = [
    b"",
    b"\xff\xfe",
    b"a" * 5000,
    b'"',
    b";;;,,,===",
    b"*",
    b"multipart/related; type=",
    b'multipart/related; type="\\',
    b"*/*;q=",
    b"*/*;q=NaN, a/b;q=1e9",
    b"bytes=18446744073709551616-",
    b"bytes=0-0" + b",2-2" * 900,
    b"Thu, 99 Foo 99999 99:99:99 GMT",
    b"Bearer \xff",
    b"-1",
    b"(" * 2000,
]
GETTABLE = [resource for resource in (*RESOURCES, URI_SERVICE) if "GET" in resource.methods]


def place(resource: Resource, archive: Archive) -> str:
    """The address of a resource whose every part is held."""
    held = archive.held["p1"]
    parts = {
        "study": held.study,
        "series": held.series,
        "instance": held.sop,
        "frames": "1",
        "transaction": "1.2",
    }
    path = resource.path.replace("{path:path}", "7FE00010")
    for name, value in parts.items():
        path = path.replace(f"{{{name}}}", value)
    root = archive.server.url if resource is URI_SERVICE else archive.server.dicomweb_url
    return root + path


def complaint(answer: httpx.Response) -> str:
    """What is wrong with an answer to garbage; nothing if it is as it ought to be."""
    if answer.status_code < 400:
        return "x-injected" if "x-injected" in answer.headers else ""
    if answer.status_code >= 500 and answer.status_code != 501:
        return answer.text
    if answer.headers.get("content-type") != "application/problem+json":
        return f"no problem document: {answer.headers.get('content-type')}"
    problem = answer.json()
    return "" if problem["status"] == answer.status_code and problem["detail"] else f"{problem}"


def ids(resource: Resource) -> str:
    return resource.path


@pytest.mark.parametrize("resource", GETTABLE, ids=ids)
def test_garbage_in_every_parameter(archive: Archive, resource: Resource) -> None:
    """PS3.18 8.3.5, 8.6 (checklist 15, 34): never a fault; a 400 names the parameter that is at fault."""
    transaction = TRANSACTIONS[resource.endpoint]
    held = archive.held["p1"]
    needed = {"requestType": "WADO", "studyUID": held.study, "seriesUID": held.series, "objectUID": held.sop}
    names = [*transaction.required, *transaction.parameters]
    for name, value in product(names, GARBAGE):
        others = [f"{other}={needed[other]}" for other in transaction.required if other != name]
        url = f"{place(resource, archive)}?{'&'.join([*others, f'{name}={value}'])}"
        answer = archive.client.get(url)
        assert not complaint(answer), (url, answer.status_code, complaint(answer))
        if answer.status_code == 400 and value != "%FF%FE":
            assert name in answer.json()["detail"], (url, answer.json())


@pytest.mark.parametrize("resource", GETTABLE, ids=ids)
def test_every_parameter_twice(archive: Archive, resource: Resource) -> None:
    """PS3.18 8.3.1, 8.3.4 (checklist 2, 21): twice is once too often, and the refusal says so."""
    transaction = TRANSACTIONS[resource.endpoint]
    for name in {*transaction.required, *transaction.parameters} - {"includefield"}:
        answer = archive.client.get(f"{place(resource, archive)}?{name}=1&{name}=1")
        assert answer.status_code in {400, 401}, (name, answer.status_code)
        if answer.status_code == 400:
            assert name in answer.json()["detail"], answer.json()


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda one: f"{one.methods[0]} {one.path}")
def test_garbage_in_every_part_of_the_path(archive: Archive, resource: Resource) -> None:
    """PS3.18 8.2 (checklist 15, 39)."""
    template = archive.server.dicomweb_url + resource.path.replace(":path", "")
    held = archive.held["p1"]
    parts = {
        "study": held.study,
        "series": held.series,
        "instance": held.sop,
        "frames": "1",
        "transaction": "1.2",
    }
    parts["path"] = "7FE00010"
    for name, value in product(resource.path_parameters, [*GARBAGE[1:], "1" * 65, "00100010/0/00080100"]):
        url = template
        for other, usual in parts.items():
            url = url.replace(f"{{{other}}}", value if other == name else quote(usual))
        answer = archive.client.request(resource.methods[0], url)
        assert not complaint(answer), (url, answer.status_code, complaint(answer))
        assert answer.status_code >= 400 or name == "frames", (url, answer.status_code)


@pytest.mark.parametrize(
    "path", ["/studies?limit=1", "", "/metadata", "/frames/1", "/rendered", "/bulkdata/7FE00010"]
)
def test_garbage_in_every_header(archive: Archive, photo_path: str, path: str) -> None:
    """PS3.18 8.4, 8.7.7; RFC 9110 (checklist 3, 13, 15): passed over, or refused."""
    url = path if path.startswith("/studies") else photo_path + path
    for name, value in product(HEADERS, HEADER_GARBAGE):
        if name == "Content-Length":
            continue
        answer = archive.client.get(url, headers=[(name.encode(), value)])
        assert not complaint(answer), (name, value[:40], answer.status_code, complaint(answer))


CONTENT_TYPES = (
    "",
    "application/dicom",
    "application/dicom+json",
    "application/dicom+xml",
    "application/json",
    "image/jpeg",
    "video/mp4",
    "application/zip",
    "text/plain",
    "multipart/related",
    "multipart/related; boundary=b",
    'multipart/related; type="application/dicom"; boundary=b',
    'multipart/related; type="application/dicom+json"; boundary=b',
    'multipart/related; type="application/dicom+xml"; boundary=b',
    'multipart/related; type="image/jpeg"; boundary=b',
    'multipart/related; type="*/*"; boundary="' + "b" * 300 + '"',
    "multipart/form-data; boundary=b",
    'multipart/related; type="application/dicom"; boundary=b; transfer-syntax=' + "1" * 300,
)
BODIES = (
    b"",
    b"\0" * 200,
    b"null",
    b"[]",
    b"[" * 3000,
    b'{"00081199":{"vr":"SQ","Value":[[]]}}',
    b'{"reason":1}',
    b"<a",
    b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><NativeDicomModel>&b;</NativeDicomModel>',
    b"\xff\xd8\xff\xe0\x00\x10JFIF",
    b"--b--\r\n",
    b"--b\r\n\r\n\r\n--b--",
    b"--b\r\nContent-Type: application/dicom\r\n\r\n" + b"\0" * 128 + b"DICM\xff\xff\r\n--b--",
    b"--b\r\nContent-Type: application/dicom+json\r\n\r\n[{}]\r\n--b--",
    b'--b\r\nContent-Type: application/dicom+json\r\n\r\n[[1],null,"a"]\r\n--b--',
    b"--b\r\nContent-Type: application/dicom+xml\r\n\r\n<NativeDicomModel/>\r\n--b--",
    b"--b\r\nContent-Location: \xff\r\nContent-Type: image/jpeg\r\n\r\n\xff\xd8\r\n--b--",
)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/studies"),
        ("POST", "/studies/1.2.3"),
        ("POST", "/commitment-requests/1.2.3"),
        ("DELETE", "/studies/1.2.3"),
    ],
)
def test_garbage_in_every_body(tmp_path: Path, method: str, path: str) -> None:
    """PS3.18 10.5.3, 13.4 (checklist 15, 57): what is no DICOM is refused, whatever it says it is."""
    with opened_door(tmp_path) as door:
        token = door.token("store", "curate")
        for content_type, body in product(CONTENT_TYPES, BODIES):
            headers = {**token, "Content-Type": content_type}
            answer = door.request(method, f"/dicom-web{path}", content=body, headers=headers)
            assert 400 <= answer.status_code < 500 or answer.status_code == 501, (
                content_type,
                body[:60],
                answer.text,
            )
            assert answer.content
        assert door.get("/dicom-web/instances").json() == []
