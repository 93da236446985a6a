"""The parts of a STOW-RS request on their way to staged files (PS3.18 10.5.1).

A part is never in memory as a whole unless it is small; while one part arrives, those before it are read.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

import aiofiles.os  # type: ignore[import-untyped]

from app.archive.archive import Archive
from app.archive.store import Received, read_staged
from app.errors import Unreadable
from app.storage.interface import StagedFile, Staging
from app.web.media_type import parse_media_type
from app.web.multipart_reader import Event, PartBegins, PartData

T = TypeVar("T")

BUFFER_BYTES = 2**20

# The content of a part, where its own header does not say (RFC 2387: the root's type is the request's).
_APPLICATION_DICOM = "application/dicom"


class Spool:
    """Takes the events of one body in order; received() waits for what is still being read."""

    def __init__(self, archive: Archive, staging: Staging) -> None:
        self._archive = archive
        self._staging = staging
        self._buffer = bytearray()
        self._staged: StagedFile | None = None
        self._refusal = ""
        self._readings: list[asyncio.Task[Received]] = []
        # One part more than there are children to read: it is written meanwhile.
        self._places = asyncio.Semaphore(archive.settings.caged_processes + 1)

    async def take(self, event: Event) -> None:
        """Go on by one event; raises StorageFull or StorageFailed."""
        if isinstance(event, PartBegins):
            self._refusal = _refusal_of(event, len(self._readings) + 1)
        elif isinstance(event, PartData):
            if not self._refusal:
                self._buffer += event.data
            if len(self._buffer) >= BUFFER_BYTES:
                await self._write()
        else:
            await self._end()

    async def received(self) -> list[Received]:
        """Return what was read, in the order of the parts; raises StorageFull or StorageFailed."""
        return [await reading for reading in self._readings]

    async def settle(self) -> None:
        """Wait until nothing works on the staged files any more, whatever it ends in."""
        await asyncio.gather(*self._readings, return_exceptions=True)

    async def _write(self) -> None:
        data, self._buffer = self._buffer, bytearray()
        if self._staged is None:
            self._staged = await _in_thread(self._staging.new)
        await _in_thread(partial(self._staged.write, data))

    async def _end(self) -> None:
        """Have the part read, and what of it is still in memory written, without waiting for it."""
        if self._readings and self._readings[-1].done():
            self._readings[-1].result()  # a disk that failed: no need to take in the rest
        work = partial(
            _write_and_read, self._archive, self._staging, self._staged, self._buffer, self._refusal
        )
        await self._places.acquire()
        self._readings.append(asyncio.create_task(self._in_place(work)))
        self._staged, self._buffer, self._refusal = None, bytearray(), ""

    async def _in_place(self, work: Callable[[], Received]) -> Received:
        try:
            return await _in_thread(work)
        finally:
            self._places.release()


def _write_and_read(
    archive: Archive, staging: Staging, staged: StagedFile | None, rest: bytearray, refusal: str
) -> Received:
    staged = staged or staging.new()
    if refusal:
        return Received(staged, error=Unreadable(refusal))
    staged.write(rest)
    staged.finish()
    return read_staged(archive, staging, staged)


def _refusal_of(part: PartBegins, number: int) -> str:
    named = part.headers.get("content-type", _APPLICATION_DICOM)
    media_type, _ = parse_media_type(named)
    if media_type == _APPLICATION_DICOM:
        return ""
    return f"Part {number} is {media_type or 'of no media type'}; only {_APPLICATION_DICOM} can be stored."


def _in_thread(work: Callable[[], T]) -> Coroutine[Any, Any, T]:
    waiting: Coroutine[Any, Any, T] = aiofiles.os.wrap(work)()
    return waiting
