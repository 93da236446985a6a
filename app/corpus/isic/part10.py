"""A data set to a file (PS3.10 7): the same bytes on every machine."""

from io import BytesIO
from pathlib import Path

from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomIO
from pydicom.uid import UID, JPEGBaseline8Bit

from app.corpus.isic.levels import Frames
from app.corpus.isic.uids import derive_uid
from app.dicom.pixel_writing import write_encapsulated

# Constant: they name the way of writing, and must not differ from machine to machine.
IMPLEMENTATION_CLASS_UID = UID(derive_uid("implementation", "1"))
IMPLEMENTATION_VERSION_NAME = "DERMZOO_ISIC_1"


def write_part10(dataset: Dataset) -> bytes:
    """Return the file of a data set whose pixels are one JPEG Baseline frame."""
    dataset.file_meta = _file_meta(dataset, JPEGBaseline8Bit)
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def write_with_frames(dataset: Dataset, frames: Frames, transfer_syntax_uid: str, path: Path) -> None:
    """Write the file of a data set without pixels and, behind it, its frames, one at a time."""
    dataset.file_meta = _file_meta(dataset, UID(transfer_syntax_uid))
    with path.open("w+b") as file:
        dcmwrite(file, dataset, enforce_file_format=True)
        out = DicomIO(file)
        out.is_little_endian, out.is_implicit_VR = True, False
        write_encapsulated(out, frames, len(frames))


def _file_meta(dataset: Dataset, transfer_syntax_uid: UID) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = transfer_syntax_uid
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return meta
