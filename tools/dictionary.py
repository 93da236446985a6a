"""`python -m tools.dictionary`: writes app/dicom/dictionary.json, what pydicom knows of PS3.6 and PS3.5 6.1.

The server does not ask pydicom itself: to import it takes as long as to read a thousand files.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from pydicom._dicom_dict import DicomDictionary, RepeatersDictionary
from pydicom.charset import CODES_TO_ENCODINGS, STAND_ALONE_ENCODINGS, python_encoding

PATH = Path(__file__).parents[1] / "app/dicom/dictionary.json"


def contents() -> bytes:
    """Return the file as it should be."""
    elements: Mapping[int, tuple[str, ...]] = DicomDictionary
    repeated: Mapping[str, tuple[str, ...]] = RepeatersDictionary
    tables: dict[str, Any] = {
        # Tag: VR, VM, keyword. An `x` in a repeated one stands for any digit.
        "elements": {f"{tag:08X}": (row[0], row[1], row[4]) for tag, row in elements.items()},
        "repeated": {tag: (row[0], row[1], row[4]) for tag, row in repeated.items()},
        "character_sets": python_encoding,
        "escapes": {escape.decode("ascii"): codec for escape, codec in CODES_TO_ENCODINGS.items()},
        "without_code_extensions": STAND_ALONE_ENCODINGS,
    }
    return orjson.dumps(tables).replace(b'],"', b'],\n"') + b"\n"


if __name__ == "__main__":
    PATH.write_bytes(contents())
