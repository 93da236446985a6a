"""What is sent of a resource of which a part cannot: decided before the first byte (PS3.18 8.5)."""

from collections.abc import Iterator

import httpx
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import MPEG4HP41

from tests.factories import instance_bytes, make_instance, make_jpeg, uid
from tests.servers import Server
from tests.web.multiparts import parts

PUBLIC = "https://images.example/archive"
STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
EXPLICIT = 'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.1'
SERIES = f"/studies/{uid('partial')}/series/{uid('series')}"
SENT = ("whole", "other", "video")


def files() -> dict[str, bytes]:
    """Two photographs, a video, and one whose file will vanish; apart, one photograph that is torn."""
    made = {name: make_instance(name, study="partial", jpeg=True) for name in ("whole", "other", "gone")}
    video = make_instance("video", study="partial", jpeg=True, frames=2)
    video.file_meta.TransferSyntaxUID = MPEG4HP41
    video.PixelData = encapsulate([b"first half, ", b"second half."])
    torn = make_instance("torn", study="torn", jpeg=True)
    torn.PixelData = encapsulate([make_jpeg()[:200]])
    others = {name: make_instance(name, study="torn", jpeg=True) for name in ("sound",)}
    made |= {"video": video, **others, "torn": torn}
    return {name: instance_bytes(one) for name, one in made.items()}


@pytest.fixture(scope="module")
def held() -> dict[str, bytes]:
    return files()


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory, held: dict[str, bytes]) -> Iterator[httpx.Client]:
    """A server behind another address, one of whose files is deleted after it was indexed."""
    folder = tmp_path_factory.mktemp("partial")
    (folder / "files").mkdir()
    for number, (name, content) in enumerate(held.items()):
        (folder / "files" / f"{number}-{name}.dcm").write_bytes(content)
    settings = {"throttle": "off", "public_url": PUBLIC, "allow_anonymous_store": "true"}
    server = Server(folder, settings)
    server.migrate()
    server.run("index", folder / "files")
    (folder / "files" / "2-gone.dcm").unlink()
    try:
        server.start()
        with httpx.Client(base_url=server.dicomweb_url, timeout=60) as client:
            yield client
    finally:
        server.stop()


def ask(http: httpx.Client, path: str, accept: str) -> httpx.Response:
    return http.get(path, headers={"Accept": accept})


@pytest.mark.parametrize("path", [SERIES, SERIES.partition("/series")[0]])
def test_a_file_that_is_missing_is_left_out_and_said_to_be(
    http: httpx.Client, held: dict[str, bytes], path: str
) -> None:
    """PS3.18 10.4.3 (checklist 36): 206 and a Warning; the rest is whole, and no cache keeps it."""
    answer = ask(http, path, STORED)
    assert answer.status_code == 206
    assert [content for _, content in parts(answer)] == [held[name] for name in SENT]
    assert answer.headers["warning"] == (
        f"299 {PUBLIC}/dicom-web: 1 of 4 instances are left out: 1 missing or changed on the disk"
    )
    assert answer.headers["cache-control"] == "no-store"
    assert int(answer.headers["content-length"]) == len(answer.content)
    zipped = ask(http, path, "application/zip")
    assert (zipped.status_code, zipped.headers["warning"]) == (206, answer.headers["warning"])
    head = http.head(path, headers={"Accept": STORED})
    assert (head.status_code, head.headers["warning"]) == (206, answer.headers["warning"])


def test_what_cannot_be_converted_is_left_out(http: httpx.Client) -> None:
    """PS3.18 10.4.3, 8.7.3 (checklist 36, 41): a video is not Explicit VR Little Endian here."""
    answer = ask(http, SERIES, EXPLICIT)
    assert answer.status_code == 206
    assert len(parts(answer)) == 2
    assert "2 of 4 instances are left out: 1 not available" in answer.headers["warning"]
    assert "1 missing" in answer.headers["warning"]


@pytest.mark.parametrize(("leaf", "values"), [("pixeldata", 3), ("bulkdata", 3)])
def test_bulk_data_that_cannot_be_read_are_left_out(http: httpx.Client, leaf: str, values: int) -> None:
    """PS3.18 10.4.3 (checklist 36)."""
    answer = ask(http, f"{SERIES}/{leaf}", "*/*")
    assert answer.status_code == 206
    assert len(parts(answer)) == values
    assert "1 of 4 bulk values are left out" in answer.headers["warning"]


def test_video_is_one_part(http: httpx.Client) -> None:
    """PS3.18 8.7.3.3 (checklist 11, 12): however many fragments and frames it has."""
    path = f"{SERIES}/instances/{uid('video')}"
    for leaf in ("bulkdata/7FE00010", "frames/1", "pixeldata"):
        ((headers, content),) = parts(ask(http, f"{path}/{leaf}", 'multipart/related; type="video/mp4"'))
        assert headers["Content-Type"] == "video/mp4; transfer-syntax=1.2.840.10008.1.2.4.102"
        assert content == b"first half, second half."


@pytest.mark.parametrize(
    ("leaf", "accept", "status"),
    [
        (f"/instances/{uid('gone')}", STORED, 503),
        (f"/instances/{uid('gone')}/frames/1", "*/*", 503),
        (f"/instances/{uid('gone')}/bulkdata", "*/*", 503),
        (f"/instances/{uid('gone')}/metadata", "*/*", 200),
        (f"/instances/{uid('nobody')}", STORED, 404),
        (f"/instances/{uid('video')}", EXPLICIT, 406),
        ("", 'multipart/related; type="image/png"', 406),
        ("", "application/dicom", 406),
        ("/instances/x", STORED, 400),
    ],
)
def test_nothing_that_can_be_sent_has_its_own_status(
    http: httpx.Client, leaf: str, accept: str, status: int
) -> None:
    """PS3.18 8.5, 10.4.3 (checklist 36, 9)."""
    answer = ask(http, SERIES + leaf, accept)
    assert answer.status_code == status
    if status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_conversion_that_fails_cuts_the_answer_and_is_left_out_of_the_next(http: httpx.Client) -> None:
    """PS3.18 10.4.3 (checklist 36): never a part that passes for the whole."""
    path = f"/studies/{uid('torn')}"
    with pytest.raises(httpx.RemoteProtocolError):
        ask(http, path, EXPLICIT)
    again = ask(http, path, EXPLICIT)
    assert again.status_code == 206
    assert len(parts(again)) == 1
    assert "1 of 2 instances are left out" in again.headers["warning"]
    assert len(parts(ask(http, path, STORED))) == 2


def test_every_address_is_below_the_public_root(http: httpx.Client) -> None:
    """PS3.18 10.6.3, 10.5.3 (checklist 43, 37): by whichever name it was asked."""
    root = f"{PUBLIC}/dicom-web"
    forged = {"Host": "localhost:1", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "ftp"}
    for path in ("/studies", "/series", "/instances"):
        found = http.get(path, headers=forged)
        assert all(one["00081190"]["Value"][0].startswith(f"{root}/studies/") for one in found.json())
        assert found.headers["content-location"] == root + path
    (metadata, *_) = http.get(f"{SERIES}/metadata", headers=forged).json()
    assert metadata["7FE00010"]["BulkDataURI"].startswith(f"{root}{SERIES}/instances/")
    body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + files()["whole"] + b"\r\n--b--\r\n"
    content_type = 'multipart/related; type="application/dicom"; boundary=b'
    stored = http.post("/studies", content=body, headers={"Content-Type": content_type, **forged}).json()
    assert stored["00081190"]["Value"][0].startswith(f"{root}/studies/")
    instance = stored["00081199"]["Value"][0]["00081190"]["Value"][0]
    assert instance == f"{root}{SERIES}/instances/{uid('whole')}"
    headers, _ = parts(http.get(f"{SERIES}/instances/{uid('whole')}/frames/1"))[0]
    assert headers["Content-Location"] == f"{instance}/frames/1"
