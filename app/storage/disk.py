"""The disk's own words, turned into ours; what a failed fsync means for everything after it."""

import errno
import fcntl
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from app.errors import StorageFailed, StorageFull

# linux/fs.h, as most architectures number it; the flag is that of `chattr +T`.
_GET_FLAGS, _SET_FLAGS, _TOP_OF_HIERARCHIES = 0x80086601, 0x40086602, 0x00020000
_FLAGS = struct.Struct("=i4x")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class _DiskErrors:
    """A `with` of its own class: a generator takes longer than most of what is done in it."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            if error.errno in _FULL:
                raise StorageFull("The disk has no room left; nothing was kept.") from error
            raise StorageFailed(f"The disk refused ({error.strerror}); nothing was kept.") from error


def disk_errors() -> _DiskErrors:
    """Turn an OSError into StorageFull or StorageFailed."""
    return _DISK_ERRORS


_DISK_ERRORS = _DiskErrors()


class Disk:
    """One file system that must hold what it was given, or say so.

    After an fsync that failed, the kernel may have dropped the pages and report the next fsync as a
    success. So this disk takes nothing more until the process starts anew, and nothing is tried again.
    """

    def __init__(self, root: Path, minimum_free: float, fsync: Callable[[int], None] = os.fsync) -> None:
        self._root = root
        self._minimum_free = minimum_free
        self._fsync = fsync
        self._failure = ""

    def check_room(self) -> None:
        """Raise StorageFailed after a failed fsync, StorageFull below the minimum of free space."""
        if self._failure:
            raise StorageFailed(self._failure)
        with disk_errors():
            found = os.statvfs(self._root)
        if found.f_bavail < found.f_blocks * self._minimum_free:
            raise StorageFull(
                f"Less than {self._minimum_free:.0%} of the disk is free; nothing more can be kept."
            )

    def sync(self, descriptor: int) -> None:
        """Wait until an open file or folder is on the disk; a failure is for good."""
        if self._failure:
            raise StorageFailed(self._failure)
        try:
            with disk_errors():
                self._fsync(descriptor)
        except StorageFailed as error:
            self._failure = f"{error} The storage only reads until the server is started again."
            raise StorageFailed(self._failure) from error

    def sync_folder(self, folder: Path) -> None:
        """Wait until the names in a folder are on the disk."""
        with disk_errors():
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.sync(descriptor)
        finally:
            os.close(descriptor)


def spread(folder: Path) -> None:
    """Have ext4 put each folder that is made in this one where there is room, with the files made in it.

    It looks for a free inode near the folder, and passes over each one there that anybody deleted in the last
    minutes: a millisecond where thousands were. Other file systems do as they like.
    """
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            (flags,) = _FLAGS.unpack(fcntl.ioctl(descriptor, _GET_FLAGS, bytes(_FLAGS.size)))
            if not flags & _TOP_OF_HIERARCHIES:
                fcntl.ioctl(descriptor, _SET_FLAGS, _FLAGS.pack(flags | _TOP_OF_HIERARCHIES))
        finally:
            os.close(descriptor)
