"""The disk's own words, turned into ours; what a failed fsync means for everything after it."""

import errno
import os
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from app.errors import StorageFailed, StorageFull

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_SYNC_THREADS = 8  # fsyncs that wait together share the file system's commits: half the time of one by one


@contextmanager
def disk_errors() -> Iterator[None]:
    """Turn an OSError into StorageFull or StorageFailed."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull("The disk has no room left; nothing was kept.") from error
        raise StorageFailed(f"The disk refused ({error.strerror}); nothing was kept.") from error


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
        self._synced_folders: set[Path] = set()

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
        self._wait(lambda: self._fsync(descriptor))

    def begin_sync(self, descriptor: int) -> Future[None]:
        """Begin to wait in a thread until an open file is on the disk: end_sync() tells how it went."""
        return self._threads.submit(self._fsync, descriptor)

    def end_sync(self, begun: Future[None]) -> None:
        """Wait for what was begun; a failure is for good from here on."""
        if self._failure:
            raise StorageFailed(self._failure)
        self._wait(begun.result)

    def _wait(self, waiting: Callable[[], None]) -> None:
        try:
            with disk_errors():
                waiting()
        except StorageFailed as error:
            self._failure = f"{error} The storage only reads until the server is started again."
            raise StorageFailed(self._failure) from error

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(_SYNC_THREADS, "sync")

    def sync_folders(self, folders: AbstractSet[Path]) -> None:
        """Wait until the names in these folders are on the disk, and the folders' own, up to the root."""
        unknown = [folder for folder in folders if folder.parent not in self._synced_folders]
        above = {parent for folder in unknown for parent in self._parents(folder)} - self._synced_folders
        descriptors: list[int] = []
        try:
            with disk_errors():
                descriptors.extend(
                    os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                    for folder in (*folders, *above)
                )
            if len(descriptors) == 1:
                self.sync(descriptors[0])
            else:
                list(self._threads.map(self.sync, descriptors))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        # Folders are never deleted, and all made before: a name that is on the disk stays there.
        self._synced_folders |= above

    def _parents(self, folder: Path) -> list[Path]:
        return [parent for parent in folder.parents if parent == self._root or self._root in parent.parents]
