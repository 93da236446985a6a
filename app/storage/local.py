"""Managed files in a local folder, safe against a crash at any moment without a journal.

    {root}/ab/abcd…          a file under its SHA-256; never text that a client sent
    {root}/tmp/{random}/{n}  the staged files of one request; the request holds a lock on the folder

keep() gives a staged file a second name, its key, once its bytes are on the disk. release() takes the
first name away, after the catalogue has been committed. So a staging folder that nobody locks belongs to
a dead writer, and a file in it with two names may lack its row: sweep() looks at those alone, however
many files are held. retiring() gives files that are to go such a second name before their rows go.

{root}/tmp/guard keeps deleting and keeping apart: whoever keeps holds it shared until the commit, whoever
deletes holds it alone. So bytes that two requests bring at once are never deleted by the one that failed.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from app.errors import InstanceUnavailable
from app.storage import sweep
from app.storage.disk import Disk, disk_errors
from app.storage.opened import OpenedFile
from app.storage.staging import LocalStaging, idle_folder, leave_folder, locked_folder

MINIMUM_FREE = 0.02  # of the file system; below it nothing more is taken in

_HEX = frozenset("0123456789abcdef")


class LocalStorage:
    """A folder of managed files; several processes and threads may share it."""

    def __init__(
        self,
        root: Path,
        *,
        minimum_free: float = MINIMUM_FREE,
        fsync: Callable[[int], None] = os.fsync,
        idle_folders: int = 0,
    ) -> None:
        """`idle_folders`: how many staging folders may be kept, empty, for the next to come."""
        self.root = Path(root).absolute()
        self._staged_root = self.root / "tmp"
        self._guard = self._staged_root / "guard"
        with disk_errors():
            self._staged_root.mkdir(parents=True, exist_ok=True)
        self._disk = Disk(self.root, minimum_free, fsync)
        self._idle: deque[tuple[Path, int]] = deque()
        self._idle_folders = idle_folders
        self._has_folders = False

    def require_room(self) -> None:
        """Raise StorageFull or StorageFailed when nothing more can be taken in; takes microseconds."""
        self._disk.check_room()

    def staging(self) -> LocalStaging:
        """Begin to take files in; raise StorageFull or StorageFailed."""
        self.require_room()
        with disk_errors():
            folder, lock = idle_folder(self._idle) or locked_folder(self._staged_root)
        return LocalStaging(
            folder, lock, self._guard, self._disk, self.path_of, self._make_folders, self._leave
        )

    def _make_folders(self) -> None:
        """Make all folders for keys, once a process, so that one fsync of the root is enough for all."""
        if not self._has_folders:
            for number in range(256):
                with suppress(FileExistsError):
                    (self.root / f"{number:02x}").mkdir()
            self._has_folders = True

    def _leave(self, folder: Path, lock: int) -> None:
        """Keep an empty folder for the next request: making one waits for the file system's journal."""
        if len(self._idle) < self._idle_folders and next(folder.iterdir(), None) is None:
            self._idle.append((folder, lock))
        else:
            leave_folder(folder, lock)

    def path_of(self, key: str) -> Path:
        """Return where the file of a key is or would be; raise InstanceUnavailable if it is no key."""
        if len(key) != 64 or not _HEX.issuperset(key):
            raise InstanceUnavailable(
                "The catalogue names a managed file by something that is not a SHA-256."
            )
        return self.root / key[:2] / key

    def open(self, key: str) -> OpenedFile:
        """Open a file that is held; raise InstanceUnavailable."""
        try:
            descriptor = os.open(self.path_of(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise InstanceUnavailable(f"A managed file cannot be opened: {error.strerror}.") from error
        return OpenedFile(descriptor, os.fstat(descriptor).st_size)

    def keys(self) -> Iterator[str]:
        """Yield the key of every file held, in order."""
        for first in _names(self.root, 2):
            yield from _names(self.root / first, 64)

    def is_settled(self, key: str) -> bool:
        """Whether a file is held and no staging, alive or dead, still has it."""
        try:
            return self.path_of(key).stat().st_nlink == 1
        except FileNotFoundError:
            return False

    @contextmanager
    def retiring(self) -> Iterator[Callable[[Iterable[str]], None]]:
        """Yield a function that marks held files, by key, for deletion; raises StorageFailed.

        A full disk is no obstacle. A marked file has a second name in a locked folder, as one that is being
        kept has: once the lock is gone, sweep() asks the catalogue about it.
        """
        with disk_errors():
            folder, lock = locked_folder(self._staged_root)

        def retire(keys: Iterable[str]) -> None:
            with disk_errors():
                for key in keys:
                    with suppress(FileNotFoundError):  # the file is lost already
                        os.link(self.path_of(key), folder / f"{sweep.RETIRED}{key}")
            self._disk.sync_folders({folder, self._staged_root})

        try:
            yield retire
        finally:
            os.close(lock)

    def sweep(self, is_catalogued: Callable[[str], bool], *, is_patient: bool = False) -> int:
        """Clear what dead writers left; return how many files that no row names were deleted."""
        with disk_errors():
            return sweep.sweep(
                self._staged_root, self._guard, self.path_of, is_catalogued, is_patient=is_patient
            )

    def close(self) -> None:
        """Delete the empty folders that were kept for the next to come."""
        while self._idle:
            leave_folder(*self._idle.pop())

    def probe(self) -> None:
        """Raise StorageFull or StorageFailed when the next file could not be taken in."""
        with self.staging() as staging:
            staging.new().write(b"probe")


def _names(folder: Path, length: int) -> list[str]:
    names = (path.name for path in folder.iterdir())
    return sorted(name for name in names if len(name) == length and _HEX.issuperset(name))
