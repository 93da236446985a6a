"""Walking the elements of a data set (PS3.5 chapter 7) into the DICOM JSON Model, within limits.

The walk is the hot path of indexing: one table look-up and one conversion for an ordinary element; all else
(sequences, bulk data, ambiguous VRs, disorder) goes through ``_special``. What cannot be read raises
Unreadable with the tag and the byte; what is merely odd leaves a warning.
"""

from itertools import repeat
from mmap import mmap

from app.dicom.character_sets import Repertoire
from app.dicom.data_set import (
    Ambiguous,
    DataSet,
    Element,
    ElementFields,
    Findings,
    PixelData,
    Reference,
    as_written,
)
from app.dicom.encoding import (
    IMPLICIT_LITTLE,
    IN_FOUR_BYTES,
    ITEM_END,
    OFFSET_TABLES,
    PIXEL_DATA,
    PIXELS,
    SPECIFIC_CHARACTER_SET,
    VALUE_LIMITS,
    Encoding,
)
from app.dicom.fragments import read_fragments
from app.dicom.frames import Segment
from app.dicom.json_model import NUMBER_VRS, WORD_SIZES, Attribute
from app.dicom.vr import better_known, chosen, depends_on_others, settled
from app.errors import Unreadable

DEPTH = 32
ITEMS = 50_000
ELEMENTS = 200_000
INLINE_VALUE = 1 << 20  # bytes of one value that stands in the document for want of another place
INLINE_TOTAL = 16 << 20

_UNDEFINED = 0xFFFFFFFF
_SWAPPED_VRS = frozenset(NUMBER_VRS) | frozenset(WORD_SIZES)  # byte order matters
_CHUNK = 1 << 20
_BACKSLASH = ord("\\")


class Walk:
    """Reads one data set; ``findings`` is what it met beside the attributes."""

    def __init__(self, buffer: bytes | mmap, *, addressable: bool, most_elements: int | None = None) -> None:
        """Take the bytes; ``addressable`` if offsets in them are offsets in the file."""
        self.findings = Findings()
        self._buffer = buffer
        self._addressable = addressable
        self._most_elements = most_elements or ELEMENTS
        self._budget = repeat(None, self._most_elements)
        self._items = 0
        self._inline = 0

    def root(self, encoding: Encoding, start: int, stop: int) -> dict[str, Attribute]:
        """Attributes of the data set in ``buffer[start:stop]``; Unreadable if it cannot be read."""
        data_set = DataSet(Repertoire((), self.findings.note))
        self._walk(data_set, encoding, start, stop, delimited=False)
        for one in self.findings.ambiguous:
            value = self._value(one.data_set, one.tag, chosen(one), one.place, IMPLICIT_LITTLE)
            one.data_set.elements[one.tag] = value
        return data_set.finished()

    def _walk(
        self, data_set: DataSet, encoding: Encoding, position: int, stop: int, *, delimited: bool
    ) -> int:
        """Read up to ``stop``, or up to the Item Delimitation Item; return where the next thing begins."""
        buffer, elements, repertoire = self._buffer, data_set.elements, data_set.repertoire
        headers, plain = encoding.headers, not repertoire.has_escapes
        last, tag, previous = stop - 8, "", ""
        for _ in self._budget:
            if position > last:
                break
            start = position + 8
            tag, vr, convert, limit, length, is_text = headers[buffer[position:start]]
            if length == IN_FOUR_BYTES:
                (length,) = encoding.unpack_length(buffer, start)
                start += 4
            if tag > previous:
                previous = tag
            else:
                self._disorder(data_set, tag, vr)
            if length <= limit:
                position = start + length  # if this is past the end, the loop ends and says so
                raw = buffer[start:position]
                if is_text and plain and raw.isascii() and _BACKSLASH not in raw:
                    text = raw.decode().rstrip(" \0")
                    elements[tag] = {"vr": vr, "Value": (text,)} if text else {"vr": vr}
                else:
                    elements[tag] = convert(raw, repertoire)
            elif tag == ITEM_END and delimited:
                return start
            else:
                fields = (tag, vr, position, start, length, stop)
                position, repertoire = self._special(data_set, encoding, fields), data_set.repertoire
                plain = not repertoire.has_escapes
        else:
            raise Unreadable(f"the data set has more than {self._most_elements} elements")
        if position != stop or delimited:
            self._check_end(data_set, tag, position, stop, delimited=delimited)
        return stop

    def _check_end(self, data_set: DataSet, tag: str, position: int, stop: int, *, delimited: bool) -> None:
        """Tell why the last element does not end where its data set does."""
        if position > stop:
            raise Unreadable(
                f"{as_written(tag)} ends {position - stop} bytes after its data set, at byte {stop}"
            )
        if delimited:
            raise Unreadable(f"an item has no Item Delimitation Item before byte {stop}")
        left = self._buffer[position:stop]
        if left.strip(b"\0") or data_set.parent:
            raise Unreadable(f"the data set ends within the header of an element, at byte {position}")
        self.findings.note(f"{len(left)} zero bytes follow the data set")

    def _disorder(self, data_set: DataSet, tag: str, vr: str) -> None:
        data_set.unsorted = True
        if tag in data_set.elements:
            self.findings.note(f"{as_written(tag)} is there more than once; the last one counts")
        elif vr:
            self.findings.note(f"{as_written(tag)} is out of order")

    def _special(self, data_set: DataSet, encoding: Encoding, fields: ElementFields) -> int:
        """Read an element that is not ordinary; return where the next one begins."""
        tag, vr, _, start, length, stop = fields
        if vr == "SQ":
            return self._sequence(data_set, encoding, fields)
        element = Element(*fields)
        if not vr or tag < "0004":
            return self._misplaced(data_set, encoding, element)
        if vr in {"UN", "??"}:
            element = better_known(self._buffer, data_set, encoding, element, self.findings)
            _, vr, _, start, length, _ = element
            if vr == "SQ" or (vr == "UN" and length == _UNDEFINED):
                return self._sequence(data_set, IMPLICIT_LITTLE, element)  # PS3.5 6.2.2 note 2
        if length == _UNDEFINED:
            return self._encapsulated(data_set, encoding, element)
        place = Segment(start, length) if length <= stop - start else self._cut_off(data_set, element)
        if not tag.endswith("0000"):  # group lengths are left out (PS3.18 F.2.2)
            self._keep(data_set, encoding, element, place)
        return place.offset + place.length

    def _misplaced(self, data_set: DataSet, encoding: Encoding, element: Element) -> int:
        """Tags that may not stand in a data set, and elements without VR; zeros at the end are harmless."""
        if element.tag == "00000000" and not data_set.parent and self._only_zeros(element):
            self.findings.note(f"{element.stop - element.position} zero bytes follow the data set")
            return element.stop
        if element.tag.startswith("FFFE"):
            raise Unreadable(f"{element} is part of a sequence and stands where an attribute is due")
        if element.tag < "0004" or not encoding.explicit:
            raise Unreadable(f"{element} does not belong in a data set (PS3.5 7.1)")
        raise Unreadable(f"{element} has no Value Representation, which Explicit VR needs")

    def _only_zeros(self, element: Element) -> bool:
        return not any(
            self._buffer[start : min(start + _CHUNK, element.stop)].strip(b"\0")
            for start in range(element.position, element.stop, _CHUNK)
        )

    def _cut_off(self, data_set: DataSet, element: Element) -> Segment:
        """Return what is there of a value that ends after its data set: of an image that is of use."""
        left = element.stop - element.start
        if left < 0 or element.tag not in PIXELS or data_set.parent:
            raise _too_long(element)
        self.findings.note(f"the file ends {element.length - left} bytes before the end of its pixel data")
        return Segment(element.start, left)

    def _keep(self, data_set: DataSet, encoding: Encoding, element: Element, place: Segment) -> None:
        tag, vr = element.tag, element.vr
        if tag in OFFSET_TABLES and not data_set.parent:
            self.findings.offset_tables[tag] = place
        if tag in PIXELS and not data_set.parent:
            self.findings.pixels = PixelData(
                tag, settled(vr), place, element.length, None, encoding.big_endian
            )
        if depends_on_others(vr):
            attribute: Attribute = {"vr": vr}  # its place in the order
            self.findings.ambiguous.append(Ambiguous(data_set, tag, place))
        else:
            attribute = self._value(data_set, tag, settled(vr), place, encoding)
        data_set.elements[tag] = attribute
        if tag == SPECIFIC_CHARACTER_SET:
            terms = [str(term or "") for term in attribute.get("Value", ())]
            data_set.repertoire = Repertoire(terms, self.findings.note)

    def _value(self, data_set: DataSet, tag: str, vr: str, place: Segment, encoding: Encoding) -> Attribute:
        """Make the attribute object: with its value, or waiting for a URI, or with a warning."""
        offset, length = place
        pixels = tag in PIXELS and length > 0
        if pixels or length > VALUE_LIMITS.get(vr, length):
            addressable = self._addressable and not (encoding.big_endian and vr in _SWAPPED_VRS)
            if addressable or (pixels and not data_set.parent):
                return self._refer(data_set, tag, vr, place if addressable else None)
            if not self._fits(length):
                self.findings.note(
                    f"{as_written(tag)}, {length} bytes, is left out of the metadata: "
                    "it is long, and a deflated or big endian file has no bytes to refer to"
                )
                return {"vr": vr}
        elif not self._fits(length):
            raise Unreadable(
                f"{as_written(tag)} is {length} bytes long: values of {vr} may have {INLINE_VALUE}, "
                f"all metadata together {INLINE_TOTAL}"
            )
        raw = self._buffer[offset : offset + length]
        return encoding.converters[vr](raw, data_set.repertoire)

    def _fits(self, length: int) -> bool:
        self._inline += length
        return length <= INLINE_VALUE and self._inline <= INLINE_TOTAL

    def _refer(self, data_set: DataSet, tag: str, vr: str, place: Segment | None) -> Attribute:
        attribute: Attribute = {"vr": vr}
        self.findings.references.append(Reference(data_set.path() + tag, attribute, place))
        return attribute

    def _sequence(self, data_set: DataSet, encoding: Encoding, fields: ElementFields) -> int:
        """Read a sequence of items (PS3.5 7.5); return where the next element begins."""
        tag, _, _, position, length, stop = fields
        if data_set.depth >= DEPTH:
            raise Unreadable(f"{Element(*fields)} is nested deeper than {DEPTH} sequences")
        delimited = length == _UNDEFINED
        if not delimited:
            if length > stop - position:
                raise _too_long(Element(*fields))
            stop = position + length
        items: list[dict[str, Attribute]] = []
        while delimited or position < stop:
            if stop - position < 8:
                raise Unreadable(f"{Element(*fields)} ends within the header of an item, at byte {position}")
            key, length = encoding.unpack_item(self._buffer, position)
            position += 8
            if key != encoding.item:
                if key == encoding.sequence_end and (delimited or position == stop):
                    break
                raise Unreadable(f"{Element(*fields)} has neither an item nor its end at byte {position - 8}")
            item = DataSet(data_set.repertoire, data_set, tag, len(items))
            position = self._item(item, encoding, position, length, stop)
            items.append(item.finished())
        data_set.elements[tag] = {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
        return position

    def _item(self, item: DataSet, encoding: Encoding, position: int, length: int, stop: int) -> int:
        self._items += 1
        if self._items > ITEMS:
            raise Unreadable(f"the data set has more than {ITEMS} items")
        if length == _UNDEFINED:
            return self._walk(item, encoding, position, stop, delimited=True)
        if length > stop - position:
            raise Unreadable(
                f"an item at byte {position - 8} has {length} bytes, but {stop - position} are left"
            )
        return self._walk(item, encoding, position, position + length, delimited=False)

    def _encapsulated(self, data_set: DataSet, encoding: Encoding, element: Element) -> int:
        """Fragments (PS3.5 A.4): those of the image are its frames; elsewhere one fragment is one value."""
        tag, vr = element.tag, "OB" if " or " in element.vr else element.vr
        if vr not in {"OB", "OW"}:
            raise Unreadable(f"{element} has an undefined length, which {vr} cannot have")
        fragments, position = read_fragments(self._buffer, encoding, element, self.findings)
        if tag == PIXEL_DATA and not data_set.parent:
            place = Segment(element.start, position - element.start)
            self.findings.pixels = PixelData(tag, vr, place, _UNDEFINED, fragments, encoding.big_endian)
            data_set.elements[tag] = self._refer(data_set, tag, vr, None)
        elif len(fragments) == 2 and self._addressable:
            data_set.elements[tag] = self._refer(data_set, tag, vr, fragments[1])
        else:
            self.findings.note(f"{element} is encapsulated and left out of the metadata")
            data_set.elements[tag] = {"vr": vr}
        return position


def _too_long(element: Element) -> Unreadable:
    left = max(element.stop - element.start, 0)
    return Unreadable(f"{element} has a value of {element.length} bytes, but {left} are left")
