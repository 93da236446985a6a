"""What upstreams answered, kept on the disk: whole or not at all, shared by all processes, bounded.

One file an answer: a block with its head, then the body. While it is written it is called `.part`, and its
writer holds a lock on it; it is renamed when it is complete and on the disk. A writer that dies loses the
lock, and the next takes the file over. The longest unused go first.

Of a kept file the access time says when it was last used, the modification time when it was last current.
"""

import contextlib
import fcntl
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from time import time

import orjson

from app.storage.opened import OpenedFile

HEAD_BYTES = 8192
_EDITION = "1"  # another when what is kept comes out differently
_SWEPT_TO = 0.9  # of what may be kept
_SWEEPS = 16  # per filling
_SIZED_EVERY_S = 60.0
_USED_EVERY_S = 60.0
_LEFT_OVER_S = 3600.0


@dataclass
class Kept:
    """A kept answer, open; to be closed. `current_s` is when the upstream last said that it is so."""

    file: OpenedFile
    headers: dict[str, str]
    length: int
    tag: str
    upstream_tag: str
    current_s: float
    is_stale: bool = False

    def close(self) -> None:
        """Close the file."""
        self.file.close()


class Claim:
    """The right to write one file: a lock that others wait for. Ends with keep() or drop()."""

    def __init__(self, descriptor: int, part: Path, path: Path) -> None:
        self.descriptor, self._part, self._path = descriptor, part, path

    def keep(self, head: dict[str, object], now_s: float) -> None:
        """Make it the kept answer; raises OSError."""
        block = orjson.dumps(head)
        if len(block) >= HEAD_BYTES:
            raise OSError("the head of the answer is too large")
        os.pwrite(self.descriptor, block.ljust(HEAD_BYTES - 1) + b"\n", 0)
        os.utime(self.descriptor, (now_s, now_s))
        os.fsync(self.descriptor)
        self._part.rename(self._path)

    def drop(self) -> None:
        """Delete what was written."""
        with contextlib.suppress(OSError):
            self._part.unlink()

    def close(self) -> None:
        """Give up the lock with the descriptor; a second call does nothing."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class Cache:
    """The kept answers of all upstreams; with `most_bytes` 0 nothing is kept."""

    def __init__(self, folder: Path, most_bytes: int, clock: Callable[[], float] = time) -> None:
        self._folder, self.most_bytes, self.clock = folder / _EDITION, most_bytes, clock
        self._written_bytes = 0
        self._size_bytes, self._sized_s = 0, -_SIZED_EVERY_S
        self._lock = Lock()

    def open(self, key: str) -> Kept | None:
        """Open a kept answer, None if there is none, or only something that cannot be one."""
        path = self._path(key)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        status = os.fstat(descriptor)
        file = OpenedFile(descriptor, status.st_size)
        try:
            head = orjson.loads(os.pread(descriptor, HEAD_BYTES, 0))
            is_whole = status.st_size == HEAD_BYTES + head["length"]
        except (OSError, ValueError, KeyError, TypeError):
            is_whole = False
        if not is_whole:
            file.close()
            path.unlink(missing_ok=True)
            return None
        if self.clock() - status.st_atime > _USED_EVERY_S:
            self._stamp(path, status.st_mtime)
        return Kept(file, head["headers"], head["length"], head["tag"], head["upstream_tag"], status.st_mtime)

    def renew(self, key: str) -> None:
        """Note that the upstream says that a kept answer is still so."""
        self._stamp(self._path(key), self.clock())

    def forget(self, key: str) -> None:
        """Delete a kept answer."""
        self._path(key).unlink(missing_ok=True)

    def claim(self, key: str) -> Claim | None:
        """Take the right to write an answer; None while another has it. Raises OSError."""
        path = self._path(key)
        part = path.with_suffix(".part")
        part.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had it may have renamed or deleted it since we opened it.
            if part.stat().st_ino == os.fstat(descriptor).st_ino:
                os.ftruncate(descriptor, 0)
                return Claim(descriptor, part, path)
        except (BlockingIOError, FileNotFoundError):
            pass
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    def count(self, size: int) -> None:
        """Note that an answer of `size` bytes was kept, and sweep now and then."""
        with self._lock:
            self._written_bytes += size
            is_due = self._written_bytes > self.most_bytes / _SWEEPS
            if is_due:
                self._written_bytes = 0
        if is_due:
            self.sweep()

    def sweep(self) -> int:
        """Delete the longest unused until the rest is well within bounds; return how many were deleted."""
        files = []
        for found in self._folder.rglob("*"):
            with contextlib.suppress(OSError):
                if found.is_file():
                    status = found.stat()
                    files.append((status.st_atime, status.st_size, found))
        total = sum(size for _, size, _ in files)
        deleted = 0
        for _, size, found in sorted(files):
            if found.suffix == ".part":
                deleted += self._sweep_part(found)
            elif total > self.most_bytes * _SWEPT_TO:
                found.unlink(missing_ok=True)
                total -= size
                deleted += 1
        return deleted

    def size_bytes(self) -> int:
        """Return how much is kept; looked at no more than once a minute."""
        now_s = self.clock()
        if now_s - self._sized_s >= _SIZED_EVERY_S:
            sizes = []
            for found in self._folder.rglob("*"):
                with contextlib.suppress(OSError):
                    sizes.append(found.stat().st_size if found.is_file() else 0)
            self._size_bytes, self._sized_s = sum(sizes), now_s
        return self._size_bytes

    def _sweep_part(self, part: Path) -> bool:
        """Delete what a dead writer left; a living one has the lock."""
        try:
            if self.clock() - part.stat().st_mtime < _LEFT_OVER_S:
                return False
            descriptor = os.open(part, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink(missing_ok=True)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return True

    def _stamp(self, path: Path, current_s: float) -> None:
        with contextlib.suppress(OSError):
            os.utime(path, (self.clock(), current_s))

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / key
