"""A body between its upstream and those who wait for it: one writer, any number of readers, bounded.

What is for keeping goes into a file, from which each reads at its own pace; the writer waits when it is far
ahead of the fastest. What is not for keeping, or grew too large for it, is in memory only until the slowest
has it, and the writer waits for that one.
"""

import asyncio
import os
from collections import deque
from collections.abc import AsyncGenerator

from app.proxy.cache import HEAD_BYTES
from app.proxy.errors import UpstreamError

AHEAD_BYTES = 4 * 2**20  # in a file
WINDOW_BYTES = 2**18  # in memory
_READ_BYTES = 2**18
EVERYTHING = -1  # the place of a reader who waits for the whole


class Spool:
    """One body on its way."""

    def __init__(self) -> None:
        self._descriptor: int | None = None
        self._most_bytes = 0
        self._file_bytes = 0
        self._window: deque[tuple[int, bytes]] = deque()
        self._places: dict[object, int] = {}
        self._changed = asyncio.Event()
        self.size = 0
        self.is_complete = False
        self.error: UpstreamError | None = None

    @property
    def is_kept(self) -> bool:
        """Whether all of it is in the file so far."""
        return self._descriptor is not None and self._file_bytes == self.size

    @property
    def has_readers(self) -> bool:
        """Whether anybody waits for it."""
        return bool(self._places)

    @property
    def may_join(self) -> bool:
        """Whether a reader that comes now gets all of it."""
        return self.error is None and (self.size == 0 or self.is_kept)

    def keep_in(self, descriptor: int, most_bytes: int) -> None:
        """Write what comes into a file, up to a bound; to be called before anything comes."""
        self._descriptor, self._most_bytes = descriptor, most_bytes

    async def write(self, data: bytes) -> None:
        """Append; waits while the readers are behind."""
        if not data:
            return
        if not self._write_to_file(data):
            self._window.append((self.size, data))
        self.size += len(data)
        self._tell()
        while self._is_far_ahead():
            await self._change()

    def _write_to_file(self, data: bytes) -> bool:
        if self._descriptor is None or not self.is_kept or self.size + len(data) > self._most_bytes:
            return False
        try:
            # Into the system's memory: it takes less than a hop to a thread.
            written = os.pwrite(self._descriptor, data, HEAD_BYTES + self.size)
        except OSError:  # a disk that is full: it is not kept
            return False
        if written < len(data):
            return False
        self._file_bytes += written
        return True

    def finish(self) -> None:
        """Say that it is complete."""
        self.is_complete = True
        self._tell()

    def fail(self, error: UpstreamError) -> None:
        """Say that there will be no more, and why."""
        self.error = error
        self._tell()

    def join(self, place: int = 0) -> object:
        """Come in as a reader, or as one who waits for EVERYTHING to be kept; leave() ends it."""
        reader = object()
        self._places[reader] = place
        return reader

    def leave(self, reader: object) -> None:
        """Go; the writer may have waited for this one."""
        if self._places.pop(reader, None) is not None:
            self._drop_window()
            self._tell()

    async def wait(self) -> None:
        """Wait until it is complete; raises UpstreamError. For one who joined for EVERYTHING."""
        while not self.is_complete and self.is_kept:
            if self.error is not None:
                raise self.error
            await self._change()

    async def read(self, reader: object) -> AsyncGenerator[bytes]:
        """Yield the body as it comes; raises UpstreamError when it will not be complete."""
        while True:
            place = self._places[reader]
            if place < self.size:
                data = self._at(place)
                self._places[reader] = place + len(data)
                self._drop_window()
                self._tell()
                yield data
            elif self.is_complete:
                return
            elif self.error is not None:
                raise self.error
            else:
                await self._change()

    def _at(self, place: int) -> bytes:
        if place < self._file_bytes:
            assert self._descriptor is not None
            length = min(_READ_BYTES, self._file_bytes - place)
            return os.pread(self._descriptor, length, HEAD_BYTES + place)
        for start, data in self._window:
            if start <= place < start + len(data):
                return data[place - start :]
        raise AssertionError("what a reader has not had is kept for it")

    def _drop_window(self) -> None:
        slowest = min((place for place in self._places.values() if place != EVERYTHING), default=self.size)
        while self._window and self._window[0][0] + len(self._window[0][1]) <= slowest:
            self._window.popleft()

    def _is_far_ahead(self) -> bool:
        places = [self.size if place == EVERYTHING else place for place in self._places.values()]
        if self.is_kept:
            return self.size - max(places, default=self.size) > AHEAD_BYTES
        return self.size - min(places, default=self.size) > WINDOW_BYTES

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _change(self) -> None:
        await self._changed.wait()
