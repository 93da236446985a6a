"""WADO-RS over a real socket: the right bytes, named for what they are (PS3.18 8.7, 10.4)."""

import io

import numpy as np
import pydicom
import pytest
from pydicom.encaps import generate_frames
from pydicom.uid import ExplicitVRLittleEndian

from tests.factories import make_pixels, uid
from tests.web.conftest import NAMES, Archive
from tests.web.multiparts import parts

STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
DEFAULT = 'multipart/related; type="application/dicom"'
FRAMES_STORED = "multipart/related; type=application/octet-stream; transfer-syntax=*"
OHIF_QUOTED = 'multipart/related; type="application/octet-stream"; transfer-syntax="*"'

SENDABLE = [name for name in NAMES if name not in {"MR_small_implicit", "liver_expb_1frame"}]
WITH_PIXELS = [name for name in NAMES if name not in {"waveform_ecg", "test-SR", "chrH31", "mr_minimal"}]


def read(content: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(content))


@pytest.mark.parametrize("name", SENDABLE)
def test_stored_bytes_come_back_as_they_were(archive: Archive, name: str) -> None:
    held = archive.held[name]
    answer = archive.get(held.path, STORED)
    assert answer.status_code == 200
    ((headers, content),) = parts(answer)
    syntax = read(held.content).file_meta.TransferSyntaxUID
    assert headers["Content-Type"] == f"application/dicom; transfer-syntax={syntax}"
    assert headers["Content-Location"] == f"{archive.server.dicomweb_url}{held.path}"
    assert content == held.content
    assert int(answer.headers["content-length"]) == len(answer.content)


@pytest.mark.parametrize("name", NAMES)
def test_default_is_explicit_little_endian_that_says_what_it_holds(archive: Archive, name: str) -> None:
    """8.7.3.5.2, and item 7 of the same: never Implicit VR or Big Endian."""
    held = archive.held[name]
    ((headers, content),) = parts(archive.get(held.path, DEFAULT))
    got, was = read(content), read(held.content)
    assert headers["Content-Type"] == f"application/dicom; transfer-syntax={ExplicitVRLittleEndian}"
    assert got.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert got.SOPInstanceUID == was.SOPInstanceUID
    if "PixelData" in was:
        bits = (
            got.BitsAllocated
            * got.SamplesPerPixel
            * got.Rows
            * got.Columns
            * int(got.get("NumberOfFrames", 1))
        )
        assert len(got.PixelData) == (bits + 7) // 8 + (bits + 7) // 8 % 2
        assert got.SamplesPerPixel == 1 or got.PhotometricInterpretation == "RGB"


@pytest.mark.parametrize("name", ["MR_small_implicit", "liver_expb_1frame"])
def test_what_may_not_be_sent_as_stored_is_converted(archive: Archive, name: str) -> None:
    held = archive.held[name]
    ((headers, content),) = parts(archive.get(held.path, STORED))
    assert headers["Content-Type"].endswith(ExplicitVRLittleEndian)
    assert np.array_equal(read(content).pixel_array, read(held.content).pixel_array)


def test_a_file_without_preamble_is_served_with_one(archive: Archive) -> None:
    path = f"/studies/{uid('bare')}/series/{uid('bare')}/instances/{uid('bare')}"
    single = archive.get(path, "application/dicom; transfer-syntax=*")
    assert single.headers["content-type"].startswith("application/dicom")
    assert single.content == b"\0" * 128 + b"DICM" + archive.held["bare"].content


def test_study_and_series_hold_their_instances_in_order(archive: Archive) -> None:
    study = parts(archive.get(f"/studies/{uid('p')}", STORED))
    assert [content for _, content in study] == [archive.held[f"p{n}"].content for n in (1, 2, 3)]
    series = parts(archive.get(f"/studies/{uid('p')}/series/{uid('s2')}", STORED))
    assert [content for _, content in series] == [archive.held["p3"].content]
    converted = parts(archive.get(f"/studies/{uid('p')}", DEFAULT))
    assert [read(content).PhotometricInterpretation for _, content in converted] == ["RGB"] * 3


@pytest.mark.parametrize("accept", [FRAMES_STORED, OHIF_QUOTED, 'multipart/related; type="*/*"', "*/*", None])
def test_stored_frames_name_their_syntax(archive: Archive, photo_path: str, accept: str | None) -> None:
    """A viewer chooses its decoder by the part's Content-Type alone."""
    ((headers, content),) = parts(archive.get(f"{photo_path}/frames/1", accept))
    assert headers["Content-Type"] == "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50"
    assert content[:2] == b"\xff\xd8"
    (frame,) = generate_frames(read(archive.held["p1"].content).PixelData, number_of_frames=1)
    assert content == frame


@pytest.mark.parametrize(
    "accept",
    [
        "multipart/related; type=image/jpeg",
        "multipart/related; type=image/jpeg; transfer-syntax=*",
        "multipart/related; type=image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50",
        'multipart/related; type="image/*"',
        "image/png, image/jpeg",
    ],
)
def test_jpeg_frames_asked_for_by_name(archive: Archive, photo_path: str, accept: str) -> None:
    answer = archive.get(f"{photo_path}/frames/1", accept)
    assert answer.status_code == 200
    assert b"\xff\xd8\xff" in answer.content


def test_octets_without_a_syntax_are_decoded_to_rgb(archive: Archive, photo_path: str) -> None:
    ((headers, content),) = parts(
        archive.get(f"{photo_path}/frames/1", 'multipart/related; type="application/octet-stream"')
    )
    assert headers["Content-Type"] == f"application/octet-stream; transfer-syntax={ExplicitVRLittleEndian}"
    pixels = np.frombuffer(content, np.uint8).reshape(16, 24, 3).astype(int)
    for row, column in ((1, 1), (1, -2), (-2, 1), (-2, -2), (8, 12)):  # the corners and the middle
        assert abs(pixels[row, column] - make_pixels()[row, column]).max() <= 6


@pytest.mark.parametrize("name", WITH_PIXELS)
def test_every_specimens_frames_decode_to_what_the_instance_does(archive: Archive, name: str) -> None:
    """One question through two doors: frames as octets, and the whole instance as Explicit VR LE."""
    held = archive.held[name]
    ((_, whole),) = parts(archive.get(held.path, DEFAULT))
    instance = read(whole)
    count = int(instance.get("NumberOfFrames", 1))
    numbers = ",".join(str(number) for number in range(1, count + 1))
    frames = parts(
        archive.get(f"{held.path}/frames/{numbers}", 'multipart/related; type="application/octet-stream"')
    )
    assert len(frames) == count
    pixels = next(
        instance[k].value for k in ("PixelData", "FloatPixelData", "DoubleFloatPixelData") if k in instance
    )
    joined = b"".join(content for _, content in frames)
    assert joined == pixels[: len(joined)]
    assert len(pixels) - len(joined) <= 1


def test_frames_come_in_the_order_asked_for(archive: Archive) -> None:
    held = archive.held["examples_ybr_color"]
    found = parts(archive.get(f"{held.path}/frames/30%2C1,7", FRAMES_STORED))
    stored = list(generate_frames(read(held.content).PixelData, number_of_frames=30))
    assert [content for _, content in found] == [stored[29], stored[0], stored[6]]
    assert [headers["Content-Location"].rpartition("/")[2] for headers, _ in found] == ["30", "1", "7"]


def test_metadata_at_three_levels(archive: Archive, photo_path: str) -> None:
    for path, count in (
        (f"/studies/{uid('p')}", 3),
        (f"/studies/{uid('p')}/series/{uid('s1')}", 2),
        (photo_path, 1),
    ):
        answer = archive.get(f"{path}/metadata", "application/dicom+json")
        assert answer.headers["content-type"] == "application/dicom+json"
        assert len(answer.json()) == count
    (metadata,) = answer.json()
    assert list(metadata) == sorted(metadata)
    assert not any(tag.startswith("0002") for tag in metadata)
    assert metadata["00280004"] == {"vr": "CS", "Value": ["YBR_FULL_422"]}
    assert (
        metadata["7FE00010"]["BulkDataURI"] == f"{archive.server.dicomweb_url}{photo_path}/bulkdata/7FE00010"
    )


def test_every_bulk_data_uri_can_be_fetched(archive: Archive) -> None:
    """Item 37: absolute and dereferenceable."""
    fetched = 0
    for held in archive.held.values():
        (metadata,) = archive.get(f"{held.path}/metadata").json()
        for tag, attribute in metadata.items():
            if uri := attribute.get("BulkDataURI"):
                answer = archive.client.get(uri, headers={"Accept": 'multipart/related; type="*/*"'})
                assert answer.status_code == 200, uri
                assert parts(answer)
                fetched += 1
                if not tag.startswith("7FE0"):
                    ((_, content),) = parts(answer)
                    assert content in held.content
    assert fetched >= len(WITH_PIXELS)


def test_head_has_the_headers_and_no_body(archive: Archive, photo_path: str) -> None:
    for path, accept in ((photo_path, STORED), (f"{photo_path}/frames/1", FRAMES_STORED), ("/studies", None)):
        headers = {"Accept": accept} if accept else {}
        head, get = archive.client.head(path, headers=headers), archive.client.get(path, headers=headers)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == get.headers["content-length"]


@pytest.mark.parametrize(
    ("path", "accept", "status", "says"),
    [
        ("{p}", "application/pdf", 406, "application/dicom"),
        ("{p}", f"{DEFAULT}; transfer-syntax=1.2.840.10008.1.2.4.102", 406, "1.2.840.10008.1.2.4.50"),
        ("/studies/{study}", "application/dicom", 406, "multipart/related"),
        ("{p}/frames/1", "multipart/related; type=image/jpx", 406, "image/jpeg"),
        ("{p}/metadata", 'multipart/related; type="application/dicom+json"', 406, "application/dicom+json"),
        ("/studies", "application/dicom+xml", 406, "multipart/related"),
        ("{p}/rendered", "video/mp4", 406, "image/jpeg"),
        ("{p}/frames/2", FRAMES_STORED, 404, "has 1"),
        ("{p}/frames/0", FRAMES_STORED, 400, "first frame is number 1"),
        ("{p}/frames/1,x", FRAMES_STORED, 400, "numbers from 1"),
        ("{p}/frames/-1", FRAMES_STORED, 400, "numbers from 1"),
        ("{p}/frames/99999999999", FRAMES_STORED, 400, "numbers from 1"),
        ("{p}/bulkdata/00091010", None, 404, "no bulk data"),
        ("{p}/bulkdata/..%2F..%2Fetc%2Fpasswd", None, 404, "no bulk data"),
        ("/studies/1.2.3", STORED, 404, "no study 1.2.3"),
        ("/studies/1.2.3/series/4", STORED, 404, "no series 4"),
        ("/studies/1.2.3/metadata", None, 404, "no study"),
        ("/studies/..%2F..%2Fetc", None, 404, "nothing at"),
        ("/studies/1.2;drop", None, 400, "UID"),
        ("/studies/%00", None, 400, "UID"),
        ("/studies/" + "1" * 65, None, 400, "UID"),
        ("{waveform}/frames/1", FRAMES_STORED, 404, "no frames"),
        ("{waveform}/rendered", "image/jpeg", 406, "nothing to show"),
        ("/nothing", None, 404, "nothing at"),
        ("{p}/rendered?quality=0", None, 400, "from 1 to 100"),
        ("{p}/rendered?quality=abc", None, 400, "from 1 to 100"),
        ("{p}/rendered?viewport=0,10", None, 400, "viewport"),
        ("{p}/rendered?viewport=10", None, 400, "viewport"),
        ("{p}/rendered?window=1,2", None, 400, "window"),
        ("{p}/rendered?window=40,400,cubic", None, 400, "sigmoid"),
        ("{p}/rendered?annotation=", None, 400, "annotation"),
        ("{p}/rendered?iccprofile=cmyk", None, 400, "iccprofile"),
        ("{p}/thumbnail?viewport=1,1,1,1,1,1", None, 400, "vw,vh"),
    ],
)
def test_refusals_say_what_is_wrong(
    archive: Archive, photo_path: str, path: str, accept: str | None, status: int, says: str
) -> None:
    filled = path.format(p=photo_path, study=uid("p"), waveform=archive.held["waveform_ecg"].path)
    answer = archive.get(filled, accept)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert says in answer.json()["detail"]
    assert answer.json()["status"] == status


def test_a_changed_file_is_not_served(archive: Archive, server_factory, tmp_path) -> None:
    """The catalogue's offsets would name other bytes."""
    content = archive.held["p1"].content
    path = tmp_path / "files" / "p1.dcm"
    path.parent.mkdir()
    path.write_bytes(content)
    server = server_factory(throttle="off")
    server.run("index", path.parent)
    url = f"{server.dicomweb_url}{archive.held['p1'].path}"
    assert archive.client.get(url, headers={"Accept": STORED}).status_code == 200
    path.write_bytes(content[:-1] + b"x")
    answer = archive.client.get(url, headers={"Accept": STORED})
    assert answer.status_code == 503
    assert "index its folder again" in answer.json()["detail"]
    server.run("index", path.parent)
    assert archive.client.get(url, headers={"Accept": STORED}).content.count(b"DICM") == 1
