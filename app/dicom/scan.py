"""One read of a DICOM file at ingest: everything that a later read of it needs.

The data set as DICOM JSON (PS3.18 Annex F) with bulk data by reference, where each frame and bulk value lies
in the file, and what to send before its bytes so that they are PS3.10. No pixel is decoded.
"""

import struct
from collections.abc import Mapping
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import NamedTuple

import orjson

from app.dicom.data_set import Findings
from app.dicom.elements import Walk
from app.dicom.frames import pack_bulk
from app.dicom.json_model import Attribute
from app.dicom.part10 import MEDIA_STORAGE_SOP_CLASS_UID, Part10, inflate, make_prefix, read_part10
from app.dicom.pixel_frames import locate_frames
from app.dicom.uids import DEFLATED, is_valid_uid
from app.errors import Unaddressable, Unreadable

# Stands for the service root in stored JSON, which never holds a raw control byte otherwise.
ROOT = b"\x01"

_NAMES = {
    "0020000D": "Study Instance UID (0020,000D)",
    "0020000E": "Series Instance UID (0020,000E)",
    "00080018": "SOP Instance UID (0008,0018)",
    "00080016": "SOP Class UID (0008,0016)",
}


class Scanned(NamedTuple):
    """What a file holds."""

    document: bytes  # DICOM JSON object, UTF-8, tags ascending, ROOT before every BulkDataURI
    attributes: dict[str, Attribute]  # the same before it was written
    transfer_syntax_uid: str
    prefix: bytes  # what to send before the file's bytes so that it is PS3.10
    offset: int  # first byte of the file to send after the prefix
    data_set: int  # first byte of the file after its File Meta Information
    frames: bytes  # packed by dicom/frames.py
    bulk: bytes  # packed by dicom/frames.py: path -> place in the file
    warnings: tuple[str, ...]


def scan(buffer: bytes | mmap | memoryview) -> Scanned:
    """Read a file once. Raises Unreadable (and says why) or Unaddressable (and says which UID)."""
    data = bytes(buffer) if isinstance(buffer, memoryview) else buffer
    try:
        return _scan(data)
    except struct.error as error:
        raise Unreadable("the file ends within the header of an element") from error
    except (MemoryError, RecursionError) as error:
        raise Unreadable("the file is too large or too deeply nested to read") from error


def _scan(data: bytes | mmap) -> Scanned:
    part10 = read_part10(data)
    if part10.transfer_syntax_uid in DEFLATED:
        inflated = inflate(data, part10.data_set)
        walk = Walk(inflated, addressable=False)
        attributes = walk.root(part10.encoding, 0, len(inflated))
    else:
        walk = Walk(data, addressable=True)
        attributes = walk.root(part10.encoding, part10.data_set, len(data))
    study, series, instance, sop_class = (_uid(attributes, tag) for tag in _NAMES)
    findings = walk.findings
    _compare_sop_class(part10, sop_class, findings)
    frames = locate_frames(data, attributes, part10.transfer_syntax_uid, findings)
    bulk_data = f"/studies/{study}/series/{series}/instances/{instance}/bulkdata/"
    for path, attribute, _ in findings.references:
        # Ready JSON, as the root would be escaped; a path is digits, letters and slashes.
        attribute["BulkDataURI"] = orjson.Fragment(b'"%b%b%b"' % (ROOT, bulk_data.encode(), path.encode()))
    document = orjson.dumps(attributes)
    for path, attribute, _ in findings.references:
        attribute["BulkDataURI"] = ROOT.decode() + bulk_data + path
    prefix, offset = make_prefix(part10, sop_class, instance)
    return Scanned(
        document=document,
        attributes=attributes,
        transfer_syntax_uid=part10.transfer_syntax_uid,
        prefix=prefix,
        offset=offset,
        data_set=part10.data_set,
        frames=frames,
        bulk=pack_bulk({path: place for path, _, place in findings.references if place}),
        warnings=(*part10.warnings, *findings.warnings),
    )


class Layout(NamedTuple):
    """Where the data set of a file begins, how it is written, and of what it is."""

    data_set: int
    transfer_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str


def read_layout(path: str) -> Layout:
    """Scan a file for no more than this, for the cage; File Meta Information may name another instance."""
    with Path(path).open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as buffer:
        found = scan(buffer)
    sop_class, instance = (_uid(found.attributes, tag) for tag in ("00080016", "00080018"))
    return Layout(found.data_set, found.transfer_syntax_uid, sop_class, instance)


def _uid(attributes: Mapping[str, Attribute], tag: str) -> str:
    """One of the UIDs that name the object; Unaddressable if it is not there or not one UID."""
    try:
        values = attributes[tag]["Value"]
    except KeyError:
        raise Unaddressable(f"{_NAMES[tag]} is missing") from None
    if len(values) > 1 or not isinstance(values[0], str) or not is_valid_uid(values[0]):
        raise Unaddressable(f"{_NAMES[tag]} is not a valid UID: {str(values[0])[:80]!r}")
    return values[0]


def _compare_sop_class(part10: Part10, sop_class_uid: str, findings: Findings) -> None:
    declared = part10.meta.get(MEDIA_STORAGE_SOP_CLASS_UID)
    if declared is not None and declared.rstrip(b"\0 ") != sop_class_uid.encode():
        findings.note(
            "the Media Storage SOP Class UID (0002,0002) differs from the SOP Class UID (0008,0016)"
        )
