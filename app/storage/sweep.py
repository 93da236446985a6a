"""Clearing up after writers that died (see local.py for what they leave)."""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def sweep(
    staged_root: Path, guard: Path, path_of: Callable[[str], Path], is_catalogued: Callable[[str], bool]
) -> int:
    """Delete the staging folders that nobody locks, and the kept files in them that no row names.

    Returns how many kept files were deleted. Folders of living writers are left alone, and so are files
    while anybody is keeping some: a later sweep sees them.
    """
    deleted = 0
    for folder in sorted(path for path in staged_root.iterdir() if path.is_dir()):
        with _lock(folder, os.O_RDONLY | os.O_DIRECTORY) as is_dead:
            if is_dead:
                deleted += _sweep_folder(folder, guard, path_of, is_catalogued)
    return deleted


def _sweep_folder(
    folder: Path, guard: Path, path_of: Callable[[str], Path], is_catalogued: Callable[[str], bool]
) -> int:
    deleted = 0
    for staged in folder.iterdir():
        if staged.stat().st_nlink > 1:
            with staged.open("rb") as opened:
                key = hashlib.file_digest(opened, "sha256").hexdigest()
            with _lock(guard, os.O_RDWR | os.O_CREAT) as is_alone:
                if not is_alone:
                    return deleted
                if not is_catalogued(key):
                    path_of(key).unlink(missing_ok=True)
                    deleted += 1
        staged.unlink()
    with suppress(OSError):
        folder.rmdir()
    return deleted


@contextmanager
def _lock(path: Path, flags: int) -> Iterator[bool]:
    """Hold the lock on a file or folder; yield False at once when another has it, or it is gone."""
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o640)
    except FileNotFoundError:
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield path.exists()
    finally:
        os.close(descriptor)
