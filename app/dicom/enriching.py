"""A copy of a file with attributes in it that were shown beside it. All of this runs inside the cage."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from pydicom.dataset import Dataset
from pydicom.filewriter import write_dataset

from app.dicom.dicom_file import DicomFile
from app.dicom.pixel_writing import PIXEL_DATA, begin_file, copy_pixels
from app.dicom.private_block import CREATOR, CREATOR_TAG, GROUP
from app.dicom.uids import DEFLATED, EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN
from app.errors import NotConvertible

_FIRST_OF_PIXELS = 0x7FE00000


def enrich(file: DicomFile, shown: bytes, target_path: str) -> int:
    """Write a copy of a file to a path, with the attributes of a DICOM JSON object; return its length.

    Elements of our private block stand in block 10 there, and replace all of it in the file. Pixels are
    copied as they are; a deflated file is written as Explicit VR Little Endian. The instance keeps its UIDs:
    what is added was said of this very image. Raises NotConvertible for Explicit VR Big Endian.
    """
    if file.transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN:
        raise NotConvertible("Explicit VR Big Endian is retired: retrieve the instance converted")
    deflated = file.transfer_syntax_uid in DEFLATED
    syntax = EXPLICIT_VR_LITTLE_ENDIAN if deflated else file.transfer_syntax_uid
    dataset, place = file.read_all_but_pixels()
    _add(dataset, orjson.loads(shown))
    with Path(target_path).open("wb") as target:
        out = begin_file(target, dataset, syntax)
        if place is None:
            write_dataset(out, dataset)
        else:
            write_dataset(out, dataset[:_FIRST_OF_PIXELS])
            copy_pixels(out, file, place, dataset)
            write_dataset(out, dataset[PIXEL_DATA + 1 :])
        return target.tell()


def _add(dataset: Dataset, shown: Mapping[str, Mapping[str, Any]]) -> None:
    added = Dataset.from_json({tag: dict(attribute) for tag, attribute in shown.items()})
    if not orjson.dumps(shown).isascii():
        dataset.decode()
        dataset.SpecificCharacterSet = "ISO_IR 192"
    own = [element for element in added if element.tag.group == GROUP and element.tag.element >= 0x1000]
    if CREATOR_TAG in shown:
        block = dataset.private_block(GROUP, CREATOR, create=True)
        first = int(block.block_start)
        for element in dataset.group_dataset(GROUP):
            if first <= element.tag.element < first + 0x100:
                del dataset[element.tag]
        for element in own:
            block.add_new(element.tag.element & 0xFF, element.VR, element.value)
    for element in added:
        if element.tag.group != GROUP:
            dataset[element.tag] = element
