"""Turning a JPEG upright without decoding its pixels: its quantised coefficients are mirrored and transposed.

Exact, so long as an edge that becomes the first of its direction holds whole MCUs. Runs in the cage.
"""

from typing import NamedTuple

import numpy as np

from app.corpus.isic.entropy import (
    STANDARD_AC,
    STANDARD_DC,
    Coefficients,
    HuffmanTable,
    MinimumCodedUnit,
    decode_scan,
    encode_scan,
)
from app.corpus.isic.jpeg import SOF, SOS, Jpeg, kept_segments, read_jpeg
from app.errors import NotImportable

# Reading coefficients is plain Python: beyond this it would take more time or memory than a caged task may.
MAX_CODED_BYTES = 2 * 2**20
MAX_TURNED_PIXELS = 32_000_000
DQT, DHT, DRI = 0xDB, 0xC4, 0xDD


class _Turn(NamedTuple):
    """What makes an EXIF orientation upright: mirror rows, mirror columns, then transpose."""

    rows: bool
    columns: bool
    transpose: bool


_TURNS = {
    2: _Turn(rows=False, columns=True, transpose=False),
    3: _Turn(rows=True, columns=True, transpose=False),
    4: _Turn(rows=True, columns=False, transpose=False),
    5: _Turn(rows=False, columns=False, transpose=True),
    6: _Turn(rows=True, columns=False, transpose=True),
    7: _Turn(rows=True, columns=True, transpose=True),
    8: _Turn(rows=False, columns=True, transpose=True),
}
# Annex A.3.6: position in zigzag order -> row-major position.
_ZIGZAG = np.array(
    sorted(range(64), key=lambda at: (at // 8 + at % 8, at // 8 if (at // 8 + at % 8) % 2 else at % 8))
)


def can_turn(jpeg: Jpeg) -> bool:
    """Whether turning a picture upright is exact: one Baseline scan, whole MCUs where it is mirrored."""
    scans = [segment for segment in jpeg.segments if segment.marker == SOS]
    if not jpeg.is_baseline or len(scans) != 1 or scans[0].end - scans[0].body_end > MAX_CODED_BYTES:
        return False
    if jpeg.data[scans[0].body] != jpeg.components or jpeg.rows * jpeg.columns > MAX_TURNED_PIXELS:
        return False
    turn_ = _TURNS[jpeg.orientation]
    height, width = _unit_size(jpeg)
    return not (turn_.rows and jpeg.rows % height) and not (turn_.columns and jpeg.columns % width)


def _sampling(jpeg: Jpeg) -> tuple[tuple[int, int], ...]:
    # A.2.2: the scan of one component has no interleaving, whatever its factors say.
    return jpeg.sampling if jpeg.components > 1 else ((1, 1),)


def _unit_size(jpeg: Jpeg) -> tuple[int, int]:
    """Return height and width of an MCU in pixels."""
    factors = _sampling(jpeg)
    return 8 * max(vertical for _, vertical in factors), 8 * max(horizontal for horizontal, _ in factors)


def turn(data: bytes, orientation: int) -> bytes:
    """Return the picture turned upright, every coefficient kept; NotImportable when its data are damaged."""
    jpeg = read_jpeg(data)
    try:
        return _turn(jpeg, _TURNS[orientation])
    except (ValueError, IndexError, OverflowError, KeyError) as error:
        raise NotImportable("image", f"has damaged picture data: {error}") from None


def _turn(jpeg: Jpeg, how: _Turn) -> bytes:
    factors = _sampling(jpeg)
    height, width = _unit_size(jpeg)
    tall, wide = -(-jpeg.rows // height), -(-jpeg.columns // width)
    scan = next(segment for segment in jpeg.segments if segment.marker == SOS)
    unit = _unit(factors, *_scan_tables(jpeg))
    coded = jpeg.data[scan.body_end : scan.end]
    blocks = decode_scan(coded, unit, tall * wide, _restart_interval(jpeg))
    planes = [_turn_plane(plane, how) for plane in _planes(blocks, factors, tall, wide)]
    if how.transpose:
        factors = tuple((vertical, horizontal) for horizontal, vertical in factors)
        tall, wide = wide, tall
    standard = [min(index, 1) for index in range(len(factors))]
    new_unit = _unit(factors, [STANDARD_DC[i] for i in standard], [STANDARD_AC[i] for i in standard])
    coded = encode_scan(_blocks(planes, factors, tall, wide), new_unit)
    return b"".join(
        (
            b"\xff\xd8",
            *kept_segments(jpeg),
            *_quantisation(jpeg, how),
            _frame(jpeg, factors, how),
            *_huffman(min(len(factors), 2)),
            _scan(jpeg),
            coded,
            b"\xff\xd9",
        )
    )


def _unit(
    factors: tuple[tuple[int, int], ...], dc: list[HuffmanTable], ac: list[HuffmanTable]
) -> MinimumCodedUnit:
    order = tuple(index for index, (h, v) in enumerate(factors) for _ in range(h * v))
    return MinimumCodedUnit(order, tuple(dc[i] for i in order), tuple(ac[i] for i in order))


def _bodies(jpeg: Jpeg, marker: int) -> list[bytes]:
    return [jpeg.data[s.body : s.body_end] for s in jpeg.segments if s.marker == marker]


def _scan_tables(jpeg: Jpeg) -> tuple[list[HuffmanTable], list[HuffmanTable]]:
    """Return the DC and AC table of each component, in the frame's order."""
    tables: dict[int, HuffmanTable] = {}
    for body in _bodies(jpeg, DHT):
        rest = body
        while rest:
            count = sum(rest[1:17])
            tables[rest[0]] = HuffmanTable(rest[1:17], rest[17 : 17 + count])
            rest = rest[17 + count :]
    header = _bodies(jpeg, SOS)[0]
    chosen = {header[1 + 2 * i]: header[2 + 2 * i] for i in range(header[0])}
    selectors = [chosen[identifier] for identifier in jpeg.component_ids]
    return [tables[s >> 4] for s in selectors], [tables[0x10 | s & 15] for s in selectors]


def _restart_interval(jpeg: Jpeg) -> int:
    return int.from_bytes((_bodies(jpeg, DRI) or [b"\0\0"])[-1][:2], "big")


def _planes(
    blocks: Coefficients, factors: tuple[tuple[int, int], ...], tall: int, wide: int
) -> list[Coefficients]:
    """Take blocks in scan order apart: per component, block rows x block columns x 8 x 8."""
    per_unit = sum(h * v for h, v in factors)
    natural = np.empty_like(blocks)
    natural[:, _ZIGZAG] = blocks
    units = natural.reshape(tall, wide, per_unit, 8, 8)
    planes = []
    first = 0
    for h, v in factors:
        mine = units[:, :, first : first + h * v].reshape(tall, wide, v, h, 8, 8)
        planes.append(mine.transpose(0, 2, 1, 3, 4, 5).reshape(tall * v, wide * h, 8, 8))
        first += h * v
    return planes


def _blocks(
    planes: list[Coefficients], factors: tuple[tuple[int, int], ...], tall: int, wide: int
) -> Coefficients:
    """Put planes together into blocks in scan order: the inverse of _planes."""
    units = [
        plane.reshape(tall, v, wide, h, 8, 8).transpose(0, 2, 1, 3, 4, 5).reshape(tall, wide, h * v, 64)
        for plane, (h, v) in zip(planes, factors, strict=True)
    ]
    return np.concatenate(units, axis=2).reshape(-1, 64)[:, _ZIGZAG]


_ODD_NEGATED = np.array([1, -1] * 4, dtype=np.int16)


def _turn_plane(plane: Coefficients, how: _Turn) -> Coefficients:
    # Mirroring a cosine series negates its odd terms.
    if how.rows:
        plane = plane[::-1] * _ODD_NEGATED[:, None]
    if how.columns:
        plane = plane[:, ::-1] * _ODD_NEGATED
    return plane.transpose(1, 0, 3, 2) if how.transpose else plane


def _segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body


def _quantisation(jpeg: Jpeg, how: _Turn) -> list[bytes]:
    tables: dict[int, bytes] = {}
    for body in _bodies(jpeg, DQT):
        for start in range(0, len(body), 65):
            if body[start] >> 4:
                raise ValueError("a quantisation table of 16 bits")
            tables[body[start] & 15] = body[start + 1 : start + 65]
    if not how.transpose:
        return [_segment(DQT, bytes((number,)) + table) for number, table in sorted(tables.items())]
    turned = []
    for number, table in sorted(tables.items()):
        natural = np.empty(64, dtype=np.uint8)
        natural[_ZIGZAG] = np.frombuffer(table, dtype=np.uint8)
        turned.append(
            _segment(DQT, bytes((number,)) + natural.reshape(8, 8).T.reshape(64)[_ZIGZAG].tobytes())
        )
    return turned


def _frame(jpeg: Jpeg, factors: tuple[tuple[int, int], ...], how: _Turn) -> bytes:
    old = _bodies(jpeg, next(s.marker for s in jpeg.segments if s.marker in SOF))[0]
    size = old[3:5] + old[1:3] if how.transpose else old[1:5]
    entries = b"".join(
        bytes((old[6 + 3 * i], h << 4 | v, old[8 + 3 * i])) for i, (h, v) in enumerate(factors)
    )
    return _segment(jpeg.process, old[:1] + size + old[5:6] + entries)


def _huffman(count: int) -> list[bytes]:
    tables = [(0x00 | i, STANDARD_DC[i]) for i in range(count)] + [
        (0x10 | i, STANDARD_AC[i]) for i in range(count)
    ]
    return [_segment(DHT, bytes((name,)) + table.counts + table.symbols) for name, table in tables]


def _scan(jpeg: Jpeg) -> bytes:
    chosen = b"".join(
        bytes((identifier, 0x11 * min(index, 1))) for index, identifier in enumerate(jpeg.component_ids)
    )
    return _segment(SOS, bytes((jpeg.components,)) + chosen + b"\0\x3f\0")
