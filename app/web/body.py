"""Bodies out: byte ranges of stored files, in few sends and little memory, whatever their size."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.storage.interface import StoredFile

WHOLE_BYTES = 5 * 2**18  # a body up to here goes out in one send: a photograph, usually
SEND_BYTES = 2**19  # of a longer one; two of them are in memory, one here and one on its way

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FileRange:
    """A range of an open file; whoever made it closes the file."""

    file: StoredFile
    offset: int
    length: int


Source = bytes | FileRange
# What is known before, or what is opened or made when its turn comes.
Content = Sequence[Source] | AsyncIterator[Source]


async def each(content: Sequence[T] | AsyncIterator[T]) -> AsyncGenerator[T]:
    """Yield what a content has, of either kind."""
    if isinstance(content, Sequence):
        for one in content:
            yield one
        return
    async with aclosing(content) as later:  # type: ignore[type-var] # they are generators
        async for one in later:
            yield one


class Stream(Response):
    """A response whose body is read as it is sent; `length` is given where it is known before.

    `files` are those that the sources read from, opened already.

    A client that goes away ends it, and so does a file that turns out short: then the connection is cut, so
    that nobody takes the part for the whole.
    """

    def __init__(
        self,
        content: Content,
        media_type: str,
        *,
        length: int | None = None,
        files: Sequence[StoredFile] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(None, headers=headers, media_type=media_type)
        del self.headers["content-length"]
        if length is not None:
            self.headers["content-length"] = str(length)
        self.content = content
        self.length = length
        self.files = files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; the files are closed whatever happens."""
        try:
            await self._send(scope, receive, send)
        finally:
            for file in self.files:
                file.close()

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        if self.length is not None and self.length <= WHOLE_BYTES:
            whole = await _whole(self.content)
            await send({"type": "http.response.body", "body": whole})
            return
        gone = asyncio.create_task(disconnected(receive))
        try:
            async with aclosing(chunks(self.content)) as pieces:
                async for chunk in pieces:
                    if gone.done():
                        return
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except ConnectionError:
            return  # the client went while it was held back
        finally:
            gone.cancel()


async def _whole(content: Content) -> bytes:
    if not isinstance(content, Sequence):
        return b"".join([chunk async for chunk in chunks(content)])
    pieces = [
        source if isinstance(source, bytes) else await read(source.file, source.offset, source.length)
        for source in content
    ]
    return b"".join(pieces)


async def disconnected(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def chunks(content: Content) -> AsyncGenerator[bytes]:
    """Yield the bytes of the sources; small pieces that follow one another go out together."""
    pending = b""
    async with aclosing(each(content)) as every:
        async for source in every:
            if isinstance(source, bytes):
                pending += source
                if len(pending) >= SEND_BYTES:
                    yield pending
                    pending = b""
            else:
                position, end = source.offset, source.offset + source.length
                while position < end:
                    size = min(SEND_BYTES, end - position)
                    data = await read(source.file, position, size)
                    position += size
                    yield pending + data if pending else data
                    pending = b""
    if pending:
        yield pending


async def read(file: StoredFile, offset: int, length: int) -> bytes:
    """Read at once what the system has in memory; wait for the disk in a thread (a hop costs 0.2 ms)."""
    if length > 0 and _is_in_memory(file.descriptor, offset + length - 1):
        return file.read(offset, length)
    return await asyncio.to_thread(file.read, offset, length)


def _is_in_memory(descriptor: int, offset: int) -> bool:
    # Asks for one byte, the last of the range: reading ahead has brought in those before it.
    try:
        return os.preadv(descriptor, [bytearray(1)], offset, os.RWF_NOWAIT) == 1
    except OSError:  # not in memory, or a file system that cannot say
        return False
