"""How many associations there are, over all processes of this host: in total, and for each caller.

A slot is a byte of a file, locked while its association lives. The kernel lets go of the lock when a process
dies, however it dies; beside each byte stands whose it is.
"""

import fcntl
import hashlib
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NAME_BYTES = 16
_FLOCK = struct.Struct("hhqqi4x")  # struct flock of a 64-bit Linux


class Slots:
    """The slots of one host; opened by each process that listens."""

    def __init__(self, path: Path, total: int, per_client: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._total, self._per_client = path, total, per_client

    def take(self, client: str) -> int | None:
        """Return an open slot, to be given back with os.close(); None if there is none for this client."""
        name = hashlib.blake2b(client.encode(), digest_size=_NAME_BYTES).digest()
        slot = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        is_taken = False
        try:
            with _turn(slot, self._total):
                number = self._free(slot, name)
                if number is None:
                    return None
                _lock(slot, fcntl.F_OFD_SETLK, number)
                os.pwrite(slot, name, self._place(number))
                is_taken = True
                return slot
        finally:
            if not is_taken:
                os.close(slot)

    def _free(self, slot: int, name: bytes) -> int | None:
        free, mine = None, 0
        for number in range(self._total):
            if not _lock(slot, fcntl.F_OFD_GETLK, number):
                free = number if free is None else free
            elif os.pread(slot, _NAME_BYTES, self._place(number)) == name:
                mine += 1
        return free if mine < self._per_client else None

    def _place(self, number: int) -> int:
        return self._total + 1 + number * _NAME_BYTES


@contextmanager
def _turn(slot: int, total: int) -> Iterator[None]:
    """Hold the byte after the slots: one process looks and takes at a time."""
    _lock(slot, fcntl.F_OFD_SETLKW, total)
    try:
        yield
    finally:
        _lock(slot, fcntl.F_OFD_SETLK, total, fcntl.F_UNLCK)


def _lock(slot: int, operation: int, number: int, kind: int = fcntl.F_WRLCK) -> bool:
    """Lock, unlock or look at one byte; return whether somebody else holds it, where looking."""
    request = _FLOCK.pack(kind, os.SEEK_SET, number, 1, 0)
    found, *_ = _FLOCK.unpack(fcntl.fcntl(slot, operation, request))
    return operation == fcntl.F_OFD_GETLK and found != fcntl.F_UNLCK
