"""The picture as it goes into the data set: upright, Baseline, rid of what identifies; and its history."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from app.corpus.isic.jpeg import Jpeg, clean, kept_segments, read_jpeg
from app.corpus.isic.lossless import can_turn, turn
from app.corpus.isic.pixels import QUALITY, encode_again
from app.errors import NotImportable

MAX_FILE_BYTES = 128 * 2**20


class RunCaged(Protocol):
    """How the importer runs what touches pixels: `Cage.run`, or a plain call in a test."""

    def __call__(self, function: Callable[..., bytes], /, *args: object) -> bytes:
        """Return what the function returns for the arguments."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A JPEG Baseline bitstream to embed and its history."""

    jpeg: Jpeg
    derivation: tuple[str, ...]  # sentences for Derivation Description
    compression_ratios: tuple[float, ...]  # one per lossy compression known of, in order

    @property
    def data(self) -> bytes:
        """The bitstream, from SOI to EOI."""
        return self.jpeg.data


def read_picture(path: Path, run_caged: RunCaged) -> Picture:
    """Read a JPEG file and make it fit to embed; NotImportable when it is none or is damaged."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise NotImportable("image", f"is larger than {MAX_FILE_BYTES // 2**20} MiB")
        data = path.read_bytes()
    except OSError as error:
        raise NotImportable("image", f"cannot be read: {error.strerror}") from None
    return prepare_picture(data, run_caged)


def prepare_picture(data: bytes, run_caged: RunCaged) -> Picture:
    """Make a JPEG file fit to embed: as it is where possible, turned without loss, else encoded again."""
    source = read_jpeg(data)
    published = "JPEG as published by the ISIC Archive"
    ratio = _compression_ratio(source)
    if source.can_be_embedded and source.orientation == 1:
        return Picture(read_jpeg(clean(source)), (f"{published}, bitstream unchanged.",), (ratio,))
    if source.can_be_embedded and can_turn(source):
        turned = read_jpeg(run_caged(turn, clean(source), source.orientation))
        how = f"turned upright without loss (EXIF orientation {source.orientation})"
        return Picture(turned, (f"{published}, {how}.",), (ratio,))
    encoded = read_jpeg(run_caged(encode_again, clean(source), source.orientation))
    again = read_jpeg(_with_metadata(encoded, source))
    return Picture(again, (f"{published}, {_why(source)}.",), (ratio, _compression_ratio(again)))


def _why(source: Jpeg) -> str:
    reasons = []
    if source.is_rgb:
        reasons.append("which is RGB without the YCbCr that lossy JPEG has in DICOM")
    elif not source.is_baseline:
        reasons.append(f"which JPEG Baseline cannot carry ({_process(source)})")
    if source.orientation != 1:
        reasons.append(f"turned upright (EXIF orientation {source.orientation})")
    return f"{', '.join(reasons)}, decoded and encoded again as JPEG Baseline, quality {QUALITY}, 4:2:2"


def _process(source: Jpeg) -> str:
    return f"SOF{source.process - 0xC0}, {source.precision} bits, {source.components} components"


def _compression_ratio(jpeg: Jpeg) -> float:
    return jpeg.rows * jpeg.columns * jpeg.components * ((jpeg.precision + 7) // 8) / len(jpeg.data)


def _with_metadata(encoded: Jpeg, source: Jpeg) -> bytes:
    """Put the source's rights and colour profile into the new bitstream, behind its own JFIF header."""
    new = clean(encoded)
    first = encoded.segments[0]
    insert_at = 2 + (first.end - first.start)
    same_space = source.components == encoded.components
    kept = (
        segment
        for segment in kept_segments(source)
        # JFIF and Adobe describe the old bitstream; a CMYK profile describes other inks.
        if segment[1] not in {0xE0, 0xEE} and (same_space or segment[1] != 0xE2)
    )
    return new[:insert_at] + b"".join(kept) + new[insert_at:]
