"""Frames that are what their part and the metadata say, in the order asked for (PS3.18 10.4.1.1.6, 8.7.3)."""

import io

import pytest
from PIL import Image
from pydicom.encaps import generate_frames

from tests.factories import uid
from tests.web.conftest import Archive
from tests.web.multiparts import parts
from tests.web.test_wado import FRAMES_STORED, WITH_PIXELS, read

LOSSY = {
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.91",
}


@pytest.mark.parametrize(
    ("listed", "order"),
    [("3,1,2", (3, 1, 2)), ("2%2C2,1", (2, 2, 1)), ("30", (30,)), ("007", (7,)), (None, tuple(range(1, 31)))],
)
def test_frames_in_the_order_of_the_request(
    archive: Archive, listed: str | None, order: tuple[int, ...]
) -> None:
    """PS3.18 10.4.1.1.6 (checklist 39, 8): the list's own order, repeats too; without a list, all of them."""
    held = archive.held["examples_ybr_color"]
    stored = list(generate_frames(read(held.content).PixelData, number_of_frames=30))
    found = parts(archive.get(f"{held.path}/frames" + (f"/{listed}" if listed else ""), FRAMES_STORED))
    assert [content for _, content in found] == [stored[number - 1] for number in order]
    root = f"{archive.server.dicomweb_url}{held.path}/frames/"
    assert [headers["Content-Location"] for headers, _ in found] == [f"{root}{number}" for number in order]


@pytest.mark.parametrize(
    ("listed", "status"),
    [
        ("31", 404),
        ("1,31", 404),
        ("0", 400),
        ("1,0", 400),
        ("a", 400),
        ("1,", 400),
        ("1.5", 400),
        ("-1", 400),
        ("%D9%A1", 400),
        ("1;2", 400),
    ],
)
def test_lists_that_are_none(archive: Archive, listed: str, status: int) -> None:
    """PS3.18 10.4.1.1.6 (checklist 39, 36)."""
    answer = archive.get(f"{archive.held['examples_ybr_color'].path}/frames/{listed}")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


def test_one_frame_alone_and_several_not(archive: Archive) -> None:
    """PS3.18 8.7.3 (checklist 9, 14): single-part types are for one frame."""
    path = archive.held["examples_ybr_color"].path
    one = archive.get(f"{path}/frames/2", "image/jpeg")
    assert one.headers["content-type"] == "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50"
    assert one.headers["content-location"] == f"{archive.server.dicomweb_url}{path}/frames/2"
    ((_, content),) = parts(archive.get(f"{path}/frames/2", FRAMES_STORED))
    assert one.content == content
    assert archive.get(f"{path}/frames/1,2", "image/jpeg").status_code == 406
    assert archive.get(f"{path}/frames/1,2", "application/octet-stream").status_code == 406
    mixed = archive.get(f"{path}/frames/1,2", "image/jpeg, multipart/related; type=image/jpeg; q=0.5")
    assert len(parts(mixed)) == 2


@pytest.mark.parametrize("name", WITH_PIXELS)
def test_metadata_describe_the_frames_as_stored(archive: Archive, name: str) -> None:
    """PS3.18 8.7.3.3 (checklist 40): uncompressed frames have the very size that the attributes ask for.

    YBR_FULL_422 in octets would be two bytes a pixel; decoded frames are RGB, as is the converted instance.
    """
    held = archive.held[name]
    (metadata,) = archive.get(f"{held.path}/metadata").json()
    rows, columns, samples, bits = (
        metadata[tag]["Value"][0] for tag in ("00280010", "00280011", "00280002", "00280100")
    )
    photometric = metadata["00280004"]["Value"][0]
    (headers, content), *_ = parts(archive.get(f"{held.path}/frames/1", FRAMES_STORED))
    if headers["Content-Type"].startswith("application/octet-stream"):
        stored_samples = 2 if photometric == "YBR_FULL_422" else samples
        assert len(content) == rows * columns * stored_samples * bits // 8
    elif (
        headers["Content-Type"].startswith("image/jpeg;") and bits == 8 and ".4.50" in headers["Content-Type"]
    ):
        with Image.open(io.BytesIO(content)) as picture:
            assert (picture.height, picture.width, len(picture.getbands())) == (rows, columns, samples)
    octets = 'multipart/related; type="application/octet-stream"; transfer-syntax=1.2.840.10008.1.2.1'
    (headers, decoded), *_ = parts(archive.get(f"{held.path}/frames/1", octets))
    assert headers["Content-Type"] == "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
    assert len(decoded) == rows * columns * samples * bits // 8
    ((_, whole),) = parts(archive.get(held.path, 'multipart/related; type="application/dicom"'))
    converted = read(whole)
    if samples == 3:
        assert converted.PhotometricInterpretation == "RGB"
        assert converted.PixelData[: len(decoded)] == decoded


@pytest.mark.parametrize("name", [name for name in WITH_PIXELS if name != "parametric_map_float"])
@pytest.mark.parametrize(
    "accept", [None, 'multipart/related; type="application/dicom"', 'multipart/related; type="*/*"']
)
def test_nothing_lossless_is_made_lossy_unasked(archive: Archive, name: str, accept: str | None) -> None:
    """PS3.18 8.7.3.5.2 (checklist 41)."""
    held = archive.held[name]
    was = str(read(held.content).file_meta.TransferSyntaxUID)
    for path in (held.path, f"{held.path}/frames/1"):
        if "dicom" in str(accept) and path != held.path:
            continue
        for headers, content in parts(archive.get(path, accept)):
            _, _, syntax = headers["Content-Type"].partition("transfer-syntax=")
            assert syntax not in LOSSY or syntax == was
            assert content


def test_a_frame_that_is_accepted_unquoted(archive: Archive) -> None:
    """PS3.18 8.6.1.2.1 (checklist 8): the answer quotes the type whether the client did or not."""
    path = f"/studies/{uid('p')}/series/{uid('s1')}/instances/{uid('p1')}/frames/1"
    for accept in ("multipart/related; type=image/jpeg", 'multipart/related;type="image/jpeg"'):
        content_type = archive.get(path, accept).headers["content-type"]
        assert content_type.startswith('multipart/related; type="image/jpeg"; boundary=')
