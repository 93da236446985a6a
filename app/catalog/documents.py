"""DICOM JSON (PS3.18 Annex F) as the catalogue keeps it.

Links in it begin with the raw byte 0x01 where the service root goes, which depends on the door it is asked
through. JSON never holds a raw control byte, so one `replace` makes the final text. `parse` and `dump` go
through the escaped form of that byte.
"""

import zlib
from pathlib import Path
from typing import Any

import orjson

from app.dicom.scan import ROOT

Attributes = dict[str, dict[str, Any]]

ROOT_TEXT = ROOT.decode()

# What documents of photographs have in common: with it they take a quarter of the room that they take
# without, and less time. What is packed needs it back to the last byte, so it never changes:
# another one is another file and another edition.
_DICTIONARY = Path(__file__).with_name("dictionary_1.json").read_bytes()
_EDITION = b"\x01"
_PLAIN = b"\x00"
_SHORT_BYTES = 512
_WINDOW_BYTES = 2**13
# What fits in takes no more room with a small state; copied, it need not read the dictionary each time.
# Level 3 finds longer matches than 1, and with fewer of them to write takes no more time.
_SMALL = zlib.compressobj(3, wbits=13, memLevel=5, zdict=_DICTIONARY)


def pack(document: bytes) -> bytes:
    """Return DICOM JSON compressed for the catalogue."""
    is_small = len(document) <= _WINDOW_BYTES
    compressor = _SMALL.copy() if is_small else zlib.compressobj(3, zdict=_DICTIONARY)
    return _EDITION + compressor.compress(document) + compressor.flush()


def pack_lightly(document: bytes) -> bytes:
    """Return JSON packed where that is worth the time: short texts are kept as they are."""
    return pack(document) if len(document) > _SHORT_BYTES else _PLAIN + document


def unpack(packed: bytes) -> bytes:
    """Return the DICOM JSON that was packed."""
    if packed[:1] == _PLAIN:
        return packed[1:]
    return zlib.decompressobj(zdict=_DICTIONARY).decompress(memoryview(packed)[1:])


def parse(document: bytes) -> Attributes:
    """Return the attributes of a JSON object."""
    attributes: Attributes = orjson.loads(document.replace(ROOT, b"\\u0001"))
    return attributes


def dump(attributes: Attributes) -> bytes:
    """Return the JSON object, its attributes in ascending order (F.2.2)."""
    return dump_ordered(dict(sorted(attributes.items())))


def dump_ordered(attributes: Attributes) -> bytes:
    """Return the JSON object of attributes that stand in ascending order already."""
    return orjson.dumps(attributes).replace(b'"\\u0001/', b'"' + ROOT + b"/")
