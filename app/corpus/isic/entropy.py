"""Huffman coding of JPEG Baseline scans: bytes to quantised coefficients and back (ISO/IEC 10918-1 Annex F).

Only for turning pictures without loss: nothing in Python's packages that we may use gives the coefficients.
Blocks come in the order of the scan, coefficients in zigzag order.
"""

import re
from array import array
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Coefficients = NDArray[np.int16]  # blocks x 64

_RESTART = re.compile(rb"\xff+[\xd0-\xd7]")
_ZEROS = 0xF0  # sixteen zeros (F.1.2.2.1)
_TOKENS_AT_ONCE = 1 << 18


@dataclass(frozen=True, slots=True)
class HuffmanTable:
    """A table as DHT writes it (B.2.4.2): how many codes of each length, and their symbols in order."""

    counts: bytes
    symbols: bytes

    def codes(self) -> list[tuple[int, int, int]]:
        """Return (symbol, code, length) for every code, as Annex C generates them; ValueError if too many."""
        found = []
        code = position = 0
        for length, count in enumerate(self.counts, 1):
            for _ in range(count):
                found.append((self.symbols[position], code, length))
                code += 1
                position += 1
            if code > 1 << length:
                raise ValueError("a Huffman table has more codes than fit")
            code <<= 1
        return found

    def lookup(self) -> list[int]:
        """Return, for every 16 bits that may come next, symbol and length in one number; 0 is no code."""
        entries = [0] * 65536
        for symbol, code, length in self.codes():
            first = code << (16 - length)
            entries[first : first + (1 << (16 - length))] = [symbol << 8 | length] * (1 << (16 - length))
        return entries


@dataclass(frozen=True, slots=True)
class MinimumCodedUnit:
    """What one MCU is made of: per block, the component it is of and that component's tables (A.2)."""

    components: tuple[int, ...]
    dc: tuple[HuffmanTable, ...]
    ac: tuple[HuffmanTable, ...]


def decode_scan(data: bytes, unit: MinimumCodedUnit, units: int, restart_interval: int) -> Coefficients:
    """Return the coefficients of a scan of that many MCUs; ValueError when the data are wrong."""
    per_unit = len(unit.components)
    out = array("h", bytes(2 * 64 * units * per_unit))
    tables = {id(table): table.lookup() for table in (*unit.dc, *unit.ac)}
    plan = [
        (component, tables[id(dc)], tables[id(ac)])
        for component, dc, ac in zip(unit.components, unit.dc, unit.ac, strict=True)
    ]
    intervals = _RESTART.split(data) if restart_interval else [data]
    done = 0
    for interval in intervals:
        count = min(restart_interval or units, units - done)
        reader = _Reader(interval.replace(b"\xff\x00", b"\xff"))
        base = done * per_unit * 64
        predictions = [0] * 4
        for _ in range(count):
            for component, dc, ac in plan:
                predictions[component] += reader.next(dc)[1]
                out[base] = predictions[component]
                _decode_ac(reader, ac, out, base)
                base += 64
        reader.check_end()
        done += count
    if done != units:
        raise ValueError("the picture data end early")
    return np.frombuffer(out, dtype=np.int16).reshape(-1, 64)


class _Reader:
    """Reads codes and the values after them from bytes without stuffing (F.2.2)."""

    __slots__ = ("_bits", "_data", "_length", "_position", "_window")

    def __init__(self, data: bytes) -> None:
        self._length = len(data)
        self._data = data + bytes(8)  # read ahead, never used
        self._position = self._bits = self._window = 0

    def next(self, table: list[int]) -> tuple[int, int]:
        """Return the next symbol and the value of the bits that its low half announces."""
        bits = self._bits
        if bits < 31:  # a code of 16 and a value of 15
            if self._position > self._length + 4:
                raise ValueError("the picture data end early")
            ahead = int.from_bytes(self._data[self._position : self._position + 4].ljust(4, b"\0"), "big")
            self._window = (self._window & ((1 << bits) - 1)) << 32 | ahead
            self._position += 4
            bits += 32
        entry = table[self._window >> (bits - 16) & 0xFFFF]
        if not entry:
            raise ValueError("the picture data hold a code that no table has")
        symbol = entry >> 8
        size = symbol & 15
        self._bits = bits = bits - (entry & 0xFF) - size
        value = self._window >> bits & ((1 << size) - 1)
        if size and value < 1 << (size - 1):  # F.2.2.1, EXTEND
            value -= (1 << size) - 1
        return symbol, value

    def check_end(self) -> None:
        """Raise ValueError when more bits were read than there are."""
        if self._position * 8 - self._bits > self._length * 8:
            raise ValueError("the picture data end early")


def _decode_ac(reader: _Reader, table: list[int], out: "array[int]", base: int) -> None:
    k = 1
    while k < 64:
        symbol, value = reader.next(table)
        if value:
            k += symbol >> 4
            if k > 63:
                raise ValueError("the picture data run over a block")
            out[base + k] = value
            k += 1
        elif symbol == _ZEROS:
            k += 16
        else:  # end of block
            break


class _Tokens(NamedTuple):
    """Codes to write, in the order of the scan: a symbol with its block and the bits that follow it."""

    blocks: NDArray[np.int64]
    is_dc: NDArray[np.bool_]
    symbols: NDArray[np.int64]
    extra: NDArray[np.int64]
    sizes: NDArray[np.int64]


def encode_scan(blocks: Coefficients, unit: MinimumCodedUnit) -> bytes:
    """Return the entropy-coded bytes of blocks in scan order, no restarts; ValueError if no code fits."""
    return _pack(_tokens(blocks, unit), unit)


def _tokens(blocks: Coefficients, unit: MinimumCodedUnit) -> _Tokens:
    count = len(blocks)
    every = np.arange(count)
    block, k = np.nonzero(blocks)
    block, k = block[k > 0], k[k > 0]
    follows = np.diff(block, prepend=-1) == 0  # another coefficient of the same block
    run = k - np.where(follows, np.roll(k, 1), 0) - 1
    last = np.zeros(count, dtype=np.int64)
    np.maximum.at(last, block, k)
    unfinished = every[last < 63]
    values = np.concatenate((_dc_differences(blocks, unit), blocks[block, k].astype(np.int64)))
    sizes = np.frexp(np.abs(values).astype(np.float64))[1].astype(np.int64)  # bits of the magnitude
    without = np.repeat(block * 256 + 2 * k, run // 16)  # sixteen zeros, before their coefficient
    # One token per DC difference, AC coefficient, sixteen zeros and end of block: its key puts it in order.
    keys = np.concatenate((every * 256, block * 256 + 2 * k + 1, without, unfinished * 256 + 255))
    order = np.argsort(keys, kind="stable")
    symbols = np.concatenate((np.zeros(count, np.int64), run % 16 << 4)) | sizes
    none = np.zeros(len(without) + len(unfinished), np.int64)
    ends = np.concatenate((np.full(len(without), _ZEROS), np.zeros(len(unfinished), np.int64)))
    extra = np.where(values < 0, values + (1 << sizes) - 1, values)
    return _Tokens(
        blocks=keys[order] // 256,
        is_dc=keys[order] % 256 == 0,
        symbols=np.concatenate((symbols, ends))[order],
        extra=np.concatenate((extra, none))[order],
        sizes=np.concatenate((sizes, none))[order],
    )


def _dc_differences(blocks: Coefficients, unit: MinimumCodedUnit) -> NDArray[np.int64]:
    of_component = np.tile(np.array(unit.components), len(blocks) // len(unit.components))
    differences = blocks[:, 0].astype(np.int64)
    for component in set(unit.components):
        mine = of_component == component
        differences[mine] = np.diff(differences[mine], prepend=0)
    return differences


def _pack(tokens: _Tokens, unit: MinimumCodedUnit) -> bytes:
    codes = np.zeros((2, len(unit.components), 256), dtype=np.int64)
    lengths = np.zeros_like(codes)
    for kind, tables in enumerate((unit.ac, unit.dc)):
        for index, table in enumerate(tables):
            for symbol, code, length in table.codes():
                codes[kind, index, symbol] = code
                lengths[kind, index, symbol] = length
    at = (tokens.is_dc.astype(np.int64), tokens.blocks % len(unit.components), tokens.symbols)
    if not lengths[at].all():
        raise ValueError("a coefficient is larger than Baseline allows")
    words = codes[at] << tokens.sizes | tokens.extra
    widths = lengths[at] + tokens.sizes
    bits = []
    for start in range(0, len(words), _TOKENS_AT_ONCE):
        word, width = words[start : start + _TOKENS_AT_ONCE], widths[start : start + _TOKENS_AT_ONCE]
        ends = np.cumsum(width)
        shift = np.repeat(ends, width) - 1 - np.arange(int(ends[-1]))
        bits.append((np.repeat(word, width) >> shift & 1).astype(np.uint8))
    flat = np.concatenate(bits)
    padded = np.concatenate((flat, np.ones(-len(flat) % 8, dtype=np.uint8)))  # F.1.2.3
    return np.packbits(padded).tobytes().replace(b"\xff", b"\xff\x00")


def _standard(counts: str, symbols: str) -> HuffmanTable:
    return HuffmanTable(bytes.fromhex(counts), bytes.fromhex(symbols))


# Annex K.3: tables that hold every symbol a Baseline scan of 8-bit samples can need.
STANDARD_DC: Final = (
    _standard("00010501010101010100000000000000", "000102030405060708090a0b"),
    _standard("00030101010101010101010000000000", "000102030405060708090a0b"),
)
STANDARD_AC: Final = (
    _standard(
        "0002010303020403050504040000017d",
        "01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a25262728"
        "292a3435363738393a434445464748494a535455565758595a636465666768696a737475767778797a83848586878889"
        "8a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2"
        "e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa",
    ),
    _standard(
        "00020102040403040705040400010277",
        "000102031104052131061241510761711322328108144291a1b1c109233352f0156272d10a162434e125f11718191a26"
        "2728292a35363738393a434445464748494a535455565758595a636465666768696a737475767778797a828384858687"
        "88898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9da"
        "e2e3e4e5e6e7e8e9eaf2f3f4f5f6f7f8f9fa",
    ),
)
