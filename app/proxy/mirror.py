"""Copying studies of an upstream into the archive: what is held is not fetched, so it can be run again."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import orjson

from app.archive.archive import Archive
from app.archive.store import store_staged, taking_in
from app.catalog.files import holders
from app.dicom.media_type import parse_media_type
from app.dicom.multipart_reader import MultipartReader, PartBegins, PartData
from app.errors import ArchiveError, InvalidQuery, NotConvertible
from app.proxy.asked import Asked
from app.proxy.errors import UpstreamFailed
from app.proxy.service import Flow, Service
from app.storage.interface import StagedFile, Staging

AT_A_TIME = 4
_PAGE = 1000
_MOST_PAGE_BYTES = 256 * 2**20
_AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_DEFAULT = 'multipart/related; type="application/dicom"'  # for servers that do not know the asterisk


@dataclass
class MirrorReport:
    """What became of the instances of a study."""

    stored: int = 0
    held: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)  # SOP Instance UID, reason


async def mirror_study(
    archive: Archive, service: Service, study: str, report: MirrorReport, advance: Callable[[], None]
) -> None:
    """Copy what is not held of a study; raises ArchiveError when its instances cannot be listed."""
    paths = await _instances(service, study)
    with archive.catalog.read() as connection:
        held = holders(connection, list(paths))
    report.held += len(held)
    places = asyncio.Semaphore(AT_A_TIME)

    async def one(uid: str, path: str) -> None:
        async with places:
            try:
                await _copy(archive, service, path)
                report.stored += 1
            except ArchiveError as error:
                report.failed.append((uid, str(error)))
            advance()

    await asyncio.gather(*(one(uid, path) for uid, path in paths.items() if uid not in held))


async def _instances(service: Service, study: str) -> dict[str, str]:
    """Return the path of each instance of a study by its UID, page by page."""
    found: dict[str, str] = {}
    while True:
        query = f"limit={_PAGE}&offset={len(found)}"
        asked = Asked.of("transient", f"/studies/{study}/instances", query, "application/dicom+json")
        before = len(found)
        for row in await _page(service, asked):
            series, instance = (row[tag]["Value"][0] for tag in ("0020000E", "00080018"))
            found[instance] = f"/studies/{study}/series/{series}/instances/{instance}"
        # Some servers know neither limit nor offset, and send all of it each time.
        if len(found) - before < _PAGE:
            return found


async def _page(service: Service, asked: Asked) -> list[dict[str, dict[str, list[str]]]]:
    flow = await _flow(service, asked)
    content = b""
    try:
        async for piece in flow.pieces():
            content += piece
            if len(content) > _MOST_PAGE_BYTES:
                raise UpstreamFailed("A page of the list of instances is too long.")
    finally:
        flow.close()
    try:
        rows = orjson.loads(content or b"[]")
        return [row for row in rows if row["0020000E"]["Value"] and row["00080018"]["Value"]]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise UpstreamFailed("The list of instances cannot be read.") from error


async def _copy(archive: Archive, service: Service, path: str) -> None:
    try:
        flow = await _flow(service, Asked.of("transient", path, "", _AS_STORED))
    except (InvalidQuery, NotConvertible):
        flow = await _flow(service, Asked.of("transient", path, "", _DEFAULT))
    try:
        with taking_in(archive) as staging:
            writer = _PartWriter(staging, flow.head.headers["content-type"])
            async for piece in flow.pieces():
                writer.take(piece)
            results = await asyncio.to_thread(store_staged, archive, staging, writer.finish())
    finally:
        flow.close()
    for result in results:
        if result.error is not None:
            raise result.error


async def _flow(service: Service, asked: Asked) -> Flow:
    flow = await service.get(asked)
    assert isinstance(flow, Flow)  # what is transient is never kept
    return flow


class _PartWriter:
    """Stages the parts of a multipart, or a body that is one file."""

    def __init__(self, staging: Staging, content_type: str) -> None:
        media_type, parameters = parse_media_type(content_type)
        self._staging = staging
        self._files: list[StagedFile] = []
        is_multipart = media_type.startswith("multipart/")
        self._reader = MultipartReader(parameters.get("boundary", "")) if is_multipart else None
        if self._reader is None:
            self._files.append(staging.new())

    def take(self, data: bytes) -> None:
        if self._reader is None:
            self._files[-1].write(data)
            return
        for event in self._reader.feed(data):
            if isinstance(event, PartBegins):
                self._files.append(self._staging.new())
            elif isinstance(event, PartData):
                self._files[-1].write(event.data)

    def finish(self) -> list[StagedFile]:
        if self._reader is not None:
            self._reader.finish()
        if not self._files:
            raise UpstreamFailed("The other server sends no instance.")
        for file in self._files:
            file.finish()
        return self._files
