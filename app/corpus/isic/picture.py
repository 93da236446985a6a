"""The picture as it goes into data sets: upright, encoded frames, rid of what identifies; and its history.

A JPEG file keeps its bitstream where it can. PNG and TIFF files are unpacked and encoded without loss.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from app.corpus.isic.caged import RunCaged
from app.corpus.isic.jpeg import Jpeg, clean, kept_segments, read_jpeg
from app.corpus.isic.levels import (
    JPEG_LS_LOSSLESS,
    Cut,
    Level,
    photometric_interpretation,
    plan_frame,
    plan_pyramid,
)
from app.corpus.isic.lossless import can_turn, turn
from app.corpus.isic.pixels import QUALITY, encode_again
from app.corpus.isic.pyramid import make_levels
from app.corpus.isic.raster import WORDS, Raster, describe, find_format
from app.dicom.media_types import JPEG_BASELINE
from app.errors import NotImportable

MAX_JPEG_BYTES = MAX_PNG_BYTES = 128 * 2**20  # they are read whole
MAX_TIFF_BYTES = 4 * 2**30
_MOST = {"JPEG": MAX_JPEG_BYTES, "PNG": MAX_PNG_BYTES, "TIFF": MAX_TIFF_BYTES}
_LONGEST_SIDE: Final = 65535  # Rows and Columns are US
MAX_FRAME_BYTES: Final = 128 * 2**20  # encoding takes several times as much


class Layout(StrEnum):
    """What a picture is made into."""

    PHOTOGRAPH = "a photograph"  # one frame of bytes
    TILE = "a confocal tile"  # one frame of bytes or words
    MOSAIC = "a confocal mosaic"  # the tiles of a pyramid


@dataclass(frozen=True, slots=True)
class Picture:
    """Encoded frames, what they hold, and their history."""

    format: str  # of the file: JPEG, PNG or TIFF
    samples_per_pixel: int
    photometric_interpretation: str
    bits: int
    icc_profile: bytes | None
    transfer_syntax_uid: str
    levels: tuple[Level, ...]  # more than one for a pyramid alone
    derivation: tuple[str, ...]  # sentences for Derivation Description
    compression_ratios: tuple[float, ...]  # one per lossy compression known of, in order
    jpeg: Jpeg | None = None  # what was embedded

    @property
    def data(self) -> bytes:
        """The first frame of the first level."""
        return next(iter(self.levels[0].frames))


def read_picture(path: Path, run_caged: RunCaged, layout: Layout, folder: Path) -> Picture:
    """Read an image file and make it fit to embed; NotImportable when it is none or is damaged.

    Frames that are encoded anew are in `folder` afterwards, and must be read before it goes.
    """
    try:
        found = find_format(path)
        if found is None:
            raise NotImportable("image", "is neither a JPEG nor a PNG nor a TIFF file")
        if path.stat().st_size > _MOST[found]:
            raise NotImportable("image", f"is a {found} file of more than {_MOST[found] // 2**20} MiB")
        if found == "JPEG":
            return prepare_picture(path.read_bytes(), run_caged)
    except OSError as error:
        raise NotImportable("image", f"cannot be read: {error.strerror}") from None
    raster = run_caged(describe, str(path))
    cuts = _plan(raster, layout)
    return _encoded(raster, make_levels(path, raster, cuts, folder, run_caged))


def _plan(raster: Raster, layout: Layout) -> tuple[Cut, ...]:
    if raster.bits == WORDS and layout is Layout.PHOTOGRAPH:
        # PS3.3 C.8.12.1.1.2
        raise NotImportable(
            "image",
            "has 16 bits a sample, which a photograph in DICOM cannot hold: convert it to 8 bits, or say "
            "RCM: tile or RCM: mosaic in image_type if it is one",
        )
    if layout is Layout.MOSAIC:
        return plan_pyramid(raster)
    if max(raster.rows, raster.columns) > _LONGEST_SIDE or raster.rows * raster.row_bytes > MAX_FRAME_BYTES:
        raise NotImportable(
            "image",
            f"is {raster.columns} x {raster.rows} pixels; one frame holds {_LONGEST_SIDE} pixels a side and "
            f"{MAX_FRAME_BYTES // 2**20} MiB at most: give a JPEG file; a mosaic (RCM: mosaic) may be larger",
        )
    return plan_frame(raster)


def _encoded(raster: Raster, levels: tuple[Level, ...]) -> Picture:
    sentence = f"{raster.format} as published by the ISIC Archive, encoded without loss (JPEG-LS)"
    derivation = f"{', '.join((sentence, *raster.changes))}."
    return Picture(
        format=raster.format,
        samples_per_pixel=raster.samples_per_pixel,
        photometric_interpretation=photometric_interpretation(raster.samples_per_pixel),
        bits=raster.bits,
        icc_profile=raster.icc_profile,
        transfer_syntax_uid=JPEG_LS_LOSSLESS,
        levels=levels,
        derivation=(derivation,),
        compression_ratios=(),
    )


def _embedded(jpeg: Jpeg, derivation: str, *compression_ratios: float) -> Picture:
    level = Level(jpeg.rows, jpeg.columns, jpeg.rows, jpeg.columns, (jpeg.data,))
    return Picture(
        format="JPEG",
        samples_per_pixel=jpeg.components,
        photometric_interpretation=jpeg.photometric_interpretation,
        bits=8,
        icc_profile=jpeg.icc_profile,
        transfer_syntax_uid=JPEG_BASELINE,
        levels=(level,),
        derivation=(derivation,),
        compression_ratios=compression_ratios,
        jpeg=jpeg,
    )


def prepare_picture(data: bytes, run_caged: RunCaged) -> Picture:
    """Make a JPEG file fit to embed: as it is where possible, turned without loss, else encoded again."""
    source = read_jpeg(data)
    published = "JPEG as published by the ISIC Archive"
    ratio = _compression_ratio(source)
    if source.can_be_embedded and source.orientation == 1:
        return _embedded(read_jpeg(clean(source)), f"{published}, bitstream unchanged.", ratio)
    if source.can_be_embedded and can_turn(source):
        turned = read_jpeg(run_caged(turn, clean(source), source.orientation))
        how = f"turned upright without loss (EXIF orientation {source.orientation})"
        return _embedded(turned, f"{published}, {how}.", ratio)
    encoded = read_jpeg(run_caged(encode_again, clean(source), source.orientation))
    again = read_jpeg(_with_metadata(encoded, source))
    return _embedded(again, f"{published}, {_why(source)}.", ratio, _compression_ratio(again))


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
