"""Pictures that are no JPEG: what their headers say, checked before any decoding; their samples as rows.

`describe` and `unpack` read strangers' files and run in the cage. A picture is unpacked band by band into a
file of plain samples, so that no task has more of it in memory, or takes longer, than one file may.
"""

from dataclasses import dataclass
from pathlib import Path

from app.errors import NotImportable

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF
JPEG_SIGNATURE = b"\xff\xd8"

MAX_PIXELS = 1_000_000_000  # 2 GiB of words: what the offsets of one file still reach
MAX_BAND_BYTES = 256 * 2**20

BYTES, WORDS = 8, 16


@dataclass(frozen=True, slots=True)
class Raster:
    """What a PNG or TIFF file holds, as it is unpacked: unsigned, grey or RGB, upright, without alpha."""

    format: str
    rows: int
    columns: int
    samples_per_pixel: int
    bits: int  # 8 or 16
    rows_per_band: int
    icc_profile: bytes | None
    changes: tuple[str, ...]  # what unpacking does to the samples, as parts of a sentence

    @property
    def row_bytes(self) -> int:
        """Bytes of one unpacked row."""
        return self.columns * self.samples_per_pixel * self.bits // 8

    @property
    def bands(self) -> int:
        """In how many pieces it is unpacked."""
        return -(-self.rows // self.rows_per_band)


def find_format(path: Path) -> str | None:
    """Return JPEG, PNG or TIFF, by the first bytes and not by the name; None for anything else."""
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(JPEG_SIGNATURE):
        return "JPEG"
    if start == PNG_SIGNATURE:
        return "PNG"
    return "TIFF" if start.startswith(TIFF_SIGNATURES) else None


def check_size(rows: int, columns: int) -> None:
    """Raise NotImportable for a picture without pixels or with too many."""
    if rows < 1 or columns < 1:
        raise NotImportable("image", f"says that it is {columns} x {rows} pixels")
    if rows * columns > MAX_PIXELS:
        raise NotImportable(
            "image", f"is {columns} x {rows} pixels; the most is {MAX_PIXELS // 10**6} megapixels"
        )


def check_samples(bits: int, samples_per_pixel: int) -> None:
    """Raise NotImportable unless the samples are bytes, or words in grey."""
    if bits == WORDS and samples_per_pixel > 1:
        raise NotImportable("image", "is in colour with 16 bits a sample; convert it to 8 bits")


def describe(path: str) -> Raster:
    """Read the headers of a PNG or TIFF file; NotImportable says what is wrong and what to do."""
    if find_format(Path(path)) == "PNG":
        from app.corpus.isic import png  # noqa: PLC0415 a child decodes one format, as a rule

        return png.describe(path)
    from app.corpus.isic import tiff  # noqa: PLC0415 a child decodes one format, as a rule

    return tiff.describe(path)


def unpack(path: str, raster: Raster, first_band: int, last_band: int, target: str) -> None:
    """Append the rows of the bands from `first_band` to before `last_band` to the file `target`."""
    if raster.format == "PNG":
        from app.corpus.isic import png  # noqa: PLC0415 a child decodes one format, as a rule

        png.unpack(path, raster, target)
    else:
        from app.corpus.isic import tiff  # noqa: PLC0415 a child decodes one format, as a rule

        tiff.unpack(path, raster, range(first_band, last_band), target)
