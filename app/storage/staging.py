"""Files on their way in: staged, made durable under their keys, released after the commit (see local.py)."""

import fcntl
import os
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, wait
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from app.errors import StorageFailed, StorageFull
from app.storage.disk import Disk, disk_errors
from app.storage.interface import StagedFile

_OPEN_FILES = 128  # a request may bring 10 000 parts; a process often may have no more than 1024 files open


class LocalStagedFile:
    """One file in a locked staging folder."""

    def __init__(self, path: Path, disk: Disk, finished: deque["LocalStagedFile"]) -> None:
        self.path = path
        self.size = 0
        self._disk = disk
        self._finished = finished
        self._syncing: Future[None] | None = None
        disk.check_room()
        with disk_errors():
            self.descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append `data`; raise StorageFull or StorageFailed."""
        self._disk.check_room()
        rest = memoryview(data)
        with disk_errors():
            while rest:
                written = os.write(self.descriptor, rest)
                self.size += written
                rest = rest[written:]

    def finish(self) -> None:
        """End the writing, and begin to wait for the disk while the content is read.

        The descriptor stays open until then, but not too many of one staging: one opened later might not be
        told that writing failed.
        """
        self._syncing = self._disk.begin_sync(self.descriptor)
        self._finished.append(self)
        if len(self._finished) > _OPEN_FILES:
            self._finished.popleft().sync()

    def sync(self) -> None:
        """Wait until the content of a finished file is on the disk, and close."""
        if self.descriptor < 0:
            return
        if self._syncing is None:
            raise ValueError("a staged file is kept after it was finished")
        self._disk.end_sync(self._syncing)
        self._syncing = None
        self.close()

    def close(self) -> None:
        """Give the descriptor back; a second call does nothing."""
        syncing, self._syncing = self._syncing, None
        if syncing is not None and not syncing.cancel():
            wait([syncing])  # nobody else's file may get the number before
            with suppress(StorageFull, StorageFailed):
                self._disk.end_sync(syncing)
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class LocalStaging:
    """A folder of staged files with a lock on it."""

    def __init__(
        self,
        folder: Path,
        lock: int,
        guard: Path,
        disk: Disk,
        path_of: Callable[[str], Path],
        make_folders: Callable[[], None],
        leave: Callable[[Path, int], None],
    ) -> None:
        """Stage in an empty folder with a lock on it; `leave` takes both when all is done."""
        self._guard_path = guard
        self._disk = disk
        self._path_of, self._make_folders = path_of, make_folders
        self._files: dict[Path, LocalStagedFile] = {}
        self._kept: dict[str, LocalStagedFile] = {}
        self._finished: deque[LocalStagedFile] = deque()
        self._numbers = count(1)
        self._guard = -1
        self._folder, self._lock, self._leave = folder, lock, leave

    @property
    def has_unreleased(self) -> bool:
        """Whether files were kept and not released: a sweep is due."""
        return bool(self._kept)

    def new(self) -> LocalStagedFile:
        """Begin one file; raise StorageFull or StorageFailed."""
        staged = LocalStagedFile(self._folder / str(next(self._numbers)), self._disk, self._finished)
        self._files[staged.path] = staged
        return staged

    def drop(self, staged: StagedFile) -> None:
        """Delete one staged file that will not be kept."""
        dropped = self._files.pop(staged.path)
        with suppress(ValueError):  # it may have left the queue, or never been finished
            self._finished.remove(dropped)
        dropped.close()
        with disk_errors():
            dropped.path.unlink()

    def keep(self, files: Mapping[str, StagedFile]) -> None:
        """Make `files` (SHA-256 -> staged file) durable under their keys, in one group of fsyncs."""
        for staged in files.values():
            self._files[staged.path].sync()
        with disk_errors():
            self._guard = os.open(self._guard_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
            fcntl.flock(self._guard, fcntl.LOCK_SH)
            self._make_folders()
            for key, staged in files.items():
                path = self._path_of(key)
                self._kept[key] = self._files.pop(staged.path)
                # The same bytes may be here already: the guard protects them until our commit.
                with suppress(FileExistsError):
                    os.link(staged.path, path)
        self._disk.sync_folders({self._path_of(key).parent for key in files})

    def release(self, catalogued: Iterable[str]) -> None:
        """Forget the kept files that committed rows name; what cannot be deleted now is swept later."""
        with suppress(OSError):
            for key in catalogued:
                self._kept.pop(key).path.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Delete what was never kept; what was kept and not released is left for the sweep to judge."""
        for staged in (*self._files.values(), *self._kept.values()):
            staged.close()
            with suppress(OSError):
                if staged.path.stat().st_nlink == 1:
                    staged.path.unlink()
        if self._guard >= 0:
            os.close(self._guard)
        if self._lock >= 0:
            self._leave(self._folder, self._lock)
        self._guard, self._lock = -1, -1


def idle_folder(idle: deque[tuple[Path, int]]) -> tuple[Path, int] | None:
    """Take one of the folders that are locked and empty, if there is one."""
    with suppress(IndexError):
        while True:
            folder, lock = idle.pop()
            if folder.exists():
                return folder, lock
            os.close(lock)
    return None


def leave_folder(folder: Path, lock: int) -> None:
    """Delete a folder that is empty, and give its lock up."""
    with suppress(OSError):  # not empty: kept, not released
        folder.rmdir()
    os.close(lock)


def locked_folder(staged_root: Path) -> tuple[Path, int]:
    """Make a folder and lock it; again if a sweep takes it, not yet locked, for a dead writer's."""
    while True:
        folder = staged_root / secrets.token_hex(16)
        folder.mkdir(mode=0o750)
        with suppress(FileNotFoundError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.exists():
                return folder, lock
            os.close(lock)
