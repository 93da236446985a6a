"""application/zip: the instances of a resource as files, with their licences, streamed (PS3.18 8.6.1.3.2).

Files are stored and not deflated: their pixels are compressed already. Each is read once, so its CRC
follows it in a data descriptor. Python's zipfile writes the format, ZIP64 where sizes need it, into a sink
that is emptied after every piece.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import IO, cast
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from starlette.requests import Request

from app.archive.retrieve import retrieve_metadata
from app.catalog.holdings import Held, Reference
from app.corpus.rights import Rights, rights_files, rights_of
from app.web.body import Source, Stream, chunks
from app.web.conditional import Selected
from app.web.dependencies import archive_of, run_read

ZIP = "application/zip"


@dataclass(frozen=True, slots=True)
class ZippedFile:
    """One file of the archive: its name, and what opens its content when its turn comes."""

    name: str
    held: Held
    open: Callable[[], AsyncGenerator[Source]]


@dataclass(slots=True)
class _Sink:
    """Takes what is written, as a pipe does: zipfile finds that it cannot go back in it."""

    pieces: list[bytes] = field(default_factory=list)

    def write(self, data: bytes) -> int:
        self.pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Do nothing; zipfile asks for it."""

    def take(self) -> bytes:
        taken = b"".join(self.pieces)
        self.pieces.clear()
        return taken


def zip_response(
    request: Request, reference: Reference, files: Sequence[ZippedFile], selected: Selected
) -> Stream:
    """Return the files as one ZIP file; its length is not told."""
    uids = (reference.sop_instance_uid, reference.series_instance_uid, reference.study_instance_uid)
    name = next(uid for uid in uids if uid)
    headers = {**selected.headers, "Content-Disposition": f'attachment; filename="{name}.zip"'}
    return Stream(_zipped(request, files), ZIP, headers=headers)


async def _zipped(request: Request, files: Sequence[ZippedFile]) -> AsyncGenerator[Source]:
    sink = _Sink()
    rights: dict[Rights, list[str]] = {}
    with ZipFile(cast("IO[bytes]", sink), "w", ZIP_STORED) as zipped:
        for file in files:
            # How long a file is need not be known before, so it gets the 64 bit form, which costs 20 bytes.
            with zipped.open(_entry(file.name), "w", force_zip64=True) as entry:
                async with aclosing(chunks(file.open())) as content:
                    async for data in content:
                        entry.write(data)
                        yield sink.take()
            rights.setdefault(await _rights(request, file.held), []).append(file.name)
        for name, text in rights_files(rights).items():
            zipped.writestr(_entry(name), text)
    yield sink.take()


def _entry(name: str) -> ZipInfo:
    """Return the entry of a file: of no date, so that the same files are the same ZIP file."""
    entry = ZipInfo(name)
    entry.external_attr = 0o644 << 16
    return entry


async def _rights(request: Request, held: Held) -> Rights:
    reference = Reference(held.study_instance_uid, held.series_instance_uid, held.sop_instance_uid)
    (document,) = await run_read(request, retrieve_metadata, archive_of(request), reference)
    return rights_of(document)
