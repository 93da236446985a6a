"""Encapsulated pixel data: a Basic Offset Table and fragments (PS3.5 A.4)."""

from mmap import mmap

from app.dicom.data_set import Element, Findings
from app.dicom.encoding import Encoding
from app.dicom.frames import Segment
from app.errors import Unreadable

FRAGMENTS = 1_000_000


def read_fragments(
    buffer: bytes | mmap, encoding: Encoding, element: Element, findings: Findings
) -> tuple[tuple[Segment, ...], int]:
    """Find all items of a value of undefined length, and where the next element begins.

    The first is the Basic Offset Table. Raises Unreadable if the file ends within an item; that it ends
    before the Sequence Delimitation Item leaves a warning.
    """
    unpack, item, stop = encoding.unpack_item, encoding.item, element.stop
    places: list[Segment] = []
    position = element.start
    while stop - position >= 8:
        key, length = unpack(buffer, position)
        position += 8
        if key != item:
            if key == encoding.sequence_end:
                return tuple(places), position
            raise Unreadable(f"{element} has neither a fragment nor its end at byte {position - 8}")
        if length > stop - position:
            raise Unreadable(
                f"fragment {len(places)} of {element} has {length} bytes, but {stop - position} are left"
            )
        if len(places) > FRAGMENTS:
            raise Unreadable(f"{element} has more than {FRAGMENTS} fragments")
        places.append(Segment(position, length))
        position += length
    if position != stop:
        raise Unreadable(f"{element} ends within the header of a fragment")
    findings.note("the encapsulated pixel data have no Sequence Delimitation Item")
    return tuple(places), stop
