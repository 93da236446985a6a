"""Bulk data and pixel data of instances, series and studies (PS3.18 10.4.1.1.5)."""

from typing import Any

import pytest
from pydicom.encaps import generate_frames

from tests.factories import uid
from tests.web.conftest import Archive
from tests.web.multiparts import parts
from tests.web.test_wado import WITH_PIXELS, read

OCTETS = 'multipart/related; type="application/octet-stream"'
STORED = f"{OCTETS}; transfer-syntax=*"


def references(attributes: dict[str, Any]) -> list[str]:
    """Every BulkDataURI in metadata, of sequence items too, in order."""
    found = []
    for attribute in attributes.values():
        found += [attribute["BulkDataURI"]] if "BulkDataURI" in attribute else []
        found += [
            uri for item in attribute.get("Value", []) if attribute["vr"] == "SQ" for uri in references(item)
        ]
    return found


@pytest.mark.parametrize("name", [*WITH_PIXELS, "waveform_ecg"])
def test_all_bulk_data_are_what_the_metadata_refer_to(archive: Archive, name: str) -> None:
    """PS3.18 10.4.1.1.5 (checklist 35, 37, 38, 8): a URI is the same bytes, alone or with others."""
    path = archive.held[name].path
    (metadata,) = archive.get(f"{path}/metadata").json()
    uris = references(metadata)
    answer = archive.get(f"{path}/bulkdata", STORED)
    assert answer.headers["content-type"].startswith('multipart/related; type="')
    found: dict[str, bytes] = {}
    for headers, content in parts(answer):
        uri, _, frame = headers["Content-Location"].partition("#")
        assert frame or uri not in found
        found[uri] = found.get(uri, b"") + content
    assert list(found) == uris
    for uri in uris:
        assert uri.startswith(f"{archive.server.dicomweb_url}{path}/bulkdata/")
        once, again = (archive.get(uri.removeprefix(archive.server.dicomweb_url), STORED) for _ in range(2))
        assert once.content == again.content
        assert b"".join(content for _, content in parts(once)) == found[uri]


def test_a_value_within_a_sequence_has_a_path_of_its_own(archive: Archive) -> None:
    """PS3.18 10.4.1.1.5 (checklist 35)."""
    held = archive.held["waveform_ecg"]
    answer = archive.get(f"{held.path}/bulkdata/54000100/0/54001010", "application/octet-stream")
    assert answer.content == read(held.content).WaveformSequence[0].WaveformData
    assert answer.headers["content-type"] == "application/octet-stream"
    for path in ("54000100/9/54001010", "54000100", "54000100/0", "0/0", "x"):
        assert archive.get(f"{held.path}/bulkdata/{path}").status_code == 404


@pytest.mark.parametrize("level", ["study", "series", "instance"])
def test_pixel_data_at_each_level(archive: Archive, photo_path: str, level: str) -> None:
    """PS3.18 10.4.1.1.5 (checklist 35, 11, 12): the frames as stored, each with its syntax, one in a part."""
    study = f"/studies/{uid('p')}"
    path, names = {
        "study": (study, ("p1", "p2", "p3")),
        "series": (f"{study}/series/{uid('s1')}", ("p1", "p2")),
        "instance": (photo_path, ("p1",)),
    }[level]
    for accept in (None, 'multipart/related; type="image/jpeg"', STORED):
        found = parts(archive.get(f"{path}/pixeldata", accept))
        assert len(found) == len(names)
        for (headers, content), name in zip(found, names, strict=True):
            assert headers["Content-Type"] == "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50"
            assert content == next(
                generate_frames(read(archive.held[name].content).PixelData, number_of_frames=1)
            )
            uri = f"{archive.server.dicomweb_url}{archive.held[name].path}/bulkdata/7FE00010"
            assert headers["Content-Location"].partition("#")[0] == uri
    decoded = parts(archive.get(f"{path}/pixeldata", OCTETS))
    assert [len(content) for _, content in decoded] == [16 * 24 * 3] * len(names)


def test_compressed_frames_come_one_in_a_part_without_delimiters(archive: Archive) -> None:
    """PS3.18 8.7.3.3 (checklist 11)."""
    held = archive.held["examples_ybr_color"]
    stored = list(generate_frames(read(held.content).PixelData, number_of_frames=30))
    for path in ("bulkdata/7FE00010", "pixeldata", "frames"):
        found = parts(archive.get(f"{held.path}/{path}", STORED))
        assert [content for _, content in found] == stored
        assert not any(b"\xfe\xff\x00\xe0" in content for _, content in found)
    octets = archive.get(f"{held.path}/pixeldata", "application/octet-stream")
    ((_, value),) = parts(archive.get(f"{held.path}/bulkdata/7FE00010", OCTETS))
    assert octets.content == value, "decoded they are one value"
    ((_, whole),) = parts(archive.get(held.path, 'multipart/related; type="application/dicom"'))
    assert read(whole).PixelData == value


@pytest.mark.parametrize("leaf", ["bulkdata", "pixeldata"])
def test_single_parts_are_for_one_value(archive: Archive, photo_path: str, leaf: str) -> None:
    """PS3.18 8.7.3 (checklist 9): several values cannot be had as one type that is not a multipart."""
    for path in (f"/studies/{uid('p')}", f"/studies/{uid('p')}/series/{uid('s1')}"):
        assert archive.get(f"{path}/{leaf}", "application/octet-stream").status_code == 406
        mixed = archive.get(f"{path}/{leaf}", f"application/octet-stream, {STORED};q=0.1")
        assert mixed.headers["content-type"].startswith("multipart/related")
    assert archive.get(f"{photo_path}/{leaf}", "image/jpeg").content[:2] == b"\xff\xd8"
    several = archive.held["examples_ybr_color"].path
    assert archive.get(f"{several}/{leaf}", "image/jpeg").status_code == 406
    assert archive.get(f"{several}/frames", "image/jpeg").status_code == 406


def test_what_has_none_says_so(archive: Archive) -> None:
    """PS3.18 10.4.3 (checklist 36)."""
    report = archive.held["test-SR"].path
    for path in (
        f"{report}/pixeldata",
        f"{report}/bulkdata",
        "/studies/1.2.3/pixeldata",
        "/studies/1.2.3/bulkdata",
    ):
        assert archive.get(path).status_code == 404
    assert archive.get(f"{archive.held['waveform_ecg'].path}/pixeldata").status_code == 404
    assert archive.get(f"{archive.held['p1'].path}/pixeldata", "text/html").status_code == 406
