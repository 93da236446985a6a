"""A folder for the files of one run, which the next run removes if this one is killed."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from app.errors import StorageFailed


@contextmanager
def working_folder(parent: Path) -> Iterator[Path]:
    """Make a folder below `parent`, and remove it in the end; what dead runs left there goes first."""
    try:
        folder, lock = _make(parent)
    except OSError as error:
        raise StorageFailed(f"There is no room to work in {parent}: {error.strerror}.") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _make(parent: Path) -> tuple[Path, int]:
    """Return a new folder and the lock that says somebody works in it."""
    parent.mkdir(parents=True, exist_ok=True)
    turn = os.open(parent, os.O_RDONLY)
    try:
        fcntl.flock(turn, fcntl.LOCK_EX)  # nobody finds a folder between its making and its locking
        for left_over in parent.iterdir():
            _remove_unless_locked(left_over)
        folder = Path(tempfile.mkdtemp(dir=parent))
        lock = os.open(folder, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
    finally:
        os.close(turn)
    return folder, lock


def _remove_unless_locked(folder: Path) -> None:
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(descriptor)
