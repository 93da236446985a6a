"""From a file to the rows of the catalogue. Pure, so that it can run in a child process."""

import hashlib
import mmap
import os
from dataclasses import dataclass
from typing import Any

from app.catalog import documents
from app.catalog.attributes import ATTRIBUTES, Attribute, level_of
from app.catalog.documents import Attributes
from app.dicom.matching import Level, time_bounds
from app.dicom.person_names import first_group, fold_name
from app.dicom.scan import Scanned, scan
from app.errors import Unreadable

READ_WHOLE_BYTES = 8 * 2**20  # larger files are mapped, not read, so that memory stays bounded


@dataclass(frozen=True, slots=True)
class Entry:
    """What one file adds to the catalogue: the columns of its rows, by name."""

    study: dict[str, Any]
    study_attributes: Attributes
    series: dict[str, Any]
    series_attributes: Attributes
    instance: dict[str, Any]
    document: bytes
    size: int
    mtime_ns: int
    sha256: bytes
    warnings: tuple[str, ...]

    @property
    def study_instance_uid(self) -> str:
        """The UID of its study."""
        uid: str = self.study["study_instance_uid"]
        return uid

    @property
    def series_instance_uid(self) -> str:
        """The UID of its series."""
        uid: str = self.series["series_instance_uid"]
        return uid

    @property
    def sop_instance_uid(self) -> str:
        """Its own UID."""
        uid: str = self.instance["sop_instance_uid"]
        return uid


def read_entry(path: str) -> Entry:
    """Read one DICOM file once: hash, header, rows.

    Raises Unreadable or Unaddressable; OSError as the system gives it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(descriptor, "rb") as opened:  # noqa: PTH123 the descriptor was opened without following links
        before = os.fstat(descriptor)
        if before.st_size == 0:
            raise Unreadable("the file is empty")
        if before.st_size <= READ_WHOLE_BYTES:
            content = opened.read()
            scanned, digest = scan(content), hashlib.sha256(content).digest()
        else:
            with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as mapped:
                scanned = scan(mapped)
                digest = hashlib.file_digest(opened, "sha256").digest()
        after = os.fstat(descriptor)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise Unreadable("the file changed while it was read: try again when it is complete")
    return entry(scanned, before.st_size, before.st_mtime_ns, digest)


def entry(scanned: Scanned, size: int, mtime_ns: int, sha256: bytes) -> Entry:
    """Return the rows for a scanned file."""
    attributes = scanned.attributes
    study: Attributes = {}
    series: Attributes = {}
    for tag, attribute in attributes.items():
        level = level_of(tag)
        if level == Level.STUDY:
            study[tag] = attribute
        elif level == Level.SERIES:
            series[tag] = attribute
    instance = _columns(Level.INSTANCE, attributes)
    instance["transfer_syntax_uid"] = scanned.transfer_syntax_uid
    instance["prefix"] = scanned.prefix or None
    instance["offset"] = scanned.offset
    instance["data_set"] = scanned.data_set
    instance["frames"] = scanned.frames
    instance["bulk"] = scanned.bulk
    return Entry(
        study=_columns(Level.STUDY, attributes),
        study_attributes=study,
        series=_columns(Level.SERIES, attributes),
        series_attributes=series,
        instance=instance,
        document=documents.pack(scanned.document),
        size=size,
        mtime_ns=mtime_ns,
        sha256=sha256,
        warnings=scanned.warnings,
    )


_COLUMNS: dict[Level, tuple[tuple[Attribute, list[str], str, bool], ...]] = {
    level: tuple(
        (a, a.tag.split("."), a.vr, a.is_integer)
        for a in ATTRIBUTES
        if a.level == level and a.source == "column"
    )
    for level in Level
}


def _columns(level: Level, attributes: Attributes) -> dict[str, Any]:
    return {
        attribute.column: _column_value(values, vr, is_integer=is_integer)
        if (values := _values(attributes, path))
        else None
        for attribute, path, vr, is_integer in _COLUMNS[level]
    }


def _values(attributes: Attributes, path: list[str]) -> list[Any]:
    values: list[Any] = attributes.get(path[0], {}).get("Value", [])
    for tag in path[1:]:
        values = [value for item in values if item for value in item.get(tag, {}).get("Value", [])]
    return values


def _column_value(values: list[Any], vr: str, *, is_integer: bool) -> int | str | None:
    if is_integer:
        # -2**63 … 2**63-1 is what both databases hold; an IS beyond it is not one (PS3.5 6.2).
        value = values[0]
        return value if isinstance(value, int) and -(2**63) <= value < 2**63 else None
    if vr == "PN":
        return fold_name(next((group for name in values if (group := first_group(name))), ""))
    text = "\\".join(str(value) for value in values if value is not None).replace("\0", "")
    return time_bounds(vr, text)[0] if vr == "TM" else text
