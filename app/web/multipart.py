"""multipart/related bodies out, part by part (PS3.18 8.6.1.2.1, RFC 2387)."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from secrets import token_hex

from app.storage.interface import StoredFile
from app.web.body import Content, Source, Stream, each
from app.web.conditional import Selected


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its headers, its content with the length where that is known, and the open file it is in."""

    content_type: str
    content: Content
    length: int | None
    location: str | None = None
    file: StoredFile | None = None
    content_range: str | None = None

    def head(self, boundary: str) -> bytes:
        """Return the delimiter and headers. Viewers look for `Content-Type` spelled exactly so."""
        location = f"\r\nContent-Location: {self.location}" if self.location else ""
        content_range = f"\r\nContent-Range: {self.content_range}" if self.content_range else ""
        return f"--{boundary}\r\nContent-Type: {self.content_type}{location}{content_range}\r\n\r\n".encode()


def multipart_response(root_type: str, parts: Iterable[Part], selected: Selected | None = None) -> Stream:
    """Return the parts as one answer; Content-Length is told when every part's is known."""
    boundary = selected.boundary if selected else token_hex(16)
    ready = list(parts)
    heads = [part.head(boundary) for part in ready]
    end = _end(boundary)
    length: int | None = len(end)
    content: list[Source] | None = []
    for part, head in zip(ready, heads, strict=True):
        length = None if length is None or part.length is None else length + len(head) + part.length + 2
        if content is not None and isinstance(part.content, Sequence):
            content += [head, *part.content, b"\r\n"]
        else:
            content = None  # it is opened or made when its turn comes
    if content is not None:
        content.append(end)
    media_type = f'multipart/related; type="{root_type}"; boundary={boundary}'
    return Stream(
        _encode(ready, boundary) if content is None else content,
        media_type,
        length=length,
        files=[part.file for part in ready if part.file is not None],
        headers=selected.headers if selected else None,
    )


def later_multipart_response(
    root_type: str, parts: AsyncIterator[Part], selected: Selected | None = None
) -> Stream:
    """Return parts that are made when their turn comes as one answer."""
    boundary = selected.boundary if selected else token_hex(16)
    media_type = f'multipart/related; type="{root_type}"; boundary={boundary}'
    return Stream(_encode(parts, boundary), media_type, headers=selected.headers if selected else None)


def single_part_response(part: Part, selected: Selected | None = None) -> Stream:
    """Return one part's content alone; ranges.py answers a request for a range of it."""
    files = [part.file] if part.file is not None else []
    headers = selected.headers if selected else None
    return Stream(part.content, part.content_type, length=part.length, files=files, headers=headers)


async def _encode(parts: Sequence[Part] | AsyncIterator[Part], boundary: str) -> AsyncIterator[Source]:
    async with aclosing(each(parts)) as every:
        async for part in every:
            yield part.head(boundary)
            async for source in each(part.content):
                yield source
            yield b"\r\n"
    yield _end(boundary)


def _end(boundary: str) -> bytes:
    return f"--{boundary}--\r\n".encode()
