"""Other people's DICOMweb servers under AE titles of ours: C-FIND becomes QIDO-RS, C-GET and C-MOVE WADO-RS.

An instance is on our disk, complete, before any of it is sent on: one that breaks off on its way is a failed
sub-operation, and nothing at the caller.
"""

import logging
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from app.archive.archive import Archive
from app.archive.data_sets import convert_data_set
from app.archive.scratch import Scratch, scratch_file
from app.catalog.documents import Attributes
from app.catalog.holdings import Reference
from app.dicom.dicom_file import DicomFile
from app.dicom.document_matching import document_test
from app.dicom.matching import Query
from app.dicom.scan import read_layout
from app.dicom.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from app.dimse.errors import Cancelled
from app.dimse.identifiers import SERIES_INSTANCE_UID, STUDY_INSTANCE_UID
from app.dimse.sources import DataSet, IsCancelled, Selected, selected_of
from app.dimse.titles import READING, Title
from app.errors import ArchiveError, NotConvertible, NotFound
from app.proxy.errors import UpstreamFailed, UpstreamTimeout, UpstreamUnavailable
from app.proxy.event_loop import EventLoop
from app.proxy.instances import AS_STORED, fetch_instance
from app.proxy.proxy import Proxy
from app.proxy.searching import requests_of, search_pages
from app.proxy.service import Service
from app.proxy.upstreams import read_upstreams
from app.settings import Settings
from app.throttle.budget import Budget
from app.throttle.limits import RouteRefused

_FIRST_PAGE, _NEXT_PAGES = 50, 500
_ATTEMPTS = 2  # at an instance that breaks off; what fails at once was tried again by then
_PLAIN = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)

T = TypeVar("T")

logger = logging.getLogger("dermzoo.dimse")


class UpstreamSource:
    """What one upstream holds."""

    matches_every_key = False

    def __init__(self, archive: Archive, service: Service, loop: EventLoop) -> None:
        self._archive, self._service, self._loop = archive, service, loop
        self.name = service.upstream.name

    def search(self, query: Query, is_cancelled: IsCancelled) -> Iterator[Attributes]:
        """Yield everything that matches, each page as it comes; raises ArchiveError, Cancelled."""
        is_wanted = _sequence_test(query)
        try:
            for request in requests_of(query):
                pages = search_pages(self._service, "search", request, _FIRST_PAGE, _NEXT_PAGES)
                for rows in self._each(pages, is_cancelled):
                    yield from (_named(row, query) for row in rows if is_wanted(row))
        except NotFound:
            return  # there is no such study or series

    def select(self, query: Query, is_cancelled: IsCancelled) -> list[Selected]:
        """Return the instances that unique keys address; raises ArchiveError, Cancelled."""
        return [selected_of(found) for found in self.search(query, is_cancelled)]

    def open(self, selected: Selected, accepted: Collection[str], is_cancelled: IsCancelled) -> DataSet:
        """Fetch an instance as it is stored there, or else native; raises ArchiveError, Cancelled."""
        try:
            opened = self._open(selected, accepted, AS_STORED, is_cancelled)
            if opened is None and any(uid in accepted for uid in _PLAIN):
                opened = self._open(selected, accepted, EXPLICIT_VR_LITTLE_ENDIAN, is_cancelled)
            if opened is None:
                raise NotConvertible(
                    f"The server {self.name!r} has it in no transfer syntax that was accepted."
                )
        except ArchiveError as error:
            facts = {"upstream": self.name, "instance": selected.reference.sop_instance_uid}
            logger.warning("an instance is not sent", extra={"facts": {**facts, "reason": str(error)}})
            raise
        return opened

    def _open(
        self,
        selected: Selected,
        accepted: Collection[str],
        transfer_syntax_uid: str,
        is_cancelled: IsCancelled,
    ) -> DataSet | None:
        """Fetch an instance in a transfer syntax; None if it comes in one that was not accepted."""
        with scratch_file(self._archive) as file:
            self._fetch(selected.reference, transfer_syntax_uid, file, is_cancelled)
            layout = self._archive.cage.run(read_layout, file.path)
            if (layout.sop_class_uid, layout.sop_instance_uid) != (
                selected.sop_class_uid,
                selected.reference.sop_instance_uid,
            ):
                raise UpstreamFailed(f"The server {self.name!r} sends another instance.")
            held = layout.transfer_syntax_uid
            if held in accepted:
                return DataSet(file.opened(), layout.data_set, held)
            plain = next((uid for uid in _PLAIN if uid in accepted), None)
            if held in _PLAIN and plain is not None:
                return DataSet(*convert_data_set(self._archive, DicomFile(file.path, held), plain), plain)
            return None

    def _fetch(
        self, reference: Reference, transfer_syntax_uid: str, file: Scratch, is_cancelled: IsCancelled
    ) -> None:
        path = f"/studies/{reference.study_instance_uid}/series/{reference.series_instance_uid}"
        path += f"/instances/{reference.sop_instance_uid}"

        def begin() -> Scratch:
            if file.size:
                raise UpstreamFailed(f"The server {self.name!r} sends more than one instance.")
            return file

        for attempt in range(1, _ATTEMPTS + 1):
            try:
                fetching = fetch_instance(self._service, "object", path, transfer_syntax_uid, begin)
                self._call(fetching, is_cancelled)
            except (UpstreamFailed, UpstreamTimeout):
                if attempt == _ATTEMPTS or not file.size:
                    raise
                file.empty()
            else:
                return

    def _call(self, work: Coroutine[Any, Any, T], is_cancelled: IsCancelled) -> T:
        with self._told_apart():
            return self._loop.call(work, _heed(is_cancelled))

    def _each(self, source: AsyncGenerator[T], is_cancelled: IsCancelled) -> Iterator[T]:
        with self._told_apart():
            yield from self._loop.each(source, _heed(is_cancelled))

    @contextmanager
    def _told_apart(self) -> Iterator[None]:
        """Tell the upstream's budget from the caller's."""
        try:
            yield
        except RouteRefused as error:
            raise UpstreamUnavailable(
                f"The budget of the server {self.name!r} is used up.", error.refusal.retry_after_s
            ) from error


def _heed(is_cancelled: IsCancelled) -> Callable[[], None]:
    def heed() -> None:
        if is_cancelled():
            raise Cancelled

    return heed


def _sequence_test(query: Query) -> Callable[[Attributes], bool]:
    """Return the test of keys within sequences, which many servers pass over, where the sequence is there."""
    below: dict[str, list[tuple[str, Any]]] = {}
    for path, match in query.matches:
        if "." in path:
            below.setdefault(path[:8], []).append((path, match))
    tests = {tag: document_test(keys) for tag, keys in below.items()}
    return lambda row: all(test(row) for tag, test in tests.items() if tag in row)


def _named(row: Attributes, query: Query) -> Attributes:
    """Return a result with the study and series that it was looked for in."""
    parents = {STUDY_INSTANCE_UID: query.study_instance_uid, SERIES_INSTANCE_UID: query.series_instance_uid}
    named = {tag: {"vr": "UI", "Value": [uid]} for tag, uid in parents.items() if uid is not None}
    return named | row


def upstream_titles(settings: Settings) -> dict[str, str]:
    """Return the AE titles of the upstreams that have one, by their names; raises SettingsError."""
    return {one.name: one.ae_title for one in read_upstreams(settings).upstream if one.ae_title}


class OpenUpstreams:
    """The upstreams that have an AE title here, opened for one process."""

    def __init__(self, settings: Settings, archive: Archive, budget: Budget | None) -> None:
        """Open what the settings name; raises SettingsError."""
        self.titles: tuple[Title, ...] = ()
        self._proxy: Proxy | None = None
        titled = upstream_titles(settings)
        if not titled:
            return
        self._proxy = Proxy.open(settings, budget)
        self._loop = EventLoop("upstreams")
        self.titles = tuple(
            Title(ae_title, UpstreamSource(archive, self._proxy.services[name], self._loop), READING)
            for name, ae_title in titled.items()
        )

    def close(self) -> None:
        """End what is under way, and close the connections."""
        if self._proxy is not None:
            self._loop.call(self._proxy.close(), lambda: None)
            self._loop.close()
