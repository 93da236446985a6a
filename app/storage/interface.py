"""What every place that holds managed files promises; tests/contracts/test_storage.py asks each for it.

A file is staged, kept, named by a row of the catalogue, released, and then lies under its SHA-256.
Whatever moment the process dies at, the next sweep can tell from the staged leftovers alone what was
promised and what was not.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self


class StoredFile(Protocol):
    """An open file whose bytes do not change; close it, or use it in a `with` statement."""

    @property
    def descriptor(self) -> int:
        """The operating system's number of the open file."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`; raise InstanceUnavailable if the file ends before."""

    def close(self) -> None:
        """Give the descriptor back; a second call does nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class StagedFile(Protocol):
    """A file on its way in; nobody but its writer knows of it."""

    @property
    def name(self) -> str:
        """What its staging knows it by."""

    @property
    def path(self) -> Path:
        """Where another process may read what was written so far."""

    @property
    def size(self) -> int:
        """Bytes written so far."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append `data`; raise StorageFull or StorageFailed."""

    def finish(self) -> None:
        """End the writing, once; the file stays until its staging ends."""

    def sync(self) -> None:
        """Wait until the content of a finished file is on the disk; its staging's keep() tells how it went.

        A second call does nothing.
        """


class Staging(Protocol):
    """The staged files of one request, message or job; several threads may stage at once.

    Leaving its `with` block gives what was released its place, which nobody has to wait for, and deletes what
    was never kept; what was kept and not released is left to the sweep.
    """

    @property
    def has_unreleased(self) -> bool:
        """Whether files were kept and not released: a sweep is due."""

    def new(self) -> StagedFile:
        """Begin one file; raise StorageFull or StorageFailed."""

    def drop(self, staged: StagedFile) -> None:
        """Delete one staged file that will not be kept."""

    def keep(self, files: Mapping[str, StagedFile]) -> None:
        """Make `files` (SHA-256 -> staged file) durable, those that were not synced in one group of fsyncs.

        Called once. From the commit of a row that names one on, it can be opened by its key; what no row
        names counts as nothing.
        """

    def release(self, catalogued: Iterable[str]) -> None:
        """Note which of the kept files committed rows name; the others are none of ours to keep."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Storage(Protocol):
    """Managed files by key; a key is the SHA-256 of the content in lower-case hexadecimal."""

    def staging(self) -> Staging:
        """Begin to take files in; raise StorageFull or StorageFailed."""

    def open(self, key: str) -> StoredFile:
        """Open a file that a committed row names; raise InstanceUnavailable."""

    def keys(self) -> Iterator[str]:
        """Yield the key of every file that has its place, in order."""

    def is_settled(self, key: str) -> bool:
        """Whether a file has its place and no staging, alive or dead, still has it."""

    def retiring(self) -> AbstractContextManager[Callable[[Iterable[str]], None]]:
        """Yield a function that marks held files, by key, for deletion; raises StorageFailed.

        To be called before the commit that takes away their rows. The sweep after the block, or after a
        crash within it, deletes those that no row names then.
        """

    def sweep(self, is_catalogued: Callable[[str], bool], *, is_patient: bool = False) -> int:
        """Place what dead writers left and rows name; return how many others, once kept, were deleted.

        `is_patient` waits for those who are keeping files just now; otherwise a later sweep does the rest.
        """

    def probe(self) -> None:
        """Raise StorageFull or StorageFailed when the next file could not be taken in."""
