"""Taking instances in: staged files, read in the cage, made durable, catalogued, in that order.

Every door that receives files does it through here (PS3.18 10.5, PS3.4 Annex B):

    with taking_in(archive) as staging:
        staged = staging.new()          # and write, and finish
        results = store_staged(archive, staging, [staged])

What is answered after store_received() returned is on the disk and in the catalogue.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from app.archive.archive import Archive
from app.archive.data_sets import holds_data_set
from app.catalog.entry import Entry, read_entry
from app.catalog.files import is_managed
from app.catalog.holdings import Reference
from app.catalog.register import Location, Outcome
from app.dicom.parts import Composed
from app.errors import ArchiveError, DuplicateInstance, Gone, NotPublic
from app.storage.interface import StagedFile, Staging

_COPY_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Received:
    """A staged file after it was read: its entry, and what was wrong if it is not to be kept.

    `composed` is how it was made of metadata and bulk data, if it was.
    """

    staged: StagedFile
    entry: Entry | None = None
    error: ArchiveError | None = None
    composed: Composed | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a received file: stored (`error` is None), new or held before with the same bytes."""

    entry: Entry | None
    error: ArchiveError | None = None
    is_new: bool = False
    composed: Composed | None = None


@contextmanager
def taking_in(archive: Archive) -> Iterator[Staging]:
    """Stage files; on leaving, what no committed row names is deleted again."""
    staging = archive.storage.staging()
    try:
        with staging:
            yield staging
    finally:
        archive.registrar.catch_up(archive.catalog)
        if staging.has_unreleased:
            # If the catalogue is away or the disk is ill, the sweep of a later start does it.
            with suppress(ArchiveError):
                sweep(archive)


def sweep(archive: Archive, *, is_patient: bool = False) -> int:
    """Delete what dead writers staged, and kept without a row; return how many kept files went."""

    def is_catalogued(key: str) -> bool:
        with archive.catalog.read() as connection:
            return is_managed(connection, key)

    return archive.storage.sweep(is_catalogued, is_patient=is_patient)


def read_staged(archive: Archive, staging: Staging, staged: StagedFile) -> Received:
    """Read a finished staged file in the cage; one that is not a Part 10 file is staged again as one."""
    try:
        entry = _read(archive, staged)
        if entry.instance["prefix"]:
            staged = _normalised(staging, staged, entry)
            entry = _read(archive, staged)
    except ArchiveError as error:
        return Received(staged, error=error)
    return Received(staged, entry)


def _read(archive: Archive, staged: StagedFile) -> Entry:
    """Have a staged file read, and meanwhile wait for the disk."""
    return archive.cage.run(read_entry, str(staged.path), meanwhile=staged.sync)


def store_received(
    archive: Archive, staging: Staging, received: Sequence[Received], *, is_followed: bool = False
) -> list[Result]:
    """Keep what is new, in one transaction; return what became of each, in order.

    `is_followed`: others are likely to come one by one; after the last of them, archive.registrar catches up.
    The same bytes again are a success, and so is the same data set behind another File Meta Information: that
    is the sender's (PS3.10 7.1). Raises StorageFull, StorageFailed or CatalogUnavailable; then
    nothing of it is kept.
    """
    readable = [one for one in received if one.entry and one.error is None]
    outcomes = iter(_keep(archive, staging, readable, is_followed=is_followed))
    return [
        _result(archive, one, one.entry, next(outcomes))
        if one.entry and one.error is None
        else Result(one.entry, one.error, composed=one.composed)
        for one in received
    ]


def store_staged(archive: Archive, staging: Staging, staged: Sequence[StagedFile]) -> list[Result]:
    """Read and keep finished staged files; see read_staged() and store_received()."""
    return store_received(archive, staging, [read_staged(archive, staging, each) for each in staged])


def _keep(
    archive: Archive, staging: Staging, readable: Sequence[Received], *, is_followed: bool
) -> list[Outcome]:
    if not readable:
        return []
    # The first of files with the same bytes is kept; further names for it would be the same.
    entries = [each.entry for each in readable if each.entry]
    keys = [entry.sha256.hex() for entry in entries]
    staging.keep({key: each.staged for key, each in reversed(list(zip(keys, readable, strict=True)))})
    located = [(entry, Location(None, key)) for entry, key in zip(entries, keys, strict=True)]
    outcomes = archive.registrar.register(archive.catalog, located, is_followed=is_followed)
    staging.release(key for key, outcome in zip(keys, outcomes, strict=True) if outcome == Outcome.STORED)
    return outcomes


def _result(archive: Archive, received: Received, entry: Entry, outcome: Outcome) -> Result:
    error: ArchiveError | None = None
    if outcome == Outcome.CONFLICT and not _is_held(archive, received, entry):
        error = DuplicateInstance(
            f"SOP Instance UID {entry.sop_instance_uid} is held with other content; the first is kept."
        )
    if outcome == Outcome.WITHDRAWN:
        error = Gone(f"The instance {entry.sop_instance_uid} was withdrawn from this archive.")
    if outcome == Outcome.NOT_PUBLIC:
        error = NotPublic("This image is not public: nothing of it is kept here.")
    return Result(entry, error, is_new=outcome == Outcome.STORED, composed=received.composed)


def _is_held(archive: Archive, received: Received, entry: Entry) -> bool:
    reference = Reference(entry.study_instance_uid, entry.series_instance_uid, entry.sop_instance_uid)
    syntax, start = entry.instance["transfer_syntax_uid"], entry.instance["data_set"]
    return holds_data_set(archive, reference, syntax, received.staged.path, start)


def _normalised(staging: Staging, staged: StagedFile, entry: Entry) -> StagedFile:
    """Stage the file once more behind the preamble and file meta information that it lacks (PS3.10 7.1)."""
    whole = staging.new()
    whole.write(entry.instance["prefix"])
    with staged.path.open("rb") as content:
        content.seek(entry.instance["offset"])
        while piece := content.read(_COPY_BYTES):
            whole.write(piece)
    whole.finish()
    staging.drop(staged)
    return whole
