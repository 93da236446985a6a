"""Metadata with bulk data after them on their way into one staged file (PS3.18 10.5.1, DICOM JSON and XML).

Nothing of it is read here: what a document says is found out in the cage.
"""

import asyncio
import sys
from collections.abc import Callable
from functools import partial
from http import HTTPStatus

from app.archive.archive import Archive
from app.archive.composing import receive_composed
from app.archive.store import Received, Result, taking_in
from app.dicom.json_reader import JSON_BYTES
from app.dicom.media_type import parse_media_type
from app.dicom.media_types import OCTET_STREAM
from app.dicom.multipart_reader import Event, PartBegins, PartData
from app.dicom.parts import RECEIVED, BulkPart, Elsewhere, MetadataPart
from app.dicom.uids import is_valid_uid
from app.dicom.xml_reader import XML_BYTES
from app.errors import ArchiveError, Unreadable
from app.storage.interface import StagedFile, Staging
from app.web.errors import RequestError
from app.web.media_ranges import DICOM_JSON
from app.web.store_body import coding_of, stored_type
from app.web.store_spool import BUFFER_BYTES, in_thread, kept

_UTF_8 = frozenset({"utf-8", "utf8"})


class MetadataSpool:
    """Takes the events of one body in order, stores what they bring, and clears up, as Spool does."""

    def __init__(self, archive: Archive, root_type: str) -> None:
        """Begin on a body whose metadata are of `root_type`."""
        self._archive = archive
        self._root_type = root_type
        self._context = taking_in(archive)
        self._staging: Staging | None = None
        self._bundle: StagedFile | None = None
        self._buffer = bytearray()
        self._size = self._start = self._number = 0
        self._has_left = False
        self._begun: PartBegins | None = None
        self._documents: list[MetadataPart] = []
        self._parts: dict[str, BulkPart] = {}

    @property
    def is_empty(self) -> bool:
        """Whether no part is complete."""
        return not self._documents

    async def take(self, event: Event) -> None:
        """Go on by one event; raises RequestError, StorageFull or StorageFailed."""
        if isinstance(event, PartBegins):
            self._number += 1
            self._start, self._begun = self._size, event
            self._check(event)
        elif isinstance(event, PartData):
            self._buffer += event.data
            self._size += len(event.data)
            if self._is_metadata(self._begun) and self._size - self._start > self._most:
                raise RequestError(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    f"Metadata may have {self._most} bytes a part: send the instances in several requests, "
                    "and long values as bulk data.",
                )
            if len(self._buffer) >= BUFFER_BYTES:
                data, self._buffer = self._buffer, bytearray()
                await in_thread(partial(self._append, data))
        elif self._begun is not None:
            self._end(self._begun)

    async def store(self, judge: Callable[[Received], Received]) -> tuple[list[Result], ArchiveError | None]:
        """Store what was taken and `judge` lets pass; return what became of each instance.

        Also the error that kept all of it from being stored. Raises RequestError where the metadata as a
        whole are none, StorageFull or StorageFailed when an instance could not be written.
        """
        self._has_left = True
        return await in_thread(partial(self._store, judge))

    async def leave(self) -> None:
        """Delete what is left of the staged files."""
        if not self._has_left:
            self._has_left = True
            await asyncio.shield(in_thread(self._leave))

    @property
    def _most(self) -> int:
        return JSON_BYTES if self._root_type == DICOM_JSON else XML_BYTES

    def _is_metadata(self, part: PartBegins | None) -> bool:
        if part is None:
            return False
        named = part.headers.get("content-type")
        if named is None:  # RFC 2387: the root's type is the request's; of others the default is octets
            return self._number == 1
        return stored_type(parse_media_type(named)[0]) == self._root_type

    def _check(self, part: PartBegins) -> None:
        """Refuse what the order or the header of a part make impossible to understand."""
        if coding := coding_of(part):
            raise RequestError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Part {self._number} is encoded as {coding[:40]!r}."
            )
        if self._is_metadata(part):
            self._check_metadata(part)
            return
        if not self._documents:
            raise self._malformed(f"comes before the metadata, which are of type {self._root_type}")
        location = part.headers.get("content-location", "")
        if not location:
            raise self._malformed("has no Content-Location: no metadata can name it")
        if location in self._parts:
            raise self._malformed(f"has the Content-Location of another: {location[:200]}")
        syntax = parse_media_type(part.headers.get("content-type", ""))[1].get("transfer-syntax", "")
        if syntax and not is_valid_uid(syntax):
            raise self._malformed(f"has transfer-syntax={syntax[:80]!r}, which is no UID")

    def _check_metadata(self, part: PartBegins) -> None:
        if self._parts:
            raise self._malformed("has metadata, which come before all bulk data")
        if self._root_type != DICOM_JSON:
            return
        if self._documents:
            raise self._malformed("has more metadata; in JSON all instances are one array in one part")
        charset = parse_media_type(part.headers.get("content-type", ""))[1].get("charset", "utf-8")
        if charset.lower() not in _UTF_8:
            raise RequestError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "DICOM JSON is in UTF-8 (PS3.18 F.2).")

    def _malformed(self, what: str) -> RequestError:
        return RequestError(HTTPStatus.BAD_REQUEST, f"Part {self._number} {what}. Nothing was stored.")

    def _end(self, part: PartBegins) -> None:
        place = Elsewhere(RECEIVED, self._start, self._size - self._start)
        media_type, parameters = parse_media_type(part.headers.get("content-type", ""))
        if self._is_metadata(part):
            charset = parameters.get("charset")
            self._documents.append(MetadataPart(place, self._root_type == DICOM_JSON, charset))
            return
        location = part.headers["content-location"]
        syntax = parameters.get("transfer-syntax", "")
        self._parts[location] = BulkPart(location, media_type or OCTET_STREAM, syntax, place)

    def _append(self, data: bytearray) -> None:
        if self._staging is None:
            self._staging = self._context.__enter__()
        if self._bundle is None:
            self._bundle = self._staging.new()
        self._bundle.write(data)

    def _store(self, judge: Callable[[Received], Received]) -> tuple[list[Result], ArchiveError | None]:
        try:
            self._append(self._buffer)
            assert self._staging
            assert self._bundle
            parts = list(self._parts.values())
            try:
                found = receive_composed(self._archive, self._staging, self._bundle, self._documents, parts)
            except Unreadable as error:
                raise RequestError(HTTPStatus.BAD_REQUEST, f"The metadata cannot be read: {error}") from error
            if not found:
                raise RequestError(HTTPStatus.BAD_REQUEST, "The metadata are of no instance.")
            return kept(self._archive, self._staging, [judge(each) for each in found])
        finally:
            self._leave()

    def _leave(self) -> None:
        if self._staging is not None:
            self._context.__exit__(*sys.exc_info())
