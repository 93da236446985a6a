"""Files indexed where they lie: opened only when they are still what the catalogue says.

Their folders belong to somebody else. A link may have been put in a folder's place since, so the opened
file must be the very path that was indexed, with the size and time of change that were seen when it was read.
"""

import os
import stat
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from app.errors import InstanceUnavailable
from app.storage.opened import OpenedFile

_QUOTED = "//"  # no file name holds a slash, and no absolute path of ours begins with two


def stored_name(name: str) -> str:
    """Return the text that stands for a file name or path in the catalogue, also when it is not UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return _QUOTED + quote_from_bytes(os.fsencode(name))
    return name


def real_name(stored: str) -> str:
    """Return the name that the operating system knows; the inverse of stored_name()."""
    if stored.startswith(_QUOTED):
        return os.fsdecode(unquote_to_bytes(stored.removeprefix(_QUOTED)))
    return stored


def open_in_place(folder: str, name: str, size: int, mtime_ns: int) -> OpenedFile:
    """Open `name` in `folder` (both as stored); raise InstanceUnavailable if it is gone, moved or changed."""
    path = f"{real_name(folder)}/{real_name(name)}"
    try:
        # O_NONBLOCK: a pipe put in the file's place must not make us wait for its writer
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise InstanceUnavailable(f"An indexed file cannot be opened: {error.strerror}.") from error
    opened = OpenedFile(descriptor, size)
    try:
        _check_unchanged(descriptor, path, size, mtime_ns)
    except BaseException:
        opened.close()
        raise
    return opened


def _check_unchanged(descriptor: int, path: str, size: int, mtime_ns: int) -> None:
    found = os.fstat(descriptor)
    real_path = Path(f"/proc/self/fd/{descriptor}").readlink()
    if not stat.S_ISREG(found.st_mode) or str(real_path) != os.path.normpath(path):
        raise InstanceUnavailable("An indexed file was replaced by something else; index its folder again.")
    if (found.st_size, found.st_mtime_ns) != (size, mtime_ns):
        raise InstanceUnavailable("An indexed file was changed since it was read; index its folder again.")
