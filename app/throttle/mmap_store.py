"""Balances in a memory-mapped file, shared by all processes of this host.

A file lock and a thread lock make each step atomic; the kernel frees the lock of a process that dies. A
process that is stopped while it holds the lock stops nobody else: who has waited in vain goes on with its own
part (local_share.py), which is charged when the lock is free again.

The balances stand in the page cache, so they outlive any process at any moment; a power cut loses at most
what the kernel had not written back yet (about 30 s). Only salted 64-bit keys and numbers are kept: no
addresses.

Time is CLOCK_MONOTONIC, the same for all processes since boot. The header holds the boot id and the
distance to the wall clock; the first to open the file after a reboot moves all stamps by it, so that a
restart refills nothing that time has not. A file we cannot trust is replaced by one whose shared buckets
start empty, not full.
"""

import fcntl
import logging
import math
import mmap
import os
import secrets
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock

from app.errors import SettingsError
from app.throttle.bucket import Bucket, Draw
from app.throttle.file_lock import locked_within
from app.throttle.local_share import LocalShare
from app.throttle.slots import SlotTable, table_bytes
from app.throttle.stores import DEFAULT_SLOTS, SALT_BYTES, Taken, salted_key

MAGIC = b"dzbudg01"
HEADER = struct.Struct(
    "<8sQ16s16sdd"
)  # magic, slots, boot id, salt, wall clock - monotonic, start of pinned buckets
HEADER_BYTES = 64
LOCK_S = 0.03  # a step takes microseconds, and an event loop waits with it
START_LOCK_S = 10.0
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

logger = logging.getLogger("dermzoo.budget")


class MmapStore:
    """Balances shared through the file at `path`; `path`.lock serialises the processes."""

    def __init__(
        self,
        path: Path,
        slots: int = DEFAULT_SLOTS,
        *,
        processes: int = 1,
        lock_s: float = LOCK_S,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        boot_id: bytes | None = None,
    ) -> None:
        """Each of so many processes has its part while another one holds the lock."""
        self._path, self._slots = path, slots
        self._share, self._lock_s, self._waits_in_vain = LocalShare(processes, monotonic), lock_s, False
        self._monotonic, self._wall = monotonic, wall
        self._boot_id = _boot_id() if boot_id is None else boot_id.ljust(16, b"\0")[:16]
        self._open()

    def clock(self) -> float:
        """Return the time since boot."""
        return self._monotonic()

    def key(self, name: str) -> int:
        """Return the 64 bits that stand for a bucket's name in this file."""
        return salted_key(self._salt, name)

    def take(self, draws: Sequence[Draw], now: float) -> Taken:
        """Take every draw or none; return whether, and the balances."""
        if os.getpid() != self._pid:
            self._open()  # a forked child shares its parent's lock, which would exclude neither
        with self._lock:
            if not self._hold():
                return self._share.take(draws)
            try:
                owed = self._share.settle()
                if owed:
                    self._table.take(owed, now)
                return self._table.take(draws, now)
            finally:
                fcntl.flock(self._lock_file, fcntl.LOCK_UN)

    def peek(self, buckets: Sequence[Bucket], now: float) -> list[float]:
        """Return the balances."""
        if os.getpid() != self._pid:
            self._open()
        with self._lock:
            if not self._hold():
                return self._share.take([Draw(bucket, 0, -math.inf) for bucket in buckets])[1]
            try:
                return self._table.peek(buckets, now)
            finally:
                fcntl.flock(self._lock_file, fcntl.LOCK_UN)

    def _hold(self) -> bool:
        """Lock the file; False when somebody else holds it for longer than any step takes."""
        is_held = locked_within(self._lock_file, 0.0 if self._waits_in_vain else self._lock_s)
        if is_held == self._waits_in_vain:
            self._waits_in_vain = not is_held
            logger.warning(
                "the budget's file is free again"
                if is_held
                else "another process holds the budget's file: this one goes on with its part",
                extra={"facts": {"file": str(self._path)}},
            )
        return is_held

    def close(self) -> None:
        """Write the balances to the disk and let go of the file."""
        with self._lock:
            self._map.flush()
            self._table.release()
            self._view.release()
            self._map.close()
            os.close(self._lock_file)

    def _open(self) -> None:
        """Map the file, after making it, or moving it onto this boot's clock, if need be."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lock_path = self._path.with_name(self._path.name + ".lock")
            lock_file = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                _lock_to_start(lock_file, lock_path)
                self._prepare()
                descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
                try:
                    self._map = mmap.mmap(descriptor, HEADER_BYTES + table_bytes(self._slots))
                finally:
                    os.close(descriptor)
                fcntl.flock(lock_file, fcntl.LOCK_UN)
            except BaseException:
                os.close(lock_file)
                raise
        except OSError as error:
            raise SettingsError(f"cannot keep the budget in {self._path}: {error.strerror}") from error
        self._pid, self._lock, self._lock_file = os.getpid(), Lock(), lock_file
        header = HEADER.unpack_from(self._map)
        self._salt: bytes = header[3]
        self._view = memoryview(self._map)[HEADER_BYTES:]
        self._table = SlotTable(self._view, pinned_start=header[5])

    def _prepare(self) -> None:
        """Leave a file of this boot at the path; the lock is held."""
        offset = self._wall() - self._monotonic()
        content = self._path.read_bytes() if self._path.exists() else None
        if content is not None and self._is_ours(content):
            _, _, boot_id, salt, old_offset, start = HEADER.unpack_from(content)
            if boot_id == self._boot_id:
                with self._path.open("r+b") as file:  # the wall clock may have been set right since
                    file.write(HEADER.pack(MAGIC, self._slots, boot_id, salt, offset, start))
                return
            body = bytearray(content[HEADER_BYTES:])
            SlotTable(memoryview(body)).shift(old_offset - offset, self._monotonic())
        else:
            body = bytearray(table_bytes(self._slots))
            salt, start = secrets.token_bytes(SALT_BYTES), 1.0 if content is None else 0.0
        header = HEADER.pack(MAGIC, self._slots, self._boot_id, salt, offset, start)
        made = self._path.with_name(f"{self._path.name}.new")
        with made.open("wb") as file:
            file.write(header.ljust(HEADER_BYTES, b"\0") + body)
            file.flush()
            os.fsync(file.fileno())
        made.replace(self._path)

    def _is_ours(self, content: bytes) -> bool:
        size = HEADER_BYTES + table_bytes(self._slots)
        return len(content) == size and HEADER.unpack_from(content)[:2] == (MAGIC, self._slots)


def _lock_to_start(lock_file: int, path: Path) -> None:
    if not locked_within(lock_file, START_LOCK_S):
        raise SettingsError(f"{path} is held by a process that does not go on; end it")


def _boot_id() -> bytes:
    """Return 16 bytes that change with every boot; zeros where the system does not tell."""
    try:
        return bytes.fromhex(BOOT_ID.read_text().strip().replace("-", ""))
    except OSError:
        return bytes(16)
