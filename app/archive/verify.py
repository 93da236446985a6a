"""Checking that nothing is lost, torn or forgotten: files against rows and back, counts against rows."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from app.archive.archive import Archive
from app.catalog.consistency import CataloguedFile, catalogued_files, disagreements
from app.catalog.files import is_managed
from app.errors import InstanceUnavailable
from app.storage.in_place import open_in_place
from app.storage.interface import StoredFile

_READ_BYTES = 2**20


@dataclass(slots=True)
class VerifyReport:
    """What was checked, and a sentence for each thing that is wrong."""

    files: int = 0
    bytes_hashed: int = 0
    missing_or_changed: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)  # the SHA-256 is another
    without_row: list[str] = field(default_factory=list)
    miscounted: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.missing_or_changed or self.torn or self.without_row or self.miscounted)

    def to_json(self) -> dict[str, object]:
        """Return the report as plain JSON values."""
        return {
            "sound": self.is_sound,
            "files": self.files,
            "bytes_hashed": self.bytes_hashed,
            "missing_or_changed": self.missing_or_changed,
            "torn": self.torn,
            "without_row": self.without_row,
            "miscounted": self.miscounted,
        }


def verify(
    archive: Archive, *, contents: bool = False, advance: Callable[[int], None] = lambda _: None
) -> VerifyReport:
    """Check the archive, which may be at work; `contents` reads every file and compares its SHA-256."""
    report = VerifyReport()
    with archive.catalog.read() as connection:
        for file in catalogued_files(connection):
            _check_file(archive, file, report, contents=contents)
            advance(1)
        report.miscounted = disagreements(connection)
        # A file that is being taken in lacks its row for a moment; once it is settled, the row is there.
        keys = archive.storage.keys()
        report.without_row = [
            f"Managed file {key} has no row."
            for key in keys
            if not is_managed(connection, key)
            and archive.storage.is_settled(key)
            and not is_managed(connection, key)
        ]
    return report


def _check_file(archive: Archive, file: CataloguedFile, report: VerifyReport, *, contents: bool) -> None:
    report.files += 1
    name = f"Instance {file.sop_instance_uid}"
    try:
        with _opened(archive, file) as opened:
            if opened.size != file.size:
                report.missing_or_changed.append(f"{name}: {opened.size} bytes, {file.size} were stored.")
            elif contents:
                report.bytes_hashed += file.size
                if content_digest(opened) != file.sha256:
                    report.torn.append(f"{name}: the content is not what was stored, its SHA-256 differs.")
    except InstanceUnavailable as error:
        report.missing_or_changed.append(f"{name}: {error}")


def _opened(archive: Archive, file: CataloguedFile) -> StoredFile:
    if file.folder is None:
        return archive.storage.open(file.name)
    return open_in_place(file.folder, file.name, file.size, file.mtime_ns)


def content_digest(opened: StoredFile) -> bytes:
    """Return the SHA-256 of what a file holds now."""
    digest = hashlib.sha256()
    for offset in range(0, opened.size, _READ_BYTES):
        digest.update(opened.read(offset, min(_READ_BYTES, opened.size - offset)))
    return digest.digest()
