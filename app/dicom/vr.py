"""Which VR an element really has, where its header does not say (PS3.5 6.2.2, PS3.6 6)."""

from mmap import mmap

from app.dicom.data_set import Ambiguous, DataSet, Element, Findings
from app.dicom.encoding import (
    IMPLICIT_LITTLE,
    Encoding,
    dictionary_vr,
    is_private,
    is_private_creator,
    private_vr,
)
from app.dicom.json_model import VRS
from app.errors import Unreadable

_LUT_DATA = "00283006"
_LUT_DESCRIPTOR = "00283002"
_PIXEL_REPRESENTATION = "00280103"
_DEPENDING = frozenset({"US or SS", "US or OW"})
_LONGEST_KNOWN = 0xFFFF  # longer values are of VR UN because their own VR cannot say so


def depends_on_others(vr: str) -> bool:
    """Tell whether other attributes decide between the VRs of a choice."""
    return vr in _DEPENDING


def settled(vr: str) -> str:
    """Settle what implicit VR settles by itself: OW for "OB or OW" (PS3.5 A.1)."""
    return "OW" if " or " in vr else vr


def chosen(element: Ambiguous) -> str:
    """Choose the VR of an element that depends on others, all of them read."""
    if element.tag == _LUT_DATA:
        return "US" if element.data_set.first(_LUT_DESCRIPTOR) == 1 else "OW"
    return "SS" if element.data_set.first(_PIXEL_REPRESENTATION) == 1 else "US"


def better_known(
    buffer: bytes | mmap, data_set: DataSet, encoding: Encoding, element: Element, findings: Findings
) -> Element:
    """Look up an element of VR UN, or of a VR that PS3.5 does not have, in the dictionaries."""
    if element.vr == "??":
        if element.length:  # a VR of the future has two reserved bytes of zero here (PS3.5 6.2)
            raise Unreadable(f"{element} has a Value Representation that does not exist")
        (length,) = encoding.unpack_length(buffer, element.start)
        findings.note(f"{element} has an unknown Value Representation, read as UN")
        return element._replace(vr="UN", start=element.start + 4, length=length)
    vr = _known_vr(data_set, element)
    if encoding.big_endian or (vr not in VRS and " or " not in vr):
        return element
    if vr == "SQ" and encoding.explicit and not _begins_with_item(buffer, element):
        return element
    return element._replace(vr=vr)


def _known_vr(data_set: DataSet, element: Element) -> str:
    if is_private_creator(element.tag):
        return "LO"
    if is_private(element.tag):
        creator = data_set.elements.get(f"{element.tag[:4]}00{element.tag[4:6]}", {}).get("Value", (None,))[0]
        return private_vr(element.tag, creator) if isinstance(creator, str) else "UN"
    return dictionary_vr(element.tag) if element.length < _LONGEST_KNOWN else "UN"


def _begins_with_item(buffer: bytes | mmap, element: Element) -> bool:
    return element.length == 0 or buffer[element.start : element.start + 4] == IMPLICIT_LITTLE.item
