"""From a file to the rows of the catalogue. Pure, so that it can run in a child process."""

import hashlib
import mmap
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from app.catalog import documents
from app.catalog.attributes import ATTRIBUTES, INSTANCE, SERIES, STUDY, TAGS
from app.catalog.documents import Attributes
from app.dicom.matching import Level, time_bounds
from app.dicom.person_names import first_group, fold_name
from app.dicom.private_block import Facts, facts_of
from app.dicom.scan import Scanned, scan
from app.errors import Unreadable

READ_WHOLE_BYTES = 8 * 2**20  # larger files are mapped, not read, so that memory stays bounded


class Entry(NamedTuple):
    """What one file adds to the catalogue: the columns of its rows, by name."""

    study: dict[str, Any]
    study_attributes: bytes  # what it says of the study, as JSON: most files of a study are not its first
    series: dict[str, Any]
    series_attributes: bytes
    instance: dict[str, Any]
    facts: Facts
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
    try:
        before = os.fstat(descriptor)
        scanned, digest = _read(descriptor, before.st_size)
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise Unreadable("the file changed while it was read: try again when it is complete")
    return entry(scanned, before.st_size, before.st_mtime_ns, digest)


def _read(descriptor: int, size: int) -> tuple[Scanned, bytes]:
    if size == 0:
        raise Unreadable("the file is empty")
    if size > READ_WHOLE_BYTES:
        with (
            mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as mapped,
            open(descriptor, "rb", closefd=False) as opened,
        ):
            return scan(mapped), hashlib.file_digest(opened, "sha256").digest()
    content = os.read(descriptor, size)
    if len(content) < size:
        raise Unreadable("the file changed while it was read: try again when it is complete")
    return scan(content), hashlib.sha256(content).digest()


def entry(scanned: Scanned, size: int, mtime_ns: int, sha256: bytes) -> Entry:
    """Return the rows for a scanned file."""
    attributes = scanned.attributes
    instance = _columns(INSTANCE, attributes)
    instance["transfer_syntax_uid"] = scanned.transfer_syntax_uid
    instance["prefix"] = scanned.prefix or None
    instance["offset"] = scanned.offset
    instance["data_set"] = scanned.data_set
    instance["frames"] = scanned.frames
    instance["bulk"] = scanned.bulk
    return Entry(
        study=_columns(STUDY, attributes),
        study_attributes=_of_level(STUDY, attributes),
        series=_columns(SERIES, attributes),
        series_attributes=_of_level(SERIES, attributes),
        instance=instance,
        facts=facts_of(attributes),
        document=documents.pack(scanned.document),
        size=size,
        mtime_ns=mtime_ns,
        sha256=sha256,
        warnings=scanned.warnings,
    )


def said_of(level: Level, attributes: Attributes) -> dict[str, Any]:
    """Return the columns of a study or series that follow from what one of its instances says."""
    return _columns(level, attributes) | {"attributes": _of_level(level, attributes)}


def _of_level(level: Level, attributes: Attributes) -> bytes:
    own = sorted(TAGS[level].intersection(attributes))
    return documents.dump_ordered({tag: attributes[tag] for tag in own})


def _columns(level: Level, attributes: Attributes) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for column, tag, below, value_of in _COLUMNS[level]:
        attribute = attributes.get(tag)
        values = attribute.get("Value") if attribute else None
        if values and below:
            values = _values_below(values, below)
        columns[column] = value_of(values) if values else None
    return columns


def _values_below(values: Sequence[Any], path: Sequence[str]) -> Sequence[Any]:
    for tag in path:
        values = [value for item in values if item for value in item.get(tag, {}).get("Value", ())]
    return values


def _integer(values: Sequence[Any]) -> int | None:
    # -2**63 … 2**63-1 is what both databases hold; an IS beyond it is not one (PS3.5 6.2).
    value = values[0]
    return value if isinstance(value, int) and -(2**63) <= value < 2**63 else None


def _name(values: Sequence[Any]) -> str:
    for name in values:
        # What another VR than PN says is no name.
        if type(name) is dict and (group := first_group(name)):
            return fold_name(group)
    return ""


def _text(values: Sequence[Any]) -> str:
    if len(values) == 1 and type(values[0]) is str:  # as nearly always
        return values[0].replace("\0", "")
    return "\\".join(str(value) for value in values if value is not None).replace("\0", "")


def _time(values: Sequence[Any]) -> str:
    return time_bounds("TM", _text(values))[0]


_VALUE_OF: dict[str, Callable[[Sequence[Any]], int | str | None]] = {"PN": _name, "TM": _time}

# Column, tag, the path below it if it is a sequence, how its values become the column's.
_COLUMNS = {
    level: tuple(
        (a.column, tag, below, _integer if a.is_integer else _VALUE_OF.get(a.vr, _text))
        for a in ATTRIBUTES
        if a.level == level and a.source == "column"
        for tag, *below in [a.tag.split(".")]
    )
    for level in Level
}
