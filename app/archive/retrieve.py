"""Reading what is held, for WADO-RS and C-GET alike: the file as received, or converted in the cage."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from app.archive.archive import Archive
from app.archive.caged import transcode, transcode_frames
from app.archive.scratch import scratch_file
from app.archive.terms import licensed_among, require_terms
from app.catalog.holdings import Held, Reference, documents, held_instances
from app.dicom.dicom_file import DicomFile
from app.dicom.frames import count_frames
from app.dicom.media_types import EXPLICIT_VR_LITTLE_ENDIAN
from app.errors import InstanceUnavailable, NotFound
from app.storage.in_place import open_in_place, real_name
from app.storage.interface import StoredFile

T = TypeVar("T")


def retrieve_instances(archive: Archive, reference: Reference) -> list[Held]:
    """Return what is held of a study, series or instance; raises NotFound."""
    with archive.catalog.read() as connection:
        return held_instances(connection, reference)


def retrieve_instance(archive: Archive, reference: Reference) -> Held:
    """Return the one instance; raises NotFound."""
    return retrieve_instances(archive, reference)[0]


def retrieve_metadata(
    archive: Archive, reference: Reference, licences: Collection[str] | None = None
) -> list[bytes]:
    """Return the DICOM JSON of each instance; the byte 0x01 stands for the service root.

    With `licences` of those alone that are under one of them, which may be none.
    """
    with archive.catalog.read() as connection:
        return documents(connection, reference, licences)


def retrieve_licensed(archive: Archive, reference: Reference) -> tuple[list[Held], int]:
    """Return what is held and may be served with its pixels, and how many instances may not.

    Raises NotFound, and NotLicensed when none may.
    """
    instances = retrieve_instances(archive, reference)
    licensed = licensed_among(archive.settings, instances)
    if not licensed:
        require_terms(archive.settings, instances[0])
    return licensed, len(instances) - len(licensed)


def retrieve_licensed_instance(archive: Archive, reference: Reference) -> Held:
    """Return the one instance, whose pixels may be served; raises NotFound or NotLicensed."""
    return retrieve_licensed(archive, reference)[0][0]


def open_stored(archive: Archive, held: Held) -> StoredFile:
    """Open the bytes as stored, to serve them.

    Raises NotLicensed, and InstanceUnavailable when they are not what the catalogue says.
    """
    require_terms(archive.settings, held)
    return open_file(archive, held)


def open_file(archive: Archive, held: Held) -> StoredFile:
    """Open the bytes as stored, of which no pixels are served; raises InstanceUnavailable."""
    if held.folder is not None:
        return open_in_place(held.folder, held.name, held.size, held.mtime_ns)
    opened = archive.storage.open(held.name)
    if opened.size != held.size:
        opened.close()
        raise InstanceUnavailable("A managed file does not have the length that the catalogue says.")
    return opened


def readable_instances(archive: Archive, instances: Iterable[Held]) -> set[str]:
    """Return the SOP Instance UIDs of those whose bytes are what the catalogue says; blocks."""
    readable = set()
    for held in instances:
        try:
            open_file(archive, held).close()
        except InstanceUnavailable:
            continue
        readable.add(held.sop_instance_uid)
    return readable


def stored_path(archive: Archive, held: Held) -> str:
    """Return the path of the file as stored, for a child process to read."""
    if held.folder is not None:
        return f"{real_name(held.folder)}/{real_name(held.name)}"
    return str(archive.storage.path_of(held.name))


def file_of(archive: Archive, held: Held) -> DicomFile:
    """Return what a child process needs to make what is served; errors as of open_stored()."""
    require_terms(archive.settings, held)
    return looked_into(archive, held)


def looked_into(archive: Archive, held: Held) -> DicomFile:
    """Return what a child process needs to look at pixels that are not served; errors as of open_file()."""
    open_file(archive, held).close()  # it is what the catalogue says
    return DicomFile(
        stored_path(archive, held), held.transfer_syntax_uid, held.prefix or b"", held.offset, held.frames
    )


@dataclass(frozen=True, slots=True)
class Image:
    """A held instance as archive/render.py wants it."""

    path: str
    prefix: bytes
    offset: int
    sha256: str
    transfer_syntax_uid: str
    photometric_interpretation: str | None
    samples_per_pixel: int | None
    frames: bytes


def image_of(archive: Archive, held: Held) -> Image:
    """Return what pictures are made from; raises NotFound for an instance without frames."""
    if not held.frames:
        raise NotFound(f"The instance {held.sop_instance_uid} has no image to show.")
    file = file_of(archive, held)
    return Image(
        path=file.path,
        prefix=file.prefix,
        offset=file.offset,
        sha256=held.sha256.hex(),
        transfer_syntax_uid=held.transfer_syntax_uid,
        photometric_interpretation=held.photometric_interpretation,
        samples_per_pixel=held.samples_per_pixel,
        frames=held.frames,
    )


def retrieve_converted(
    archive: Archive, held: Held, transfer_syntax_uid: str = EXPLICIT_VR_LITTLE_ENDIAN
) -> StoredFile:
    """Return the instance in another transfer syntax, in a file that goes when closed.

    Native colour is RGB. Raises NotConvertible or CagedFailure.
    """
    return convert(archive, file_of(archive, held), transfer_syntax_uid)


def retrieve_converted_frames(
    archive: Archive, held: Held, numbers: Sequence[int], transfer_syntax_uid: str = EXPLICIT_VR_LITTLE_ENDIAN
) -> tuple[list[int], StoredFile]:
    """Return the lengths of frames in another transfer syntax and a file that holds them one after the other.

    Native samples are little endian, colour is RGB. Raises NotFound, NotConvertible or CagedFailure.
    """
    count = count_frames(held.frames)
    for number in numbers:
        if not 1 <= number <= count:
            raise NotFound(f"There is no frame {number}; the instance has {count}.")
    return _in_scratch(archive, transcode_frames, file_of(archive, held), tuple(numbers), transfer_syntax_uid)


def convert(archive: Archive, file: DicomFile, transfer_syntax_uid: str) -> StoredFile:
    """Return any file in another transfer syntax, as retrieve_converted() does."""
    return _in_scratch(archive, transcode, file, transfer_syntax_uid)[1]


def _in_scratch(archive: Archive, function: Callable[..., T], *arguments: object) -> tuple[T, StoredFile]:
    """Run `function(*arguments, target path)` in the cage; return its result and the open target."""
    with scratch_file(archive) as target:
        result = archive.cage.run(function, *arguments, target.path)
        return result, target.opened()
