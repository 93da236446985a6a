"""What a data set says after its pixels were compressed with loss (PS3.3 C.7.6.1.1.5, C.12.4.1.1 to .3).

It is another image then: derived, under another SOP Instance UID, which names its source.
"""

from uuid import UUID, uuid5

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import UID

# The same image compressed in the same way has the same UID, whoever asks and whenever.
_NAMESPACE = UUID("5f0f4d2e-7f0c-4c59-9d8e-5a3f5f2a6f41")
_JPEG_METHOD = "ISO_10918_1"


def describe_lossy_compression(dataset: Dataset, transfer_syntax_uid: str, ratio: float) -> None:
    """Turn the description of a source into that of its version in JPEG Baseline."""
    was_lossy = dataset.get("LossyImageCompression") == "01"
    source = Dataset()
    source.ReferencedSOPClassUID = dataset.SOPClassUID
    source.ReferencedSOPInstanceUID = dataset.SOPInstanceUID
    # CID 7202; a source that is compressed itself is no "uncompressed predecessor".
    purpose = (
        ("121322", "Source of image processing operation")
        if was_lossy
        else ("121320", "Uncompressed predecessor")
    )
    source.PurposeOfReferenceCodeSequence = [_code(*purpose)]
    _append(dataset, "SourceImageSequence", source)
    _append(dataset, "DerivationCodeSequence", _code("113040", "Lossy Compression"))
    dataset.DerivationDescription = f"Lossy compression with JPEG Baseline (Process 1), ratio {ratio:.2f}"
    image_type = [*_values(dataset, "ImageType")][1:] or ["PRIMARY"]
    dataset.ImageType = ["DERIVED", *image_type]
    dataset.LossyImageCompression = "01"
    dataset.LossyImageCompressionRatio = [*_values(dataset, "LossyImageCompressionRatio"), f"{ratio:.2f}"]
    dataset.LossyImageCompressionMethod = [*_values(dataset, "LossyImageCompressionMethod"), _JPEG_METHOD]
    name = f"{dataset.SOPInstanceUID}\n{transfer_syntax_uid}"
    dataset.SOPInstanceUID = UID(f"2.25.{uuid5(_NAMESPACE, name).int}")


def _values(dataset: Dataset, keyword: str) -> list[object]:
    value = dataset.get(keyword)
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, MultiValue) else [value]


def _append(dataset: Dataset, keyword: str, item: Dataset) -> None:
    setattr(dataset, keyword, [*(dataset.get(keyword) or []), item])


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
    return code
