"""What a compressed frame claims to be, read from its first bytes before a decoder believes it.

A frame of 568 bytes can claim 60,000 columns and 60,000 rows, and a decoder would allocate them. JPEG and
JPEG-LS say it in the frame header (ITU-T T.81 B.2.2, T.87 C.2.2), JPEG 2000 in the SIZ marker segment
(T.800 A.5.1), JPEG XL in its size header (ISO/IEC 18181-1 D.2).
"""

import struct
from dataclasses import dataclass

from app.errors import NotConvertible

# SOF0 to SOF15 but for DHT, JPG and DAC, which share their range; and SOF55 of JPEG-LS.
_START_OF_FRAME = (set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}) | {0xF7}
_STANDALONE = {0x01, *range(0xD0, 0xD9)}
_START_OF_SCAN, _END_OF_IMAGE, _APP0, _APP14 = 0xDA, 0xD9, 0xE0, 0xEE

# Each scan of a progressive JPEG goes over all pixels again; encoders make about ten.
_MOST_SCANS = 64
# What a JPEG 2000 decoder keeps of a tile is made for each before the first is read, about 6 KB.
_MOST_TILES = 4096
# The same for a precinct and for a code-block, 200 to 500 bytes; encoders make one precinct for a resolution
# or for 128 x 128 pixels, and code-blocks of 64 x 64 or 32 x 32.
_MOST_PRECINCTS = 65536
_MOST_CODE_BLOCKS = 262144
_CODING_STYLE, _START_OF_TILE = b"\xff\x52", b"\xff\x90"


@dataclass(frozen=True, slots=True)
class Claims:
    """Size and samples of a compressed frame, as its own header states them."""

    rows: int
    columns: int
    samples: int
    bits: int
    colour_space: str | None = None  # RGB or YCBCR, when a JPEG stream says it itself
    process: int = 0  # the marker of a JPEG stream's frame header, SOF0 to SOF15


def read_jpeg_claims(data: bytes) -> Claims:
    """Read the frame header of a JPEG or JPEG-LS stream; NotConvertible if there is none."""
    if data[:2] != b"\xff\xd8":
        raise NotConvertible("The frame is not a JPEG stream.")
    if data.count(b"\xff\xda") > _MOST_SCANS:  # never within a scan: a byte FF is followed by 00 there
        raise NotConvertible(f"The JPEG stream has more than {_MOST_SCANS} scans.")
    position, colour_space = 2, None
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            break
        marker = data[position + 1]
        if marker == 0xFF or marker in _STANDALONE:
            position += 1 if marker == 0xFF else 2
            continue
        if marker in {_START_OF_SCAN, _END_OF_IMAGE}:
            break
        length = struct.unpack_from(">H", data, position + 2)[0]
        content = data[position + 4 : position + 2 + length]
        if marker in _START_OF_FRAME and len(content) >= 6:
            bits, rows, columns, samples = struct.unpack_from(">BHHB", content)
            return Claims(rows, columns, samples, bits, colour_space, marker)
        if marker == _APP14 and content[:5] == b"Adobe" and len(content) >= 12:
            colour_space = "YCBCR" if content[11] else "RGB"
        elif marker == _APP0 and content[:5] == b"JFIF\0" and colour_space is None:
            colour_space = "YCBCR"  # JFIF knows no other (T.871 7)
        position += 2 + length
    raise NotConvertible("The JPEG stream has no frame header.")


def read_jpeg_2000_claims(data: bytes) -> Claims:
    """Read the SIZ marker segment of a JPEG 2000 or HTJ2K stream; NotConvertible if there is none."""
    start = 0 if data[:4] == b"\xff\x4f\xff\x51" else _box_content(data, b"jp2c")
    if data[start : start + 4] != b"\xff\x4f\xff\x51" or len(data) < start + 43:
        raise NotConvertible("The frame is not a JPEG 2000 stream.")
    right, bottom, left, top, tile_columns, tile_rows, tiles_left, tiles_top = struct.unpack_from(
        ">8I", data, start + 8
    )
    samples, first_precision = struct.unpack_from(">HB", data, start + 40)
    if any(data[start + 43 + 3 * n : start + 45 + 3 * n] != b"\1\1" for n in range(samples)):
        raise NotConvertible("The JPEG 2000 stream holds samples of fewer pixels than it has.")
    if not (tile_columns and tile_rows):
        raise NotConvertible("The JPEG 2000 stream has tiles without a pixel.")
    tiles = -(-(right - tiles_left) // tile_columns) * -(-(bottom - tiles_top) // tile_rows)
    if tiles > _MOST_TILES:
        raise NotConvertible(f"The JPEG 2000 stream claims {tiles} tiles; {_MOST_TILES} are allowed.")
    claims = Claims(bottom - top, right - left, samples, (first_precision & 0x7F) + 1)
    _require_few_pieces(data, start + 2, claims)
    return claims


def _require_few_pieces(data: bytes, position: int, claims: Claims) -> None:
    """Look at the coding style in the main header (T.800 A.6.1): it may cut an image into single pixels."""
    while position + 4 <= len(data) and data[position : position + 2] != _START_OF_TILE:
        length = struct.unpack_from(">H", data, position + 2)[0]
        content = data[position + 4 : position + 2 + length]
        if data[position : position + 2] == _CODING_STYLE and len(content) >= 10:
            pixels = max(claims.rows * claims.columns, 0) * claims.samples
            code_blocks = pixels >> (content[6] & 15) + (content[7] & 15) + 4
            precincts = sum(
                (pixels >> 2 * level) >> (sizes & 15) + (sizes >> 4)
                for level, sizes in enumerate(reversed(content[10:]))
                if content[0] & 1
            )
            if code_blocks > _MOST_CODE_BLOCKS or precincts > _MOST_PRECINCTS:
                raise NotConvertible(
                    f"The JPEG 2000 stream is cut into {code_blocks} code-blocks and {precincts} precincts; "
                    f"{_MOST_CODE_BLOCKS} and {_MOST_PRECINCTS} are allowed."
                )
        position += 2 + max(length, 2)


def read_jpeg_xl_claims(data: bytes) -> Claims:
    """Read the size header of a JPEG XL stream, not its samples (0); NotConvertible if there is none."""
    start = 0
    if data[:2] != b"\xff\x0a":
        start = _box_content(data, b"jxlc", b"jxlp")
        if data[start : start + 2] != b"\xff\x0a":
            start += 4  # a partial codestream begins with its number
    if data[start : start + 2] != b"\xff\x0a" or len(data) < start + 3:
        raise NotConvertible("The frame is not a JPEG XL stream.")
    bits = _Bits(int.from_bytes(data[start + 2 : start + 18], "little"))
    small = bits.take(1)
    rows = bits.size(small)
    ratio = bits.take(3)
    numerator, denominator = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[max(ratio - 1, 0)]
    columns = rows * numerator // denominator if ratio else bits.size(small)
    return Claims(rows, columns, 0, 0)


class _Bits:
    """Bits from the lowest up, as JPEG XL packs them."""

    def __init__(self, value: int) -> None:
        self._value = value

    def take(self, count: int) -> int:
        taken = self._value & ((1 << count) - 1)
        self._value >>= count
        return taken

    def size(self, small: int) -> int:
        if small:
            return (self.take(5) + 1) * 8
        return self.take((9, 13, 18, 30)[self.take(2)]) + 1


def _box_content(data: bytes, *kinds: bytes) -> int:
    """Where the first box of one of these kinds has its content (ISO/IEC 15444-1 I.4); 0 if there is none."""
    position = 0
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        header = 8
        if length == 1 and position + 16 <= len(data):
            length, header = struct.unpack_from(">Q", data, position + 8)[0], 16
        if kind in kinds:
            return position + header
        if length < header:  # 0 is "to the end of the file": nothing follows
            return 0
        position += length
    return 0
