"""What a scan makes of elements, as data to compare with."""

import orjson

from app.dicom.scan import ROOT, Scanned, scan
from tests.dicom.part10_bytes import EXPLICIT, IDENTIFIERS, instance


def document(scanned: Scanned) -> dict:
    """The DICOM JSON object, with nothing where the service root will stand."""
    return orjson.loads(scanned.document.replace(ROOT, b""))


def added(*elements: bytes, transfer_syntax_uid: str = EXPLICIT) -> dict:
    """The attributes that these elements add to an instance."""
    attributes = document(scan(instance(*elements, transfer_syntax_uid=transfer_syntax_uid)))
    return {tag: value for tag, value in attributes.items() if int(tag, 16) not in IDENTIFIERS}
