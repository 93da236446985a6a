"""Files for one answer: named while something is written to them, gone when they are closed."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.archive.archive import Archive
from app.errors import StorageFailed, StorageFull
from app.storage.opened import OpenedFile


@dataclass
class Scratch:
    """An empty file, with a name that other processes may read and write it by."""

    path: str
    descriptor: int
    size: int = 0

    def write(self, data: bytes | memoryview) -> None:
        """Append; raises StorageFull or StorageFailed."""
        rest = memoryview(data)
        try:
            while rest:
                written = os.pwrite(self.descriptor, rest, self.size)
                self.size += written
                rest = rest[written:]
        except OSError as error:
            raise _disk_error(error) from error

    def empty(self) -> None:
        """Forget what was written."""
        os.ftruncate(self.descriptor, 0)
        self.size = 0

    def opened(self) -> OpenedFile:
        """Take what was written, to be closed by the caller."""
        descriptor, self.descriptor = self.descriptor, -1
        return OpenedFile(descriptor, os.fstat(descriptor).st_size)


@contextmanager
def scratch_file(archive: Archive) -> Iterator[Scratch]:
    """Make a file; with the block its name goes, and all of it unless it was taken opened().

    Raises StorageFull or StorageFailed.
    """
    try:
        archive.scratch_dir.mkdir(parents=True, exist_ok=True)
        descriptor, path = tempfile.mkstemp(dir=archive.scratch_dir)
    except OSError as error:
        raise _disk_error(error) from error
    made = Scratch(path, descriptor)
    try:
        yield made
    finally:
        Path(path).unlink(missing_ok=True)
        if made.descriptor >= 0:
            os.close(made.descriptor)


def _disk_error(error: OSError) -> StorageFull | StorageFailed:
    kind = StorageFull if error.errno in {errno.ENOSPC, errno.EDQUOT} else StorageFailed
    return kind(f"There is no room for a conversion: {error.strerror}.")
