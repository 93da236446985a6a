"""Look-up tables of all kinds (PS3.3 C.11.1.1, C.11.2.1.1, C.11.4, C.7.6.3.1.5 and .6, C.7.9.2)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from app.errors import NotConvertible

_MOST_ENTRIES = 2**16
_DISCRETE, _LINEAR, _INDIRECT = 0, 1, 2  # segments of C.7.9.2


@dataclass(frozen=True, slots=True)
class LookupTable:
    """Entries for the inputs from `first` on; smaller and larger ones take the first and the last."""

    first: int
    bits: int
    entries: NDArray[np.uint16]

    def of(self, inputs: NDArray[Any]) -> NDArray[np.uint16]:
        """Look every input up."""
        indexes = np.clip(np.rint(inputs).astype(np.int64) - self.first, 0, len(self.entries) - 1)
        return np.asarray(self.entries[indexes], np.uint16)

    @property
    def top(self) -> int:
        """The largest value that an entry may have."""
        return (1 << self.bits) - 1

    @property
    def as_bytes(self) -> NDArray[np.uint8]:
        """Its entries scaled to 0 to 255."""
        if self.bits >= 8:
            return (self.entries >> (self.bits - 8)).astype(np.uint8)
        return (self.entries.astype(np.uint32) * 255 // self.top).astype(np.uint8)


def read_table(item: Dataset, *, is_signed: bool, is_big_endian: bool) -> LookupTable:
    """Read LUT Descriptor (0028,3002) and LUT Data (0028,3006) of an item; NotConvertible if broken."""
    return _table(
        item.get("LUTDescriptor"), item.get("LUTData"), is_signed=is_signed, is_big_endian=is_big_endian
    )


def read_palette(header: Dataset, colour: str, *, is_signed: bool, is_big_endian: bool) -> LookupTable:
    """Read the table of `Red`, `Green` or `Blue`, plain or segmented; NotConvertible if broken."""
    descriptor = header.get(f"{colour}PaletteColorLookupTableDescriptor")
    plain = header.get(f"{colour}PaletteColorLookupTableData")
    if plain:
        return _table(descriptor, plain, is_signed=is_signed, is_big_endian=is_big_endian)
    segmented = header.get(f"Segmented{colour}PaletteColorLookupTableData")
    entries, first, bits = _descriptor(descriptor, is_signed=is_signed)
    if not isinstance(segmented, bytes):
        raise NotConvertible(f"The palette has no {colour.lower()}.")
    words = np.frombuffer(
        segmented, _word(bits, is_big_endian=is_big_endian), len(segmented) // (1 if bits <= 8 else 2)
    )
    return LookupTable(first, bits, _expanded(words.tolist(), entries, is_wide=bits > 8))


def _table(descriptor: Any, data: Any, *, is_signed: bool, is_big_endian: bool) -> LookupTable:  # noqa: ANN401 - as read
    entries, first, bits = _descriptor(descriptor, is_signed=is_signed)
    if isinstance(data, bytes):
        # 8-bit entries are packed in bytes, or stand in a word each: both are met (C.7.6.3.1.6, note).
        packed = len(data) < 2 * entries
        kind = np.dtype(np.uint8) if packed else _word(16, is_big_endian=is_big_endian)
        values = np.frombuffer(data, kind, min(entries, len(data) // kind.itemsize))
    else:
        given = list(data) if isinstance(data, list | tuple) or hasattr(data, "__iter__") else [data]
        values = np.array(given, np.int64)[:entries] & 0xFFFF
    if not len(values):
        raise NotConvertible("A look-up table has no entries.")
    return LookupTable(first, bits, np.minimum(values, (1 << bits) - 1).astype(np.uint16))


def _descriptor(value: Any, *, is_signed: bool) -> tuple[int, int, int]:  # noqa: ANN401 - as read
    try:
        entries, first, bits = (int(number) for number in value)
    except (TypeError, ValueError):
        raise NotConvertible("A look-up table has no descriptor that can be read.") from None
    if not 1 <= bits <= 16:
        raise NotConvertible(f"A look-up table of {bits} bits cannot be read.")
    if is_signed:
        return (entries & 0xFFFF) or _MOST_ENTRIES, (first + 0x8000) % 0x10000 - 0x8000, bits
    return (entries & 0xFFFF) or _MOST_ENTRIES, first & 0xFFFF, bits


def _word(bits: int, *, is_big_endian: bool) -> np.dtype[Any]:
    return np.dtype(np.uint8) if bits <= 8 else np.dtype(">u2" if is_big_endian else "<u2")


def _expanded(words: list[int], most: int, *, is_wide: bool) -> NDArray[np.uint16]:
    """Expand segments (C.7.9.2): discrete, linear, or repeated; `most` entries and no more."""
    values: list[int] = []
    starts: list[int] = []
    position = 0
    try:
        while position + 1 < len(words) and len(values) < most:
            starts.append(position)
            if words[position] == _INDIRECT:
                low, high = words[position + 2 : position + 4] if is_wide else _halves(words, position + 2)
                first = starts.index(_start(low | high << 16, starts, is_wide=is_wide))
                for start in starts[first : first + min(words[position + 1], most)]:
                    if words[start] != _INDIRECT and len(values) < most:
                        _append(words, start, values)
                position += 4 if is_wide else 6
            else:
                position = _append(words, position, values)
    except (IndexError, ValueError):
        raise NotConvertible("A segmented palette cannot be read.") from None
    return np.array(values[:most] or [0], np.uint16)


def _append(words: list[int], position: int, values: list[int]) -> int:
    """Append the values of a discrete or linear segment; return where the next begins."""
    kind, length = words[position], words[position + 1]
    if kind == _DISCRETE:
        values += words[position + 2 : position + 2 + length]
        return position + 2 + length
    if kind != _LINEAR:
        raise ValueError(kind)
    # From the last value on, which the first segment does not have.
    values += np.rint(np.linspace(values[-1], words[position + 2], length + 1)[1:]).astype(int).tolist()
    return position + 3


def _start(offset: int, starts: list[int], *, is_wide: bool) -> int:
    # The offset counts bytes; writers that count words are met as well.
    return offset // 2 if is_wide and offset % 2 == 0 and offset // 2 in starts else offset


def _halves(words: list[int], position: int) -> tuple[int, int]:
    a, b, c, d = words[position : position + 4]
    return a | b << 8, c | d << 8
