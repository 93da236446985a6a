"""JPEG files made for one test each: small, deterministic, and with the segments a camera would write."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from app.corpus.isic.rows import Row, read_rows

SAMPLE = Path(__file__).parents[2] / "corpus" / "isic-sample"

PILLOW_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def asymmetric(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """A smooth picture that differs from each of its mirrorings and rotations."""
    y, x = np.mgrid[0:height, 0:width]
    red = 255 * x / width
    green = 255 * y / height
    blue = np.where((x < width / 4) & (y < height / 3), 255, 40)
    return Image.fromarray(np.dstack((red, green, blue)).astype(np.uint8)).convert(mode)


def jpeg_bytes(image: Image.Image, orientation: int | None = None, **options: object) -> bytes:
    buffer = BytesIO()
    if orientation is not None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif
    image.save(buffer, "JPEG", **{"quality": 90, **options})
    return buffer.getvalue()


def pixels(data: bytes) -> np.ndarray:
    with Image.open(BytesIO(data)) as image:
        return np.asarray(image).astype(int)


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body


def insert(data: bytes, *segments: bytes) -> bytes:
    """The file with more segments right after its start."""
    return data[:2] + b"".join(segments) + data[2:]


def markers(data: bytes) -> list[tuple[int, bytes]]:
    """An independent walk up to the first scan: marker and body of each segment."""
    found, position = [], 2
    while data[position + 1] != 0xDA:
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        found.append((data[position + 1], data[position + 4 : position + 2 + length]))
        position += 2 + length
    return found


def call(function, *arguments):
    """Stands for the cage: a plain call."""
    return function(*arguments)


def row_of(folder: Path, **cells: str) -> Row:
    """The one row of a CSV of these cells."""
    cells = {"isic_id": "ISIC_0000001", "copyright_license": "CC-0", **cells}
    metadata = folder / "one.csv"
    metadata.write_text(",".join(cells) + "\n" + ",".join(f'"{cell}"' for cell in cells.values()) + "\n")
    (row,) = read_rows(metadata)
    assert isinstance(row, Row), row
    return row
