"""PNG files (ISO/IEC 15948): chunk by chunk for what they say, libpng for their samples. Runs in the cage."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import imagecodecs
import numpy as np

from app.corpus.isic.exif import read_orientation
from app.corpus.isic.raster import PNG_SIGNATURE, WORDS, Raster, check_samples, check_size
from app.errors import NotImportable

MAX_PIXELS = 100_000_000  # libpng decodes the whole: the archive writes TIFF above this
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # 11.2.2: colour type to channels
_DEPTHS = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}
_PALETTE, _ALPHA = 3, 4
_MOST_PACKED = 1032  # deflate packs no more bytes into one than this
_MAX_PROFILE_BYTES = 4 * 2**20
_ROWS_AT_ONCE = 1024


class _Header(NamedTuple):
    columns: int
    rows: int
    depth: int
    colour_type: int


def describe(path: str) -> Raster:
    """Read the chunks; NotImportable when the file is cut, too large, or of a kind that is not taken."""
    data = Path(path).read_bytes()
    chunks = list(_chunks(data))
    header = _header(chunks)
    palette = next((body for kind, body in chunks if kind == b"PLTE"), b"")
    is_grey = _is_grey(header.colour_type, palette)
    has_alpha = bool(header.colour_type & _ALPHA) or any(kind == b"tRNS" for kind, _ in chunks)
    if any(kind == b"acTL" for kind, _ in chunks):
        raise NotImportable("image", "is an animated PNG file; give one picture")
    exif = next((body for kind, body in chunks if kind == b"eXIf"), b"")
    if read_orientation(exif) != 1:
        raise NotImportable("image", "is a PNG file turned by EXIF; turn its pixels upright")
    samples = 1 if is_grey else 3
    bits = WORDS if header.depth == WORDS else 8
    check_samples(bits, samples)
    _check_data(header, sum(len(body) for kind, body in chunks if kind == b"IDAT"))
    changes = ["its palette resolved"] if header.colour_type == _PALETTE else []
    changes += ["its alpha channel left out"] if has_alpha else []
    return Raster(
        "PNG",
        header.rows,
        header.columns,
        samples,
        bits,
        header.rows,
        next((_profile(body) for kind, body in chunks if kind == b"iCCP"), None),
        tuple(changes),
    )


def unpack(path: str, raster: Raster, target: str) -> None:
    """Decode the picture and append its rows to the file `target`."""
    try:
        decoded = np.asarray(imagecodecs.png_decode(Path(path).read_bytes()))
    except imagecodecs.PngError as error:
        raise NotImportable("image", f"has damaged picture data: {error}") from None
    if decoded.ndim == 2:
        decoded = decoded[:, :, np.newaxis]
    if decoded.shape[:2] != (raster.rows, raster.columns) or decoded.shape[2] < raster.samples_per_pixel:
        raise NotImportable("image", "decodes to another size than its header says")
    kept = decoded[:, :, : raster.samples_per_pixel]
    with Path(target).open("ab") as out:
        for first in range(0, raster.rows, _ROWS_AT_ONCE):
            rows = kept[first : first + _ROWS_AT_ONCE]
            out.write(rows.astype("<u2" if raster.bits == WORDS else "u1").tobytes())


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield type and content of every chunk (5.3) up to IEND; NotImportable if the file ends before it."""
    position = len(PNG_SIGNATURE)
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            break
        yield kind, data[position + 8 : end - 4]
        if kind == b"IEND":
            return
        position = end
    raise NotImportable("image", "is a damaged or cut PNG file: it ends before its end chunk")


def _header(chunks: list[tuple[bytes, bytes]]) -> _Header:
    kind, body = chunks[0]
    if kind != b"IHDR" or len(body) != 13:
        raise NotImportable("image", "is a damaged PNG file: it does not begin with a header")
    header = _Header(*struct.unpack_from(">IIBB", body))
    if header.depth not in _DEPTHS.get(header.colour_type, ()):
        raise NotImportable(
            "image", f"has {header.depth} bits in colour type {header.colour_type}, which PNG does not know"
        )
    check_size(header.rows, header.columns)
    if header.rows * header.columns > MAX_PIXELS:
        raise NotImportable(
            "image",
            f"is a PNG file of {header.columns} x {header.rows} pixels; above {MAX_PIXELS // 10**6} "
            "megapixels give a tiled TIFF file",
        )
    return header


def _is_grey(colour_type: int, palette: bytes) -> bool:
    if colour_type == _PALETTE:
        return bool(palette) and palette[0::3] == palette[1::3] == palette[2::3]
    return colour_type in {0, 4}


def _check_data(header: _Header, coded_bytes: int) -> None:
    row_bits = header.columns * _CHANNELS[header.colour_type] * header.depth
    if coded_bytes * _MOST_PACKED < header.rows * (1 + row_bits // 8):
        raise NotImportable(
            "image", f"has {coded_bytes} bytes of picture for {header.columns} x {header.rows} pixels"
        )


def _profile(body: bytes) -> bytes | None:
    """Return an ICC profile (11.3.2.3: a name, a null, the method 0, a deflated profile), bounded."""
    name, _, rest = body.partition(b"\0")
    if not name or rest[:1] != b"\0":
        return None
    try:
        profile = zlib.decompressobj().decompress(rest[1:], _MAX_PROFILE_BYTES)
    except zlib.error:
        return None
    # ICC.1 7.2: the size stands first, the signature at 36.
    sound = profile[36:40] == b"acsp" and int.from_bytes(profile[:4], "big") == len(profile)
    return profile if sound else None
