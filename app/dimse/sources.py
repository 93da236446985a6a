"""What is found and sent under an AE title of ours: what the archive holds, or what another server does."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from typing import NamedTuple, Protocol

from app.archive.archive import Archive
from app.archive.collections import scope_of
from app.archive.data_sets import chosen_syntax, open_data_set
from app.archive.query import locate_instances, search_attributes
from app.archive.retrieve import retrieve_instance
from app.catalog.documents import Attributes
from app.catalog.holdings import Reference
from app.dicom.matching import Query
from app.dimse.identifiers import SERIES_INSTANCE_UID, SOP_INSTANCE_UID, STUDY_INSTANCE_UID
from app.storage.interface import StoredFile

SOP_CLASS_UID = "00080016"
AVAILABLE_TRANSFER_SYNTAX_UID = "00083002"

IsCancelled = Callable[[], bool]


class Selected(NamedTuple):
    """An instance that a retrieval addresses."""

    reference: Reference
    sop_class_uid: str
    transfer_syntax_uid: str  # empty where it is not known before the instance is there


def selected_of(found: Attributes) -> Selected:
    """Return what a search for instances has found as the instance that is to be sent."""
    study, series, instance, sop_class, syntax = (
        str(next(iter(found.get(tag, {}).get("Value", ())), None) or "")
        for tag in (
            STUDY_INSTANCE_UID,
            SERIES_INSTANCE_UID,
            SOP_INSTANCE_UID,
            SOP_CLASS_UID,
            AVAILABLE_TRANSFER_SYNTAX_UID,
        )
    )
    return Selected(Reference(study, series, instance), sop_class, syntax)


class DataSet(NamedTuple):
    """An instance opened to be sent: what its file has from `start` on."""

    file: StoredFile
    start: int
    transfer_syntax_uid: str


class Source(Protocol):
    """Answers queries and retrievals. Who has to wait asks `is_cancelled` meanwhile, and raises Cancelled."""

    @property
    def name(self) -> str:
        """What the log calls it."""

    @property
    def matches_every_key(self) -> bool:
        """Whether a key that it does not return was matched nevertheless."""

    def search(self, query: Query, is_cancelled: IsCancelled) -> Iterator[Attributes]:
        """Yield the attributes of everything that matches; raises ArchiveError."""

    def select(self, query: Query, is_cancelled: IsCancelled) -> list[Selected]:
        """Return the instances that unique keys address; raises ArchiveError."""

    def open(self, selected: Selected, accepted: Collection[str], is_cancelled: IsCancelled) -> DataSet:
        """Open an instance in one of the accepted transfer syntaxes; raises ArchiveError."""


class OneCollection:
    """What a collection holds that is public when it is asked; raises NotFound while it is not."""

    matches_every_key = True

    def __init__(self, archive: Archive, slug: str) -> None:
        self._archive, self._slug, self._whole = archive, slug, OwnArchive(archive)
        self.name = f"collection {slug}"

    def search(self, query: Query, is_cancelled: IsCancelled) -> Iterator[Attributes]:
        """Yield every member that matches, or what it is part of, counted within the collection."""
        return self._whole.search(self._within(query), is_cancelled)

    def select(self, query: Query, is_cancelled: IsCancelled) -> list[Selected]:
        """Return the members that unique keys address."""
        return self._whole.select(self._within(query), is_cancelled)

    def open(self, selected: Selected, accepted: Collection[str], is_cancelled: IsCancelled) -> DataSet:
        """Open a member; raises ArchiveError, as of one that is a member no more."""
        return self._whole.open(selected, accepted, is_cancelled)

    def _within(self, query: Query) -> Query:
        return replace(query, scope=scope_of(self._archive, self._slug).number)


class OwnArchive:
    """What we hold ourselves."""

    name = "archive"
    matches_every_key = True

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def search(self, query: Query, is_cancelled: IsCancelled) -> Iterator[Attributes]:
        """Yield everything that matches, as it is read."""
        del is_cancelled  # nobody has to wait long
        return search_attributes(self._archive, query)

    def select(self, query: Query, is_cancelled: IsCancelled) -> list[Selected]:
        """Return what the catalogue's columns say of them; no document is read."""
        del is_cancelled
        return [Selected(*found) for found in locate_instances(self._archive, query)]

    def open(self, selected: Selected, accepted: Collection[str], is_cancelled: IsCancelled) -> DataSet:
        """Open the instance as stored, or converted; raises ArchiveError."""
        del is_cancelled
        held = retrieve_instance(self._archive, selected.reference)
        syntax = chosen_syntax(held, accepted)
        file, start = open_data_set(self._archive, held, syntax)
        return DataSet(file, start, syntax)
