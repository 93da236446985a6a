"""Managed files in a local folder, safe against a crash at any moment without a journal.

    {root}/ab/abcd…            a file under its SHA-256; never text that a client sent
    {root}/tmp/{random}/{n}    the staged files of one request, and blank ones for the next, whose names are
                               on the disk; the request holds a lock on the folder
    {root}/tmp/{random}/abcd…  one that is kept: on the disk, its row about to be committed, or just committed

keep() makes staged files and their names durable where they are. Once the rows are committed, leaving the
staging gives each its place by a rename that nobody waits for. So a staging folder that nobody locks belongs
to a dead writer, and what is in it has a row or has none: sweep() gives it its place or deletes it, however
many files are held elsewhere. A reader that comes between commit and rename finds the file by its key.

retiring() gives files that are to go a second name in such a folder before their rows go; they are judged
alike.

{root}/tmp/guard keeps deleting and placing apart: whoever places holds it shared from before the commit,
whoever deletes what has a place holds it alone. So bytes that come back while they are deleted are not lost.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from app.errors import InstanceUnavailable, StorageFailed, StorageFull
from app.storage import sweep
from app.storage.disk import Disk, disk_errors, spread
from app.storage.opened import OpenedFile
from app.storage.staging import Folder, LocalStaging, idle_folder, locked_folder

MINIMUM_FREE = 0.02  # of the file system; below it nothing more is taken in

_HEX = frozenset("0123456789abcdef")
_OPENING = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


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
        self._idle: deque[Folder] = deque()
        self._idle_folders = idle_folders
        self._has_folders = False

    def require_room(self) -> None:
        """Raise StorageFull or StorageFailed when nothing more can be taken in; takes microseconds."""
        self._disk.check_room()

    def staging(self) -> LocalStaging:
        """Begin to take files in; raise StorageFull or StorageFailed."""
        self.require_room()
        return LocalStaging(
            idle_folder(self._idle) or self._new_folder(), self._disk, self._place_of, self._leave
        )

    def _new_folder(self) -> Folder:
        """Make a staging folder whose own name is on the disk."""
        with disk_errors():
            self._make_folders()
            folder = locked_folder(self._staged_root, self._guard)
        try:
            self._disk.sync_folder(self._staged_root)
        except BaseException:
            folder.close()
            raise
        return folder

    def _make_folders(self) -> None:
        """Make all folders for keys, once a process, and have the name of the staged ones on the disk."""
        if not self._has_folders:
            for number in range(256):
                with suppress(FileExistsError):
                    (self.root / f"{number:02x}").mkdir()
            spread(self._staged_root)
            self._disk.sync_folder(self.root)
            self._has_folders = True

    def _leave(self, folder: Folder) -> None:
        """Keep an empty folder for the next request: making one waits for the file system's journal."""
        if len(self._idle) < self._idle_folders:
            with suppress(StorageFull, StorageFailed):  # whoever needs one tries again, and is told
                folder.make_blanks(self._disk)
            self._idle.append(folder)
        else:
            folder.close()

    def path_of(self, key: str) -> Path:
        """Return where the file of a key is or would be; raise InstanceUnavailable if it is no key."""
        return Path(self._place_of(key))

    def _place_of(self, key: str) -> str:
        if len(key) != 64 or not _HEX.issuperset(key):
            raise InstanceUnavailable(
                "The catalogue names a managed file by something that is not a SHA-256."
            )
        return f"{self.root}/{key[:2]}/{key}"

    def open(self, key: str) -> OpenedFile:
        """Open a file that a row names; raise InstanceUnavailable."""
        path = self.path_of(key)
        try:
            try:
                descriptor = os.open(path, _OPENING)
            except FileNotFoundError:
                self._place(key)
                descriptor = os.open(path, _OPENING)
        except OSError as error:
            raise InstanceUnavailable(f"A managed file cannot be opened: {error.strerror}.") from error
        return OpenedFile(descriptor, os.fstat(descriptor).st_size)

    def _place(self, key: str) -> None:
        """Give a file its place whose row is committed and whose writer has not come to do it, or died.

        By a link: so it has two names until its writer or the sweep, which looks for such, takes the first.
        """
        for folder in self._staged_root.iterdir():
            with suppress(OSError):
                os.link(folder / key, self.path_of(key))

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

        A full disk is no obstacle. A marked file has a second name in a locked folder: once the lock is gone,
        sweep() asks the catalogue about it.
        """
        folder = self._new_folder()

        def retire(keys: Iterable[str]) -> None:
            with disk_errors():
                for key in keys:
                    self._retire(key, folder)
            self._disk.sync(folder.lock)

        try:
            yield retire
        finally:
            folder.close()

    def _retire(self, key: str, folder: Folder) -> None:
        for _ in range(2):
            with suppress(FileNotFoundError):  # it is not in its place yet, or lost already
                os.link(self.path_of(key), folder.path / key)
                return
            self._place(key)

    def sweep(self, is_catalogued: Callable[[str], bool], *, is_patient: bool = False) -> int:
        """Clear what dead writers left; return how many files that no row names were deleted."""
        with disk_errors():
            return sweep.sweep(
                self._staged_root, self._guard, self.path_of, is_catalogued, is_patient=is_patient
            )

    def close(self) -> None:
        """Delete the empty folders that were kept for the next to come."""
        while folder := idle_folder(self._idle):
            folder.close()

    def probe(self) -> None:
        """Raise StorageFull or StorageFailed when the next file could not be taken in."""
        with self.staging() as staging:
            staging.new().write(b"probe")


def _names(folder: Path, length: int) -> list[str]:
    names = (path.name for path in folder.iterdir())
    return sorted(name for name in names if len(name) == length and _HEX.issuperset(name))
