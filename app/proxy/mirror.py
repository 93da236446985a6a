"""Copying studies of an upstream into the archive: what is held is not fetched, so it can be run again."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from app.archive.archive import Archive
from app.archive.store import store_staged, taking_in
from app.catalog.files import holders
from app.errors import ArchiveError
from app.proxy.errors import UpstreamFailed
from app.proxy.instances import AS_STORED, fetch_instance
from app.proxy.searching import Request, search_pages
from app.proxy.service import Service
from app.storage.interface import StagedFile

AT_A_TIME = 4
_PAGE = 1000


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
    """Return the path of each instance of a study by its UID."""
    found: dict[str, str] = {}
    listed: Request = (f"/studies/{study}/instances", ())
    async for rows in search_pages(service, "transient", listed, _PAGE, _PAGE):
        for row in rows:
            try:
                series, instance = (str(row[tag]["Value"][0]) for tag in ("0020000E", "00080018"))
            except (KeyError, IndexError) as error:
                raise UpstreamFailed("The list of instances cannot be read.") from error
            found[instance] = f"/studies/{study}/series/{series}/instances/{instance}"
    return found


async def _copy(archive: Archive, service: Service, path: str) -> None:
    with taking_in(archive) as staging:
        files: list[StagedFile] = []

        def begin() -> StagedFile:
            files.append(staging.new())
            return files[-1]

        await fetch_instance(service, "transient", path, AS_STORED, begin)
        for file in files:
            file.finish()
        results = await asyncio.to_thread(store_staged, archive, staging, files)
    for result in results:
        if result.error is not None:
            raise result.error
