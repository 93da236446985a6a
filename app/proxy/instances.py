"""Instances of an upstream, fetched one at a time as files (PS3.18 10.4.1.1.3)."""

from collections.abc import Callable
from typing import Protocol

from app.dicom.media_type import parse_media_type
from app.dicom.multipart_reader import MalformedMultipart, MultipartReader, PartBegins, PartData
from app.errors import InvalidQuery, NotConvertible
from app.proxy.asked import Asked, Kind
from app.proxy.cache import HEAD_BYTES, Kept
from app.proxy.errors import UpstreamFailed
from app.proxy.service import Flow, Service

AS_STORED = "*"
# As the proxy writes what its clients accept: what a viewer has fetched needs no second download.
_ACCEPT = 'multipart/related; transfer-syntax={}; type="application/dicom"'
_DEFAULT = 'multipart/related; type="application/dicom"'  # for servers that do not know the asterisk
_READ_BYTES = 2**18


class Target(Protocol):
    """Where the bytes of one instance go."""

    def write(self, data: memoryview) -> object:
        """Append."""


async def fetch_instance(
    service: Service, kind: Kind, path: str, transfer_syntax_uid: str, begin: Callable[[], Target]
) -> None:
    """Write what an upstream sends of an instance to what `begin` makes for each file; raises ArchiveError.

    It is complete only when this returns. Whether it has the transfer syntax, the file says.
    """
    accept = _ACCEPT.format(transfer_syntax_uid)
    try:
        found = await service.get(Asked.of(kind, path, "", accept))
    except (InvalidQuery, NotConvertible):
        if transfer_syntax_uid != AS_STORED:
            raise
        found = await service.get(Asked.of(kind, path, "", _DEFAULT))
    try:
        await _write_parts(found, begin)
    except MalformedMultipart as error:
        raise UpstreamFailed(f"The server {service.upstream.name!r} sends no multipart: {error}") from error
    finally:
        found.close()


async def _write_parts(found: Kept | Flow, begin: Callable[[], Target]) -> None:
    if isinstance(found, Kept):
        writer = _PartWriter(found.headers["content-type"], begin)
        for start in range(0, found.length, _READ_BYTES):
            writer.take(found.file.read(HEAD_BYTES + start, min(_READ_BYTES, found.length - start)))
    else:
        writer = _PartWriter(found.head.headers.get("content-type", ""), begin)
        async for piece in found.pieces():
            writer.take(piece)
    writer.finish()


class _PartWriter:
    """Writes the parts of a multipart, or a body that is one file."""

    def __init__(self, content_type: str, begin: Callable[[], Target]) -> None:
        media_type, parameters = parse_media_type(content_type)
        self._begin = begin
        self._target: Target | None = None
        is_multipart = media_type.startswith("multipart/")
        self._reader = MultipartReader(parameters.get("boundary", "")) if is_multipart else None

    def take(self, data: bytes) -> None:
        if self._reader is None:
            self._write(memoryview(data))
            return
        for event in self._reader.feed(data):
            if isinstance(event, PartBegins):
                self._target = self._begin()
            elif isinstance(event, PartData):
                self._write(event.data)

    def finish(self) -> None:
        if self._reader is not None:
            self._reader.finish()
        if self._target is None:
            raise UpstreamFailed("The other server sends no instance.")

    def _write(self, data: memoryview) -> None:
        if self._target is None:
            self._target = self._begin()
        self._target.write(data)
