"""Data sets without File Meta Information, for the DICOM network (PS3.7 9.3.1): as stored, or converted."""

from collections.abc import Collection
from pathlib import Path

from app.archive.archive import Archive
from app.archive.retrieve import (
    convert,
    open_file,
    open_stored,
    retrieve_converted,
    retrieve_instance,
    stored_path,
)
from app.catalog.holdings import Held, Reference
from app.dicom.dicom_file import DicomFile
from app.dicom.media_types import LOSSY, supplied_syntaxes
from app.dicom.part10 import PREAMBLE, data_set_offset
from app.dicom.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from app.errors import ArchiveError, NotConvertible
from app.storage.interface import StoredFile

_PLAIN = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)
_COPY_BYTES = 1024 * 1024
_META_HEAD_BYTES = len(PREAMBLE) + 12


def chosen_syntax(held: Held, accepted: Collection[str]) -> str:
    """Return the transfer syntax to send: as stored if it is accepted, else native, else what loses nothing.

    Raises NotConvertible if none of the accepted ones can be made.
    """
    if held.transfer_syntax_uid in accepted:
        return held.transfer_syntax_uid
    supplied = set(supplied_syntaxes(held.transfer_syntax_uid, has_pixels=bool(held.frames)))
    if EXPLICIT_VR_LITTLE_ENDIAN in supplied:
        supplied.add(IMPLICIT_VR_LITTLE_ENDIAN)  # which DICOMweb may not send, and this network has to
    for uid in (*_PLAIN, *sorted(supplied - LOSSY)):
        if uid in accepted and uid in supplied:
            return uid
    raise NotConvertible(f"The instance is held in {held.transfer_syntax_uid}, which was not accepted.")


def holds_data_set(
    archive: Archive, reference: Reference, transfer_syntax_uid: str, file: Path, start: int
) -> bool:
    """Whether an instance is held with the data set that a file has from `start` on, byte for byte.

    What stands before it is the sender's: the same instance from two peers differs there.
    """
    try:
        held = retrieve_instance(archive, reference)
        if held.transfer_syntax_uid != transfer_syntax_uid:
            return False
        stored, stored_start = open_file(archive, held), _start(archive, held)
    except ArchiveError:
        return False
    with stored, file.open("rb") as other:
        other.seek(start)
        size = stored.size - stored_start
        if size != file.stat().st_size - start:
            return False
        return all(
            stored.read(stored_start + offset, length) == other.read(length)
            for offset in range(0, size, _COPY_BYTES)
            if (length := min(_COPY_BYTES, size - offset))
        )


def open_data_set(archive: Archive, held: Held, transfer_syntax_uid: str) -> tuple[StoredFile, int]:
    """Open the instance in a transfer syntax; return the file and where its data set begins.

    As stored no byte of it is read here. Errors as of open_stored(), NotConvertible, CagedFailure.
    """
    if transfer_syntax_uid == held.transfer_syntax_uid:
        return open_stored(archive, held), _start(archive, held)
    return _data_set_of_ours(retrieve_converted(archive, held, transfer_syntax_uid))


def convert_data_set(archive: Archive, file: DicomFile, transfer_syntax_uid: str) -> tuple[StoredFile, int]:
    """Convert any file, as open_data_set() converts what is held; raises NotConvertible or CagedFailure."""
    return _data_set_of_ours(convert(archive, file, transfer_syntax_uid))


def _start(archive: Archive, held: Held) -> int:
    if held.data_set is not None:
        return held.data_set
    return archive.cage.run(data_set_offset, stored_path(archive, held))


def _data_set_of_ours(file: StoredFile) -> tuple[StoredFile, int]:
    head = file.read(0, _META_HEAD_BYTES)  # of our own making: its group length is right
    return file, _META_HEAD_BYTES + int.from_bytes(head[-4:], "little")
