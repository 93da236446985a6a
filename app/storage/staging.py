"""Files on their way in: staged, made durable, given their place after the commit (see local.py)."""

import fcntl
import os
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from types import TracebackType
from typing import Self

from app.errors import StorageFailed, StorageFull
from app.storage.disk import Disk, disk_errors
from app.storage.interface import StagedFile

_LOOK_AGAIN_BYTES = 2**24  # how much one file may grow before it is asked again whether there is room


_CREATING = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_WRITING = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_BLANKS = 16  # made at once: their names cost one wait for the disk


@dataclass(frozen=True, slots=True)
class Folder:
    """A staging folder that this process holds locked, and its way to the guard.

    `blanks` are empty files in it whose names are on the disk: what is written to one needs no second wait.
    """

    path: Path
    lock: int
    guard: int
    blanks: deque[str] = field(default_factory=deque)
    numbers: Iterator[int] = field(default_factory=count)

    def take_blank(self, disk: Disk) -> str:
        """Return the name of an empty file that nobody has; raise StorageFull or StorageFailed."""
        self.make_blanks(disk)
        return self.blanks.popleft()

    def make_blanks(self, disk: Disk) -> None:
        """Have an empty file at hand, unless there is one; raise StorageFull or StorageFailed."""
        if not self.blanks:
            names = [str(number) for number in islice(self.numbers, _BLANKS)]
            with disk_errors():
                for name in names:
                    os.close(os.open(name, _CREATING, 0o640, dir_fd=self.lock))
            disk.sync(self.lock)
            self.blanks.extend(names)

    def close(self) -> None:
        """Delete the folder if nothing is staged in it, and give its lock up: the rest is the sweep's."""
        with suppress(OSError):
            for name in self.blanks:
                os.unlink(name, dir_fd=self.lock)
            self.path.rmdir()
        os.close(self.guard)
        os.close(self.lock)


class LocalStagedFile:
    """One file in a locked staging folder."""

    def __init__(self, folder: Folder, name: str, disk: Disk) -> None:
        self.name, self.place = name, ""
        self.size = 0
        self.failure: StorageFull | StorageFailed | None = None
        self._folder, self._disk = folder, disk
        self._room_bytes = _LOOK_AGAIN_BYTES
        self._is_finished = False
        disk.check_room()
        with disk_errors():
            self.descriptor = os.open(name, _WRITING, dir_fd=folder.lock)

    @property
    def path(self) -> Path:
        """Where another process may read what was written so far."""
        return self._folder.path / self.name

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append `data`; raise StorageFull or StorageFailed."""
        if self.size > self._room_bytes:
            self._disk.check_room()
            self._room_bytes = self.size + _LOOK_AGAIN_BYTES
        with disk_errors():
            written = os.write(self.descriptor, data)
            if written < len(data):
                rest = memoryview(data)
                while written < len(rest):
                    written += os.write(self.descriptor, rest[written:])
        self.size += written

    def finish(self) -> None:
        """End the writing."""
        self._is_finished = True

    def sync(self) -> None:
        """Wait until a finished file is on the disk, where its name is, and close; keep() tells how it went.

        By the descriptor that it was written with: one opened later might not be told that writing failed.
        """
        if self.descriptor < 0:
            return
        if not self._is_finished:
            raise ValueError("a staged file is kept after it was finished")
        try:
            self._disk.sync(self.descriptor)
        except (StorageFull, StorageFailed) as error:
            self.failure = error
        self.close()

    def close(self) -> None:
        """Give the descriptor back; a second call does nothing."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class LocalStaging:
    """A folder of staged files with a lock on it."""

    def __init__(
        self,
        folder: Folder,
        disk: Disk,
        place_of: Callable[[str], str],
        leave: Callable[[Folder], None],
    ) -> None:
        """Stage in an empty folder; `leave` takes it when it is empty again."""
        self._folder, self._disk, self._place_of, self._leave = folder, disk, place_of, leave
        self._has_left = False
        self._files: dict[str, LocalStagedFile] = {}  # by name
        self._kept: dict[str, LocalStagedFile] = {}
        self._released: dict[str, LocalStagedFile] = {}

    @property
    def has_unreleased(self) -> bool:
        """Whether files were kept and not released: a sweep is due."""
        return bool(self._kept)

    def new(self) -> LocalStagedFile:
        """Begin one file; raise StorageFull or StorageFailed."""
        name = self._folder.take_blank(self._disk)
        staged = self._files[name] = LocalStagedFile(self._folder, name, self._disk)
        return staged

    def drop(self, staged: StagedFile) -> None:
        """Delete one staged file that will not be kept."""
        dropped = self._files.pop(staged.name)
        dropped.close()
        with disk_errors():
            os.unlink(dropped.name, dir_fd=self._folder.lock)

    def keep(self, files: Mapping[str, StagedFile]) -> None:
        """Make `files` (SHA-256 -> staged file) durable, and have them bear their keys."""
        for staged in files.values():
            finished = self._files[staged.name]
            finished.sync()
            if finished.failure is not None:
                raise finished.failure
        with disk_errors():
            fcntl.flock(self._folder.guard, fcntl.LOCK_SH)
            for key, staged in files.items():
                place = self._place_of(key)
                kept = self._kept[key] = self._files.pop(staged.name)
                os.rename(kept.name, key, src_dir_fd=self._folder.lock, dst_dir_fd=self._folder.lock)
                kept.name, kept.place = key, place

    def release(self, catalogued: Iterable[str]) -> None:
        """Note which of the kept files committed rows name; the others are none of ours to keep."""
        self._released = {key: self._kept.pop(key) for key in catalogued}
        self._files |= self._kept
        self._kept.clear()

    def _place(self) -> None:
        """Give the released files their place; what cannot have it now is swept."""
        self._kept |= self._released
        with suppress(OSError):
            for key, released in self._released.items():
                os.rename(key, released.place, src_dir_fd=self._folder.lock)
                with suppress(FileNotFoundError):
                    # A reader was faster, and to rename one name of a file to its other does nothing.
                    os.unlink(key, dir_fd=self._folder.lock)
                del self._kept[key]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Place what was released, delete what was never kept; what else was kept is the sweep's."""
        if self._has_left:
            return
        self._has_left = True
        self._place()
        is_empty = not self._kept
        for staged in self._files.values():
            staged.close()
            try:
                os.unlink(staged.name, dir_fd=self._folder.lock)
            except OSError:
                is_empty = False
        fcntl.flock(self._folder.guard, fcntl.LOCK_UN)
        if is_empty:
            self._leave(self._folder)
        else:
            self._folder.close()


def idle_folder(idle: deque[Folder]) -> Folder | None:
    """Take one of the folders that are locked and empty, if there is one."""
    with suppress(IndexError):
        return idle.pop()
    return None


def locked_folder(staged_root: Path, guard: Path) -> Folder:
    """Make a folder and lock it; again if a sweep takes it, not yet locked, for a dead writer's."""
    while True:
        path = staged_root / secrets.token_hex(16)
        path.mkdir(mode=0o750)
        with suppress(FileNotFoundError):
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if path.exists():
                return Folder(path, lock, os.open(guard, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640))
            os.close(lock)
