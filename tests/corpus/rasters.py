"""PNG and TIFF files made for one test each, and what unpacking them gives."""

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from app.corpus.isic.raster import Raster, describe, unpack


def noise(rows: int, columns: int, *, words: bool = False, channels: int = 1, seed: int = 1) -> np.ndarray:
    """Samples of which no two neighbours are alike."""
    shape = (rows, columns) if channels == 1 else (rows, columns, channels)
    kind = np.uint16 if words else np.uint8
    return np.random.default_rng(seed).integers(0, np.iinfo(kind).max, shape, kind, endpoint=True)


def png_bytes(samples: np.ndarray, **options: object) -> bytes:
    buffer = BytesIO()
    Image.fromarray(samples).save(buffer, "PNG", **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def made_png(columns: int, rows: int, depth: int, colour_type: int, rows_of_bytes: list[bytes]) -> bytes:
    """A PNG file of a kind that Pillow does not write: each row unfiltered."""
    header = struct.pack(">IIBBBBB", columns, rows, depth, colour_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows_of_bytes))
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def with_chunk(png: bytes, kind: bytes, body: bytes) -> bytes:
    """The file with one more chunk behind its header."""
    return png[:33] + png_chunk(kind, body) + png[33:]


def tiff_bytes(samples: np.ndarray, **options: object) -> bytes:
    buffer = BytesIO()
    tifffile.imwrite(buffer, samples, **options)
    return buffer.getvalue()


def unpacked(path: Path) -> tuple[Raster, np.ndarray]:
    """What the headers say, and the samples, each band by itself."""
    raster = describe(str(path))
    target = path.with_name("samples")
    target.unlink(missing_ok=True)
    for band in range(raster.bands):
        unpack(str(path), raster, band, band + 1, str(target))
    samples = np.fromfile(target, f"<u{raster.bits // 8}")
    return raster, samples.reshape(raster.rows, raster.columns, raster.samples_per_pixel).squeeze(axis=2) if (
        raster.samples_per_pixel == 1
    ) else samples.reshape(raster.rows, raster.columns, raster.samples_per_pixel)
