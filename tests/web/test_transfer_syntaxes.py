"""What is held goes out in any transfer syntax that can be encoded, if asked for (PS3.18 8.7.3)."""

import io
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pydicom
import pytest
from pydicom.encaps import generate_frames
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from app.dicom.media_types import pixel_media_type
from tests.factories import make_instance, uid, write_instance
from tests.servers import Server
from tests.web.conftest import Archive
from tests.web.multiparts import parts

DCMTK = {RLELossless: "dcmdrle", JPEGLosslessSV1: "dcmdjpeg", JPEGLSLossless: "dcmdjpls"}
LOSSLESS = [RLELossless, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless, "1.2.840.10008.1.2.4.201"]
BARE = f"/studies/{uid('bare')}/series/{uid('bare')}/instances/{uid('bare')}"  # RGB, 8 bits, not compressed
OCTETS = "application/octet-stream"


def read(content: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(content))


@pytest.mark.parametrize("syntax", LOSSLESS)
@pytest.mark.parametrize("name", ["bare", "SC_rgb_jpeg_dcmtk", "MR_small_implicit", "color-pl"])
def test_an_instance_in_the_syntax_asked_for(
    archive: Archive, name: str, syntax: str, tmp_path: Path
) -> None:
    """8.7.3.5.2 (checklist 12): the same image, under the same UID, in what others decode alike."""
    held = archive.held.get(name)
    path = BARE if name == "bare" else held.path
    ((headers, content),) = parts(
        archive.get(path, f'multipart/related; type="application/dicom"; transfer-syntax={syntax}')
    )
    assert headers["Content-Type"] == f"application/dicom; transfer-syntax={syntax}"
    ((_, native),) = parts(archive.get(path, 'multipart/related; type="application/dicom"'))
    before, made = read(native), read(content)
    assert made.file_meta.TransferSyntaxUID == syntax
    assert made.SOPInstanceUID == before.SOPInstanceUID
    assert made.get("LossyImageCompression") == before.get("LossyImageCompression")
    if syntax in DCMTK:
        (tmp_path / "made.dcm").write_bytes(content)
        subprocess.run([DCMTK[syntax], tmp_path / "made.dcm", tmp_path / "back.dcm"], check=True)
        assert np.array_equal(pydicom.dcmread(tmp_path / "back.dcm").pixel_array, before.pixel_array)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("name", ["MR_small_implicit", "liver_expb_1frame", "p1"])
def test_what_may_not_be_sent_is_never_sent(archive: Archive, name: str, syntax: str) -> None:
    """8.7.3.5.2 (checklist 7), though the first two are stored so."""
    path = archive.held[name].path
    for accept in (f"application/dicom; transfer-syntax={syntax}", f"{OCTETS}; transfer-syntax={syntax}"):
        answer = archive.get(path if "dicom" in accept else f"{path}/frames/1", accept)
        assert answer.status_code == 406
        assert syntax not in answer.json()["detail"].split(", ")


def test_the_default_of_an_instance(archive: Archive) -> None:
    """8.7.3.5.2 (checklist 5, 6): `*` is as stored; none named is Explicit VR Little Endian.

    What is held with loss goes as stored, unless the client names application/dicom and nothing else.
    """
    photo = archive.held["p1"]
    for accept, syntax in (
        ("application/dicom; transfer-syntax=*", JPEGBaseline8Bit),
        ("application/dicom", ExplicitVRLittleEndian),
    ):
        answer = archive.get(photo.path, accept)
        assert read(answer.content).file_meta.TransferSyntaxUID == syntax
    ((headers, content),) = parts(archive.get(photo.path, "*/*"))
    assert headers["Content-Type"].endswith(JPEGBaseline8Bit)
    assert content == photo.content


@pytest.mark.parametrize(
    ("media_type", "syntax"),
    [
        (OCTETS, ExplicitVRLittleEndian),
        ("image/jpeg", JPEGLosslessSV1),
        ("image/dicom-rle", RLELossless),
        ("image/x-dicom-rle", RLELossless),
        ("image/jls", JPEGLSLossless),
        ("image/x-jls", JPEGLSLossless),
        ("image/jp2", JPEG2000Lossless),
        ("image/jphc", "1.2.840.10008.1.2.4.201"),
        ("image/jxl", "1.2.840.10008.1.2.4.110"),
        ("image/*", JPEGLosslessSV1),
        ("*/*", ExplicitVRLittleEndian),
    ],
)
def test_the_default_syntax_of_a_media_type(archive: Archive, media_type: str, syntax: str) -> None:
    """Table 8.7.3-5 (checklist 12, 41): the default keeps every sample; nothing is lossy unless asked for."""
    ((headers, _),) = parts(archive.get(f"{BARE}/frames/1", f'multipart/related; type="{media_type}"'))
    assert headers["Content-Type"] == f"{pixel_media_type(syntax)}; transfer-syntax={syntax}"


def test_lossy_frames_stay_as_they_are_where_their_type_is_asked_for(archive: Archive) -> None:
    """image/jpeg without a syntax is `.70` by the text; `.50` is what the client's decoder draws at once."""
    path = f"{archive.held['p1'].path}/frames/1"
    for syntax in (None, JPEGBaseline8Bit, JPEGLosslessSV1):
        named = f"; transfer-syntax={syntax}" if syntax else ""
        ((headers, content),) = parts(archive.get(path, f'multipart/related; type="image/jpeg"{named}'))
        assert headers["Content-Type"] == f"image/jpeg; transfer-syntax={syntax or JPEGBaseline8Bit}"
        is_lossless = b"\xff\xc3" in content[:400]
        assert is_lossless == (syntax == JPEGLosslessSV1)


def test_lossy_compression_only_on_request(archive: Archive) -> None:
    """PS3.3 C.7.6.1.1.5 (checklist 41): then it is another image, derived from the one that is held."""
    made = read(archive.get(BARE, f"application/dicom; transfer-syntax={JPEGBaseline8Bit}").content)
    assert made.SOPInstanceUID != uid("bare")
    assert made.SourceImageSequence[0].ReferencedSOPInstanceUID == uid("bare")
    assert (made.ImageType[0], made.LossyImageCompression) == ("DERIVED", "01")
    for accept in ("application/dicom", "*/*", 'multipart/related; type="application/dicom"', None):
        answer = archive.get(BARE, accept)
        content = answer.content if accept == "application/dicom" else parts(answer)[0][1]
        assert read(content).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, RLELossless, ExplicitVRLittleEndian])
def test_one_frame_a_part_without_delimiters(archive: Archive, syntax: str) -> None:
    """8.7.3 (checklist 11), through frames and through the bulk data of the instance."""
    held = archive.held["sm_image_jpegls_nobot"]
    accept = f'multipart/related; type="{pixel_media_type(syntax)}"; transfer-syntax={syntax}'
    frames = parts(archive.get(f"{held.path}/frames/25,1,25", accept))
    named = [headers["Content-Location"].rpartition("/")[2] for headers, _ in frames]
    assert named == ["25", "1", "25"]
    assert frames[0][1] == frames[2][1]
    values = parts(archive.get(f"{held.path}/bulkdata/7FE00010", accept))
    whole = read(archive.get(held.path, f"application/dicom; transfer-syntax={syntax}").content)
    if syntax == ExplicitVRLittleEndian:  # one value, whatever it has of frames
        assert [content for _, content in values] == [whole.PixelData]
        return
    stored = list(generate_frames(whole.PixelData, number_of_frames=25))
    assert len(values) == 25
    for (_, content), frame in zip(values, stored, strict=True):
        assert frame.removesuffix(b"\0") == content.removesuffix(b"\0")
    assert values[24][1] == frames[0][1]


def test_photometric_interpretation_is_that_of_the_frames(archive: Archive, tmp_path: Path) -> None:
    """10.4.1.1.2 (checklist 40): metadata describe the frames as stored; octets made of colour are RGB."""
    held = archive.held["SC_rgb_jpeg_dcmtk"]
    (metadata,) = archive.get(f"{held.path}/metadata").json()
    decoded = archive.get(f"{held.path}/frames/1", f"{OCTETS}, */*; q=0.1")
    assert decoded.headers["Content-Type"] == f"{OCTETS}; transfer-syntax={ExplicitVRLittleEndian}"
    ((headers, jpeg),) = parts(
        archive.get(f"{held.path}/frames/1", f"multipart/related; type={OCTETS}; transfer-syntax=*")
    )
    assert headers["Content-Type"] == f"image/jpeg; transfer-syntax={JPEGBaseline8Bit}"
    assert jpeg.startswith(b"\xff\xd8")
    assert metadata["00280004"]["Value"] == [read(held.content).PhotometricInterpretation]
    ((_, native),) = parts(archive.get(held.path, 'multipart/related; type="application/dicom"'))
    assert (read(native).PhotometricInterpretation, read(native).PlanarConfiguration) == ("RGB", 0)
    (tmp_path / "held.dcm").write_bytes(held.content)
    subprocess.run(["dcmdjpeg", tmp_path / "held.dcm", tmp_path / "theirs.dcm"], check=True)
    theirs = pydicom.dcmread(tmp_path / "theirs.dcm")
    assert theirs.PhotometricInterpretation == "RGB"
    assert decoded.content == theirs.PixelData == read(native).PixelData


@pytest.mark.parametrize(
    ("name", "accept", "says"),
    [
        ("MR_small_implicit", f"image/jpeg; transfer-syntax={JPEGBaseline8Bit}", JPEGLosslessSV1),
        ("MR_small_implicit", "image/jpx", JPEG2000Lossless),
        ("p1", "image/jp2; transfer-syntax=1.2.840.10008.1.2.5", RLELossless),
        ("p1", "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.51", JPEGLosslessSV1),
        ("liver_expb_1frame", "image/jls", ExplicitVRLittleEndian),
    ],
)
def test_what_cannot_be_made_is_refused_with_what_can(
    archive: Archive, name: str, accept: str, says: str
) -> None:
    answer = archive.get(f"{archive.held[name].path}/frames/1", accept)
    assert answer.status_code == 406
    assert says in answer.json()["detail"]


def test_frames_need_a_multipart(archive: Archive) -> None:
    """8.7.3 (checklist 9): a single part is for one item, and these are 25."""
    held = archive.held["sm_image_jpegls_nobot"]
    answer = archive.get(f"{held.path}/bulkdata/7FE00010", "image/jp2")
    assert answer.status_code == 406
    assert archive.get(f"{held.path}/frames/1,2", "image/jp2").status_code == 406
    assert archive.get(f"{held.path}/frames/2", "image/jp2").content.startswith(b"\xff\x4f\xff\x51")


def test_what_is_too_large_to_be_decoded_goes_as_stored(
    server_factory: Callable[..., Server], tmp_path: Path
) -> None:
    """8.7.3.5.2 (checklist 6): 463 MiB would be decoded; whoever insists is told so."""
    large = make_instance("large", jpeg=True, frames=2)
    large.Rows = large.Columns = 9000
    path = write_instance(tmp_path / "files" / "large.dcm", large)
    server = server_factory(throttle="off")
    server.run("index", path.parent)
    url = f"{server.dicomweb_url}/studies/{uid('study')}/series/{uid('series')}/instances/{uid('large')}"
    answer = httpx.get(url, headers={"Accept": "application/dicom"})
    assert answer.content == path.read_bytes()
    assert answer.headers["content-type"] == f"application/dicom; transfer-syntax={JPEGBaseline8Bit}"
    insisted = f"application/dicom; transfer-syntax={ExplicitVRLittleEndian}"
    answer = httpx.get(url, headers={"Accept": insisted})
    assert answer.status_code == 406
    assert "463 MiB; 256 MiB are allowed" in answer.json()["detail"]


def test_signed_samples_in_jpeg_xl_are_refused_when_they_are_seen(archive: Archive) -> None:
    answer = archive.get(f"{archive.held['MR_small_implicit'].path}/frames/1", "image/jxl")
    assert answer.status_code == 406
    assert "signed samples" in answer.json()["detail"]


def test_a_document_has_no_compressed_form(archive: Archive) -> None:
    """What has no pixels is left out of a study in a compressed syntax, or goes as the next choice says."""
    held = archive.held["test-SR"]
    compressed = f"application/dicom; transfer-syntax={JPEG2000Lossless}"
    assert archive.get(held.path, compressed).status_code == 406
    second = archive.get(held.path, f"{compressed}, application/dicom; transfer-syntax=*; q=0.5")
    assert second.content == held.content
