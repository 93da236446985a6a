"""pydicom reads the specimens too: attribute by attribute and frame by frame, both say the same.

Differences that are meant, all of them:
- an empty value among several is null here (PS3.18 F.2.5), an empty string there;
- each of several values loses its trailing blanks here (PS3.5 6.2), only the last there;
- group lengths are left out here (PS3.18 F.2.2).
"""

import base64
import io
import logging
import warnings
from pathlib import Path

import orjson
import pydicom
import pytest
from pydicom.encaps import generate_frames

from app.dicom.frames import bulk_segment, count_frames, frame_segments, needs_decoding
from app.dicom.scan import ROOT, scan

VALID = Path(__file__).parents[1] / "data" / "dicom" / "valid"
SPECIMENS = sorted(VALID.iterdir()) + sorted((VALID.parent / "derived").glob("[!S]*.dcm"))
INVALID = [
    VALID.parent / "invalid" / name
    for name in (
        "J2K_pixelrep_mismatch.dcm",
        "ExplVR_BigEndNoMeta.dcm",
        "ExplVR_LitEndNoMeta.dcm",
        "rtstruct.dcm",
        "CTImageStorage_bad_meta.dcm",
        "MR_small_padded.dcm",
        "fuzz_TC0273_wide_1000_items.dcm",
        "fuzz_TC0351_private_no_creator.dcm",
        "reportsi_with_empty_number_tags.dcm",
    )
]


@pytest.fixture(autouse=True)
def _quiet_pydicom():
    """pydicom warns of odd values as it reads them; that is not what is looked at here."""
    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


def read(content: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(content), force=True)


def theirs(attribute: dict) -> dict:
    """Their attribute in our words."""
    values = attribute.get("Value")
    if attribute["vr"] == "SQ" or not values:
        return attribute
    if len(values) > 1:
        values = [value.rstrip() or None if isinstance(value, str) else value for value in values]
    return attribute | {"Value": values}


class Comparison:
    def __init__(self, content: bytes) -> None:
        self.content = content
        self.scanned = scan(content)

    def data_sets(self, path: str, ours: dict, other: dict) -> None:
        assert set(ours) == {tag for tag in other if not tag.endswith("0000")}, path
        for tag, attribute in ours.items():
            if attribute["vr"] == "SQ":
                items, others = attribute.get("Value", []), other[tag].get("Value", [])
                assert len(items) == len(others)
                for index, (item, another) in enumerate(zip(items, others, strict=True)):
                    self.data_sets(f"{path}{tag}/{index}/", item, another)
            elif "BulkDataURI" in attribute:
                self.bulk(path + tag, attribute, other[tag])
            else:
                assert attribute == theirs(other[tag]), path + tag

    def bulk(self, path: str, ours: dict, other: dict) -> None:
        assert ours["vr"] == other["vr"]
        assert ours["BulkDataURI"].endswith(f"/bulkdata/{path}")
        place = bulk_segment(self.scanned.bulk, path)
        if place is None:
            assert path == "7FE00010"
            return
        value = self.content[place.offset : place.offset + place.length]
        if "InlineBinary" in other:
            assert value == base64.b64decode(other["InlineBinary"])
        else:
            assert value.rstrip(b"\0 ").decode("latin-1") == other["Value"][0]


@pytest.mark.parametrize("specimen", SPECIMENS + INVALID, ids=lambda path: path.name)
def test_same_attributes(specimen):
    comparison = Comparison(specimen.read_bytes())
    ours = orjson.loads(comparison.scanned.document.replace(ROOT, b""))
    comparison.data_sets("", ours, orjson.loads(read(comparison.content).to_json()))


@pytest.mark.parametrize("specimen", SPECIMENS, ids=lambda path: path.name)
def test_same_frames(specimen):
    content = specimen.read_bytes()
    scanned, data_set = scan(content), read(content)
    image = next(
        (
            data_set[word]
            for word in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
            if word in data_set
        ),
        None,
    )
    if image is None or not image.value:
        assert count_frames(scanned.frames) == 0
        return
    number = int(data_set.get("NumberOfFrames") or 1)
    assert count_frames(scanned.frames) == number
    if needs_decoding(scanned.frames):
        uncut = data_set.BitsAllocated == 1 or scanned.transfer_syntax_uid.endswith((".1.99", ".2.2"))
        assert uncut
        return
    if image.is_undefined_length:
        expected = list(generate_frames(image.value, number_of_frames=number))
    else:
        length = len(image.value) // number
        expected = [image.value[start : start + length] for start in range(0, length * number, length)]
    for frame, value in enumerate(expected, 1):
        ours = b"".join(content[at : at + length] for at, length in frame_segments(scanned.frames, frame))
        assert ours == value[: len(ours)]
        assert len(value) - len(ours) in (0, 1)  # padding to an even length is not part of a native frame


@pytest.mark.parametrize("specimen", SPECIMENS + INVALID, ids=lambda path: path.name)
def test_with_its_prefix_it_is_part_10(specimen):
    content = specimen.read_bytes()
    scanned = scan(content)
    served = scanned.prefix + content[scanned.offset :]
    data_set = pydicom.dcmread(io.BytesIO(served))  # does not force
    assert data_set.file_meta.TransferSyntaxUID == scanned.transfer_syntax_uid
    assert data_set.SOPInstanceUID == read(content).SOPInstanceUID
