"""Files as the 2020 set is downloaded: DICOM without lesion, label and licence, named by the image.

One template, in which identifiers of a fixed length are replaced: thousands take seconds.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from io import BytesIO
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian, VLPhotographicImageStorage

from app.corpus.isic.rows import Row
from app.corpus.isic.uids import derive_uid

_STUDY, _SERIES, _INSTANCE = (f"2.25.{number}{'0' * 38}" for number in (7, 8, 9))
_PATIENT = "IP_0000000"


def plain_uid(kind: str, *names: str) -> str:
    """Return a UID of the length that all have."""
    number = int(derive_uid(f"plain {kind}", *names).removeprefix("2.25."))
    return f"2.25.{10**38 + number % 10**38}"


def plain_files(rows: Iterable[Row]) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of each image's file; a patient is a study of one series."""
    template = _template()
    for row in rows:
        patient = row.values["patient_id"]
        content = template
        for placeholder, value in (
            (_STUDY, plain_uid("study", patient)),
            (_SERIES, plain_uid("series", patient)),
            (_INSTANCE, plain_uid("instance", row.isic_id)),
            (_PATIENT, patient),
        ):
            if len(placeholder) != len(value):
                raise ValueError(f"{value} does not fit into the template")
            content = content.replace(placeholder.encode(), value.encode())
        yield f"train/{row.isic_id[-5:-2]}/{row.isic_id}.dcm", content


def write_plain_files(folder: Path, rows: Iterable[Row]) -> None:
    """Write the files below a folder."""
    for name, content in plain_files(rows):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@cache
def _template() -> bytes:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = VLPhotographicImageStorage
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID = _STUDY, _SERIES, _INSTANCE
    dataset.PatientID = dataset.PatientName = _PATIENT
    dataset.Modality = "XC"
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.PatientBirthDate = dataset.PatientSex = dataset.StudyDate = dataset.StudyTime = ""
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    dataset.Rows = dataset.Columns = 2
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = bytes(12)
    out = BytesIO()
    dcmwrite(out, dataset, enforce_file_format=True)
    return out.getvalue()
