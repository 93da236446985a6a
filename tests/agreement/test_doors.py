"""One question, two doors, one answer."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import ServerFactory
from tests.factories import instance_bytes, make_instance, write_instance
from tests.servers import PROJECT, Server

SPECIMENS = PROJECT / "tests" / "data" / "dicom" / "valid"
NAMES = (
    "SC_rgb_jpeg_dcmtk",
    "MR_small_implicit",
    "chrH31",
    "examples_ybr_color",
    "sr_document",
    "waveform_ecg",
)

QUESTIONS = (
    "/studies",
    "/studies?limit=2&offset=1",
    "/studies?PatientName=*a*",
    "/studies?StudyDate=20040101-",
    "/studies?ModalitiesInStudy=MR",
    "/studies?includefield=all",
    "/series?includefield=Manufacturer",
    "/series?Modality=??",
    "/instances",
    "/instances?includefield=all&limit=3",
    "/instances?Rows=64",
    "/studies?StudyTime=10-15",
    "/studies?PatientID=4MR*",
    "/studies?PatientName=exampel&fuzzymatching=true",
    "/studies?PatientName=*Exam*&fuzzymatching=true&limit=1",
    "/studies?orderby=-StudyDate,PatientName",
    "/series?orderby=SeriesDescription,-PatientID&limit=3&offset=1",
    "/instances?orderby=-Rows&limit=2",
    '/instances?AccessionNumber=""&emptyvaluematching=true',
    "/instances?ImageType=PRIMARY,ORIGINAL&multiplevaluematching=true",
    "/instances?BitsStored=8&limit=2",
    "/instances?ImageType=ORIG*&Modality=XC",
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    for name in NAMES:
        shutil.copy(SPECIMENS / f"{name}.dcm", folder)
    for number in range(3):
        write_instance(
            folder / f"photo-{number}.dcm", name=f"photo-{number}", series=f"{number % 2}", jpeg=True
        )
    return folder


@pytest.fixture(scope="module")
def indexed(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on SQLite whose archive has indexed them; only read from."""
    server = Server(tmp_path_factory.mktemp("indexed"), {"throttle": "off"})
    server.migrate()
    server.run("index", files)
    try:
        yield server.start()
    finally:
        server.stop()


def asked(server: Server, path: str) -> object:
    answer = httpx.get(f"{server.dicomweb_url}{path}", timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json(), answer.headers.get("warning", "").replace(server.url, "")


def everything(server: Server) -> dict[str, object]:
    """All answers to the questions, and all metadata, without what names the server."""
    text = {path: asked(server, path) for path in QUESTIONS}
    for study in httpx.get(f"{server.dicomweb_url}/studies").json():
        path = f"/studies/{study['0020000D']['Value'][0]}/metadata"
        text[path] = asked(server, path)
    return {path: repr(answer).replace(server.url, "") for path, answer in text.items()}


def test_sqlite_and_postgresql_answer_alike(
    files: Path, indexed: Server, server_factory: ServerFactory, postgres_url: str
) -> None:
    server = server_factory(throttle="off", database_url=postgres_url)
    server.run("index", files)
    on_sqlite, on_postgresql = map(everything, (indexed, server))
    assert on_sqlite == on_postgresql
    found = {path for path, answer in on_sqlite.items() if not answer.startswith("([]")}
    assert len(found) > len(on_sqlite) - 3


def test_stored_and_indexed_instances_are_the_same(
    files: Path, indexed: Server, server_factory: ServerFactory
) -> None:
    stored = server_factory(throttle="off", allow_anonymous_store="true")
    for path in sorted(files.iterdir()):
        body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + path.read_bytes() + b"\r\n--b--\r\n"
        headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}
        answer = httpx.post(f"{stored.dicomweb_url}/studies", content=body, headers=headers, timeout=60)
        assert answer.status_code == 200, answer.text
    assert everything(indexed) == everything(stored)
    stored_line = "multipart/related; type=application/dicom; transfer-syntax=*"
    for instance in httpx.get(f"{indexed.dicomweb_url}/instances").json():
        path = instance["00081190"]["Value"][0].removeprefix(indexed.dicomweb_url)
        bodies = {
            httpx.get(f"{server.dicomweb_url}{path}", headers={"Accept": stored_line}).content.split(
                b"\r\n\r\n", 1
            )[1][:-40]
            for server in (indexed, stored)
        }
        assert len(bodies) == 1, path


def test_metadata_and_includefield_all_say_the_same(indexed: Server) -> None:
    for found in httpx.get(f"{indexed.dicomweb_url}/instances?includefield=all").json():
        url = found["00081190"]["Value"][0]
        (metadata,) = httpx.get(f"{url}/metadata").json()
        for tag, attribute in metadata.items():
            if tag[:4] != "7FE0":
                assert found[tag] == attribute, (url, tag)


def test_the_same_instance_by_import_and_again_by_store_is_one(server_factory: ServerFactory) -> None:
    """Whichever door it came through first, the same bytes are the same instance."""
    server = server_factory(throttle="off", allow_anonymous_store="true")
    content = instance_bytes(make_instance("twice"))
    folder = server.folder / "files"
    folder.mkdir()
    (folder / "twice.dcm").write_bytes(content)
    server.run("index", folder)
    body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + content + b"\r\n--b--\r\n"
    headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}
    answer = httpx.post(f"{server.dicomweb_url}/studies", content=body, headers=headers, timeout=60)
    assert answer.status_code == 200
    assert len(httpx.get(f"{server.dicomweb_url}/instances").json()) == 1
    assert "all is well" in server.run("verify", "--all").lower()
