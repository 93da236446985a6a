"""Files composed of metadata and bulk data are what pydicom, and our own reader, read back."""

import json
import struct
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.dicom.composing import compose
from app.dicom.image_parts import encapsulated_pieces, native_pieces
from app.dicom.parts import RECEIVED, WRITTEN, BulkPart, Elsewhere, MetadataPart
from app.dicom.scan import scan
from app.dicom.writing import length_of
from app.errors import Unreadable
from tests.factories import instance_bytes

CONTENTS = st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=4)


def model() -> dict:
    return pydicom.dcmread(BytesIO(instance_bytes())).to_json_dict()


def composed(folder: Path, models: list[dict], contents: list[tuple[str, str, bytes]]) -> list[bytes]:
    """The files that metadata and bulk data (location, media type, content) make."""
    document = json.dumps(models).encode()
    received, parts = document, []
    for location, media_type, content in contents:
        parts.append(BulkPart(location, media_type, "", Elsewhere(RECEIVED, len(received), len(content))))
        received += content
    bundle, target = folder / "bundle", folder / "target"
    bundle.write_bytes(received)
    target.write_bytes(b"")
    metadata = MetadataPart(Elsewhere(RECEIVED, 0, len(document)), is_json=True)
    found = compose(str(bundle), [metadata], parts, str(target))
    assert [one.error for one in found] == [None] * len(models)
    sources = {WRITTEN: target.read_bytes(), RECEIVED: received}
    return [
        b"".join(sources[place.source][place.offset : place.offset + place.length] for place in one.pieces)
        for one in found
    ]


@given(CONTENTS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_bulk_data_anywhere(tmp_path, contents):
    """PS3.18 10.5.1 (checklist 54)."""
    one = model()
    items = [{"00091010": {"vr": "OB", "BulkDataURI": f"b/{n}"}} for n in range(len(contents))]
    one["00091000"] = {"vr": "SQ", "Value": items}
    one["FFFCFFFC"] = {"vr": "OB", "BulkDataURI": "b/0"}  # after the pixels
    parts = [(f"b/{n}", "application/octet-stream", content) for n, content in enumerate(contents)]
    (content,) = composed(tmp_path, [one], parts[::-1])
    read = pydicom.dcmread(BytesIO(content))
    padded = [content + b"\0" * (len(content) % 2) for content in contents]
    assert [item[0x00091010].value for item in read[0x00091000].value] == padded
    assert read[0xFFFCFFFC].value == padded[0]
    assert read.PixelData == pydicom.dcmread(BytesIO(instance_bytes())).PixelData
    assert scan(content).warnings == ()


@given(CONTENTS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_frames(tmp_path, frames):
    """PS3.18 8.7.3 (checklist 11): a fragment for each frame, found by the Basic Offset Table."""
    one = model()
    one["7FE00010"] = {"vr": "OB", "BulkDataURI": "p"}
    one["00020010"] = {"vr": "UI", "Value": ["1.2.840.10008.1.2.5"]}
    parts = [(f"p/frames/{n}", "image/dicom-rle", frame) for n, frame in enumerate(frames, 1)]
    (content,) = composed(tmp_path, [one], parts)
    read = pydicom.dcmread(BytesIO(content))
    found = pydicom.encaps.generate_frames(read.PixelData, number_of_frames=len(frames))
    assert list(found) == [frame + b"\0" * (len(frame) % 2) for frame in frames]


@given(st.lists(st.integers(0, 2**33), min_size=1, max_size=5))
def test_pixels_of_any_length(lengths):
    places = [Elsewhere(RECEIVED, 0, length) for length in lengths]
    try:
        pieces = native_pieces("OW", places)
    except Unreadable:
        assert sum(lengths) > 2**32 - 2
    else:
        assert struct.unpack("<I", pieces[0][-4:])[0] == length_of(pieces) - 12
        assert length_of(pieces) % 2 == 0
    try:
        pieces = encapsulated_pieces(places)
    except Unreadable:
        assert max(lengths) > 2**32 - 2
    else:
        (table,) = struct.unpack("<I", pieces[0][16:20])
        padded = sum(length + length % 2 + 8 for length in lengths)
        assert table in {0, 4 * len(lengths)}
        assert length_of(pieces) == 20 + table + padded + 8


@pytest.mark.parametrize("declared", [None, ["ISO_IR 100"], ["", "ISO 2022 IR 87"], ["no such term"]])
@pytest.mark.parametrize("name", ["Doe", "Zoë", "山田"])
def test_text_in_any_character_set(tmp_path, declared, name):
    """PS3.18 F.2: JSON is UTF-8 whatever (0008,0005) says."""
    one = model()
    del one["00080005"]
    if declared:
        one["00080005"] = {"vr": "CS", "Value": declared}
    one["00100010"] = {"vr": "PN", "Value": [{"Alphabetic": name}]}
    item = {"00080005": {"vr": "CS", "Value": ["ISO_IR 144"]}, "00081030": {"vr": "LO", "Value": [name]}}
    one["00081140"] = {"vr": "SQ", "Value": [item]}
    (content,) = composed(tmp_path, [one], [])
    found = scan(content).attributes
    assert found["00100010"]["Value"][0] == {"Alphabetic": name}
    assert tuple(found["00081140"]["Value"][0]["00081030"]["Value"]) == (name,)
