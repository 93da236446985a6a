"""Clearing up after writers that died (see local.py for what they leave)."""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from app.errors import InstanceUnavailable

RETIRED = "retired-"  # begins the name of a file that staging did not bring; its key follows


def sweep(
    staged_root: Path,
    guard: Path,
    path_of: Callable[[str], Path],
    is_catalogued: Callable[[str], bool],
    *,
    is_patient: bool = False,
) -> int:
    """Delete the staging folders that nobody locks, and the kept files in them that no row names.

    Returns how many kept files were deleted. Folders of living writers are left alone, and so are files
    while anybody is keeping some: `is_patient` waits for those, otherwise a later sweep sees them.
    """
    deleted = 0
    for folder in sorted(path for path in staged_root.iterdir() if path.is_dir()):
        with _lock(folder, os.O_RDONLY | os.O_DIRECTORY) as is_dead:
            if is_dead:
                deleted += _sweep_folder(folder, guard, path_of, is_catalogued, is_patient=is_patient)
    return deleted


def _sweep_folder(
    folder: Path,
    guard: Path,
    path_of: Callable[[str], Path],
    is_catalogued: Callable[[str], bool],
    *,
    is_patient: bool,
) -> int:
    deleted = 0
    for staged in folder.iterdir():
        if staged.stat().st_nlink > 1:
            key = _key(staged, path_of)
            with _lock(guard, os.O_RDWR | os.O_CREAT, is_patient=is_patient) as is_alone:
                if not is_alone:
                    return deleted
                if not is_catalogued(key):
                    path_of(key).unlink(missing_ok=True)
                    deleted += 1
        staged.unlink()
    with suppress(OSError):
        folder.rmdir()
    return deleted


def _key(staged: Path, path_of: Callable[[str], Path]) -> str:
    if staged.name.startswith(RETIRED):
        key = staged.name.removeprefix(RETIRED)
        with suppress(FileNotFoundError, InstanceUnavailable):
            if path_of(key).samefile(staged):
                return key
    with staged.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@contextmanager
def _lock(path: Path, flags: int, *, is_patient: bool = False) -> Iterator[bool]:
    """Hold the lock on a file or folder; yield False when another has it, unless patient, or it is gone."""
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o640)
    except FileNotFoundError:
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if is_patient else fcntl.LOCK_NB))
    except BlockingIOError:
        yield False
    else:
        yield path.exists()
    finally:
        os.close(descriptor)
