"""Clearing up after writers that died (see local.py for what they leave)."""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from app.errors import InstanceUnavailable


def sweep(
    staged_root: Path,
    guard: Path,
    path_of: Callable[[str], Path],
    is_catalogued: Callable[[str], bool],
    *,
    is_patient: bool = False,
) -> int:
    """Empty the staging folders that nobody locks: what a row names gets its place, the rest is deleted.

    Returns how many files that were kept, or had a place, were deleted. Folders of living writers are left
    alone, and so are files that have a place while anybody is keeping some: `is_patient` waits for those,
    otherwise a later sweep sees them.
    """
    deleted = 0
    for folder in sorted(path for path in staged_root.iterdir() if path.is_dir()):
        with _lock(folder, os.O_RDONLY | os.O_DIRECTORY, fcntl.LOCK_EX | fcntl.LOCK_NB) as is_dead:
            if is_dead:
                deleted += sum(
                    _settle(staged, guard, path_of, is_catalogued, is_patient=is_patient)
                    for staged in list(folder.iterdir())
                )
                with suppress(OSError):
                    folder.rmdir()
    return deleted


def _settle(
    staged: Path,
    guard: Path,
    path_of: Callable[[str], Path],
    is_catalogued: Callable[[str], bool],
    *,
    is_patient: bool,
) -> bool:
    """Place or delete what a dead writer left; return whether it was one of those that count as deleted."""
    if staged.stat().st_size == 0:  # blank: nothing was written to it, and no instance is empty
        staged.unlink()
        return False
    key = _key(staged, path_of)
    with _lock(guard, os.O_RDWR | os.O_CREAT, fcntl.LOCK_SH):
        if is_catalogued(key):
            place = path_of(key)
            place.parent.mkdir(exist_ok=True)
            with suppress(FileExistsError):
                place.hardlink_to(staged)
            staged.unlink()
            return False
    was_kept = staged.name == key
    if staged.stat().st_nlink > 1:
        way = fcntl.LOCK_EX | (0 if is_patient else fcntl.LOCK_NB)
        with _lock(guard, os.O_RDWR | os.O_CREAT, way) as is_alone:
            if not is_alone:
                return False
            # Whoever brought the same bytes meanwhile has a file of their own.
            with suppress(FileNotFoundError):
                if not is_catalogued(key) and path_of(key).samefile(staged):
                    path_of(key).unlink()
    staged.unlink()
    return was_kept


def _key(staged: Path, path_of: Callable[[str], Path]) -> str:
    with suppress(InstanceUnavailable):
        path_of(staged.name)
        return staged.name
    # Its writer may have died, and the power failed, before it bore its key.
    with staged.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@contextmanager
def _lock(path: Path, flags: int, way: int) -> Iterator[bool]:
    """Hold the lock on a file or folder; yield False when another has it, if not to wait, or it is gone."""
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o640)
    except FileNotFoundError:
        yield False
        return
    try:
        fcntl.flock(descriptor, way)
    except BlockingIOError:
        yield False
    else:
        yield path.exists()
    finally:
        os.close(descriptor)
