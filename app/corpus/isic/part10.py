"""A data set to the bytes of a file (PS3.10 7): JPEG Baseline, and the same bytes on every machine."""

from io import BytesIO

from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, JPEGBaseline8Bit

from app.corpus.isic.uids import derive_uid

# Constant: they name the way of writing, and must not differ from machine to machine.
IMPLEMENTATION_CLASS_UID = UID(derive_uid("implementation", "1"))
IMPLEMENTATION_VERSION_NAME = "DERMZOO_ISIC_1"


def write_part10(dataset: Dataset) -> bytes:
    """Return the file of a data set whose pixels are one JPEG Baseline frame."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = JPEGBaseline8Bit
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    dataset.file_meta = meta
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()
