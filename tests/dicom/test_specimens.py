"""Every specimen is read, warned about or refused as its manifest says."""

import json
from pathlib import Path

import orjson
import pytest

from app.dicom.scan import ROOT, Scanned, scan
from app.errors import ArchiveError, Unaddressable, Unreadable

SPECIMENS = Path(__file__).parents[1] / "data" / "dicom"
MANIFEST = json.loads((SPECIMENS / "manifest.json").read_text())["files"]


def outcome(content: bytes) -> str:
    try:
        scanned = scan(content)
    except (Unreadable, Unaddressable):
        return "reject"
    return "warn" if scanned.warnings else "accept"


@pytest.mark.parametrize("specimen", MANIFEST, ids=lambda specimen: specimen["file"])
def test_specimen_comes_out_as_declared(specimen):
    assert outcome((SPECIMENS / specimen["file"]).read_bytes()) in specimen["expect"]


@pytest.mark.parametrize("specimen", MANIFEST, ids=lambda specimen: specimen["file"])
def test_documents_are_json_in_ascending_order_without_group_lengths(specimen):
    """PS3.18 F.2.2 (checklist 17)."""
    try:
        scanned = scan((SPECIMENS / specimen["file"]).read_bytes())
    except ArchiveError:
        assert "accept" not in specimen["expect"] or len(specimen["expect"]) > 1
        return
    assert isinstance(scanned, Scanned)
    in_order(orjson.loads(scanned.document.replace(ROOT, b"http://here")))


def in_order(data_set: dict) -> None:
    assert list(data_set) == sorted(data_set)
    for tag, attribute in data_set.items():
        assert len(tag) == 8
        assert tag == tag.upper()
        assert not tag.endswith("0000")
        assert tag >= "0004"
        assert set(attribute) in ({"vr"}, {"vr", "Value"}, {"vr", "BulkDataURI"}, {"vr", "InlineBinary"})
        assert len(attribute["vr"]) == 2
        if attribute["vr"] == "SQ":
            for item in attribute.get("Value", []):
                in_order(item)
