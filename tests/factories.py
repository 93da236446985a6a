"""Small valid instances in one line each.

    make_instance(patient_id="ISIC_1", rows=8)          a data set
    instance_bytes(make_instance())                     the same as a Part 10 file in memory
    write_instance(folder / "a.dcm", study="s1")        the same on disk

UIDs come from names: the same name is the same UID, in every test and on every machine.
"""

import uuid
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEGBaseline8Bit

from app.dicom import private_block

VL_PHOTOGRAPHIC = UID("1.2.840.10008.5.1.4.1.1.77.1.4")
NAMESPACE = uuid.UUID("6b2b1d1c-3c55-5b0e-9c1c-6f2f5b0f8a11")

# One colour per corner and a plain middle: a flip, a rotation or a swapped channel shows.
CORNERS = ((200, 40, 40), (40, 200, 40), (40, 40, 200), (200, 200, 40))
MIDDLE = (180, 120, 100)


def uid(name: str) -> UID:
    """A UID that depends on the name alone (PS3.5 B.2: 2.25 and a UUID as an integer)."""
    return UID(f"2.25.{uuid.uuid5(NAMESPACE, name).int}")


def make_pixels(rows: int = 16, columns: int = 24) -> np.ndarray:
    """An RGB picture of (rows, columns, 3) bytes with a different colour in each quarter's corner."""
    pixels = np.full((rows, columns, 3), MIDDLE, dtype=np.uint8)
    down, right = max(1, rows // 4), max(1, columns // 4)
    for colour, (y, x) in zip(CORNERS, ((0, 0), (0, 1), (1, 0), (1, 1)), strict=True):
        pixels[slice(-down, None) if y else slice(down), slice(-right, None) if x else slice(right)] = colour
    return pixels


def make_jpeg(rows: int = 16, columns: int = 24, quality: int = 95) -> bytes:
    """The same picture as a baseline JPEG (YCbCr 4:2:2)."""
    out = BytesIO()
    Image.fromarray(make_pixels(rows, columns)).save(out, "JPEG", quality=quality, subsampling="4:2:2")
    return out.getvalue()


def make_instance(
    name: str = "instance",
    *,
    study: str = "study",
    series: str = "series",
    rows: int = 16,
    columns: int = 24,
    frames: int = 1,
    jpeg: bool = False,
    **attributes: object,
) -> Dataset:
    """One VL Photographic instance; `attributes` are keywords that replace or add to the defaults.

    `name`, `study` and `series` are names, not UIDs: see uid(). A keyword given None is left out.
    """
    instance = Dataset()
    instance.file_meta = FileMetaDataset()
    instance.file_meta.TransferSyntaxUID = JPEGBaseline8Bit if jpeg else ExplicitVRLittleEndian
    values: dict[str, object] = {
        "SpecificCharacterSet": "ISO_IR 192",
        "ImageType": ["ORIGINAL", "PRIMARY"],
        "SOPClassUID": VL_PHOTOGRAPHIC,
        "SOPInstanceUID": uid(name),
        "StudyDate": "20200102",
        "StudyTime": "030405",
        "AccessionNumber": "",
        "Modality": "XC",
        "ReferringPhysicianName": "",
        "StudyDescription": "Dermoscopy",
        "PatientName": "Example^Anna",
        "PatientID": "EXAMPLE_1",
        "PatientBirthDate": "",
        "PatientSex": "F",
        "StudyInstanceUID": uid(study),
        "SeriesInstanceUID": uid(series),
        "StudyID": "",
        "SeriesNumber": 1,
        "InstanceNumber": 1,
        "SamplesPerPixel": 3,
        "PhotometricInterpretation": "YBR_FULL_422" if jpeg else "RGB",
        "PlanarConfiguration": 0,
        "Rows": rows,
        "Columns": columns,
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
        "LossyImageCompression": "01" if jpeg else "00",
    }
    if frames > 1:
        values["NumberOfFrames"] = frames
    for keyword, value in {**values, **attributes}.items():
        if value is not None:
            setattr(instance, keyword, value)
    if jpeg:
        instance.PixelData = encapsulate([make_jpeg(rows, columns)] * frames)
    else:
        data = make_pixels(rows, columns).tobytes() * frames
        instance.PixelData = data + b"\0" * (len(data) % 2)
    return instance


def with_facts(instance: Dataset, **facts: object) -> Dataset:
    """Give an instance our private block with these elements, named by their keywords; return it."""
    block = instance.private_block(private_block.GROUP, private_block.CREATOR, create=True)
    for number, element in private_block.PRIVATE_ELEMENTS.items():
        if element.keyword in facts:
            block.add_new(number, element.vr, facts[element.keyword])
    return instance


def instance_bytes(instance: Dataset | None = None, **arguments: object) -> bytes:
    """A Part 10 file in memory, of `instance` or of make_instance(**arguments)."""
    out = BytesIO()
    dcmwrite(out, instance if instance is not None else make_instance(**arguments), enforce_file_format=True)
    return out.getvalue()


def write_instance(path: Path, instance: Dataset | None = None, **arguments: object) -> Path:
    """A Part 10 file at `path`, of `instance` or of make_instance(**arguments); returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(instance_bytes(instance, **arguments))
    return path
