"""The parts of a STOW-RS request on their way to staged files (PS3.18 10.5.1).

A part is never in memory as a whole unless it is small; while one part arrives, those before it are read.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from threading import Lock
from typing import Any, TypeVar

import aiofiles.os  # type: ignore[import-untyped]

from app.archive.archive import Archive
from app.archive.store import Received, Result, read_staged, store_received, taking_in
from app.dicom.media_type import parse_media_type
from app.dicom.multipart_reader import Event, PartBegins, PartData
from app.errors import ArchiveError, StorageFailed, StorageFull, Unreadable
from app.storage.interface import StagedFile, Staging
from app.web.store_body import coding_of

T = TypeVar("T")

BUFFER_BYTES = 2**20

# The content of a part, where its own header does not say (RFC 2387: the root's type is the request's).
_APPLICATION_DICOM = "application/dicom"


class Spool:
    """Takes the events of one body in order, stores what they bring, and clears up.

    The file system is asked in threads. A hop to one costs as much as a small part does, so the last part,
    often the only one, is written, read and stored in one.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._context = taking_in(archive)
        self._staging: Staging | None = None
        self._opening = Lock()
        self._has_left = False
        self._buffer = bytearray()
        self._staged: StagedFile | None = None
        self._refusal = ""
        self._readings: list[asyncio.Task[Received]] = []
        self._last: Callable[[], Received] | None = None  # complete, and perhaps the last
        # One part more than there are children to read: it is written meanwhile.
        self._places = asyncio.Semaphore(archive.settings.caged_processes + 1)

    @property
    def is_empty(self) -> bool:
        """Whether no part is complete."""
        return self._last is None

    async def take(self, event: Event) -> None:
        """Go on by one event; raises StorageFull or StorageFailed."""
        if isinstance(event, PartBegins):
            await self._begin_reading()
            self._refusal = _refusal_of(event, len(self._readings) + 1)
        elif isinstance(event, PartData):
            if not self._refusal:
                self._buffer += event.data
            if len(self._buffer) >= BUFFER_BYTES:
                await self._write()
        else:
            self._last = partial(self._write_and_read, self._staged, self._buffer, self._refusal)
            self._staged, self._buffer, self._refusal = None, bytearray(), ""

    async def store(self, judge: Callable[[Received], Received]) -> tuple[list[Result], ArchiveError | None]:
        """Store what was taken and `judge` lets pass; return what became of each part.

        Also the error that kept all of it from being stored. Raises StorageFull or StorageFailed when a part
        could not be written.
        """
        earlier = [await reading for reading in self._readings]
        self._has_left = True
        return await in_thread(partial(self._store, earlier, judge))

    async def leave(self) -> None:
        """Wait until nothing works on the staged files any more, and delete what is left of them."""
        await asyncio.gather(*self._readings, return_exceptions=True)
        if not self._has_left:
            self._has_left = True
            await asyncio.shield(in_thread(self._leave))

    async def _write(self) -> None:
        data, self._buffer = self._buffer, bytearray()
        self._staged = await in_thread(partial(self._append, self._staged, data))

    def _append(self, staged: StagedFile | None, data: bytearray) -> StagedFile:
        staged = staged or self._open().new()
        staged.write(data)
        return staged

    async def _begin_reading(self) -> None:
        """Have the part before this one read, without waiting for it."""
        if self._last is None:
            return
        if self._readings and self._readings[-1].done():
            self._readings[-1].result()  # a disk that failed: no need to take in the rest
        await self._places.acquire()
        self._readings.append(asyncio.create_task(self._in_place(self._last)))
        self._last = None

    async def _in_place(self, work: Callable[[], Received]) -> Received:
        try:
            return await in_thread(work)
        finally:
            self._places.release()

    def _open(self) -> Staging:
        with self._opening:  # parts are read side by side
            if self._staging is None:
                self._staging = self._context.__enter__()
            return self._staging

    def _write_and_read(self, staged: StagedFile | None, rest: bytearray, refusal: str) -> Received:
        staged = staged or self._open().new()
        if refusal:
            return Received(staged, error=Unreadable(refusal))
        staged.write(rest)
        staged.finish()
        return read_staged(self._archive, self._open(), staged)

    def _store(
        self, earlier: list[Received], judge: Callable[[Received], Received]
    ) -> tuple[list[Result], ArchiveError | None]:
        try:
            received = [judge(each) for each in (*earlier, *([self._last()] if self._last else []))]
            return kept(self._archive, self._open(), received)
        finally:
            self._leave()

    def _leave(self) -> None:
        if self._staging is not None:
            self._context.__exit__(*sys.exc_info())


def kept(
    archive: Archive, staging: Staging, received: Sequence[Received]
) -> tuple[list[Result], ArchiveError | None]:
    """Keep what was received; return what became of each, and the error that kept all from being stored."""
    try:
        return store_received(archive, staging, received), None
    except (StorageFull, StorageFailed) as error:
        return [Result(each.entry, each.error or error, composed=each.composed) for each in received], error


def _refusal_of(part: PartBegins, number: int) -> str:
    named = part.headers.get("content-type", _APPLICATION_DICOM)
    media_type, _ = parse_media_type(named)
    if coding := coding_of(part):
        return f"Part {number} is encoded as {coding[:40]!r}, which is not taken."
    if media_type == _APPLICATION_DICOM:
        return ""
    return f"Part {number} is {media_type or 'of no media type'}; only {_APPLICATION_DICOM} can be stored."


def in_thread(work: Callable[[], T]) -> Coroutine[Any, Any, T]:
    """Do what waits for the disk."""
    waiting: Coroutine[Any, Any, T] = aiofiles.os.wrap(work)()
    return waiting
