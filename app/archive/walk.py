"""Walking a folder that belongs to somebody else: all in it is told of, nothing is followed out of it."""

import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A regular file, not opened."""

    name: str
    size: int
    mtime_ns: int


@dataclass(slots=True)
class Listing:
    """What lies in one folder, in order of name; `refused` and `passed_over` are paths with reasons."""

    folder: str
    files: list[FoundFile] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    passed_over: list[tuple[str, str]] = field(default_factory=list)
    is_readable: bool = True


def walk(root: str, own: Collection[str]) -> Iterator[Listing]:
    """Yield a listing for `root` and each folder in it; it and `own`, our own data, are real paths."""
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        listing = Listing(folder)
        below: list[str] = []
        try:
            with os.scandir(folder) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    _list(entry, root, own, listing, below)
        except OSError as error:
            listing.is_readable = False
            listing.refused.append((folder, f"the folder cannot be read: {error.strerror}"))
        yield listing
        waiting.extend(reversed(below))


def _list(
    entry: os.DirEntry[str], root: str, own: Collection[str], listing: Listing, below: list[str]
) -> None:
    try:
        found = entry.stat(follow_symlinks=False)
    except OSError as error:  # it went while we looked
        listing.refused.append((entry.path, f"it cannot be looked at: {error.strerror}"))
        return
    kind = stat.S_IFMT(found.st_mode)
    if kind == stat.S_IFREG:
        listing.files.append(FoundFile(entry.name, found.st_size, found.st_mtime_ns))
    elif kind == stat.S_IFLNK:
        _list_link(entry.path, root, listing)
    elif kind != stat.S_IFDIR:
        listing.refused.append((entry.path, f"it is {_KINDS.get(kind, 'no regular file')}, not a file"))
    elif entry.path in own:
        listing.passed_over.append((entry.path, "the archive's own data"))
    else:
        below.append(entry.path)


def _list_link(path: str, root: str, listing: Listing) -> None:
    target = os.path.realpath(path)
    if not os.path.exists(target):  # noqa: PTH110 names that are no text stay what they are
        listing.refused.append((path, "a symbolic link that leads nowhere"))
    elif target == root or target.startswith(root.rstrip("/") + "/"):
        listing.passed_over.append((path, "a symbolic link within the folder; its target has its own turn"))
    else:
        listing.refused.append((path, "a symbolic link that leads out of the folder"))
