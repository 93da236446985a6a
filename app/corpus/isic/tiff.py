"""TIFF files of any layout: tiles or strips, either plane order, classic or BigTIFF. Runs in the cage.

tifffile reads the directories and unpacks segments. A band is one row of segments: it is all that is in
memory at a time, so that a picture may be as large as its segments are small.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tifffile import TiffFile, TiffPage

from app.corpus.isic.raster import BYTES, MAX_BAND_BYTES, WORDS, Raster, check_samples, check_size
from app.errors import ArchiveError, NotImportable

_PACKINGS = {1: "none", 5: "LZW", 8: "deflate", 32773: "PackBits", 32946: "deflate", 50000: "Zstandard"}
_LOSSY = {6: "JPEG", 7: "JPEG", 34712: "JPEG 2000", 34933: "PNG", 50001: "WebP", 50002: "JPEG XL"}
_PHOTOMETRIC = {
    3: "a palette",
    4: "a mask",
    5: "separated inks (CMYK)",
    6: "YCbCr",
    8: "CIELab",
    32803: "the raw samples of a camera",
}
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_UNSIGNED = 1
_SEPARATE_PLANES = 2
_MAX_PAGES = 64

Samples = NDArray[np.uint8] | NDArray[np.uint16]


def describe(path: str) -> Raster:
    """Read the directories; NotImportable when the file is cut, too large, or of a kind that is not taken."""
    with _opened(path) as file:
        page = _picture(file)
        check_size(page.imagelength, page.imagewidth)
        _check_coding(page)
        samples = _samples(page)
        check_samples(page.bitspersample, samples)
        _check_segments(page, Path(path).stat().st_size)
        changes = ["its alpha channel left out"] if page.samplesperpixel > samples else []
        changes += ["inverted: its white was 0"] if page.photometric == _WHITE_IS_ZERO else []
        return Raster(
            "TIFF",
            page.imagelength,
            page.imagewidth,
            samples,
            page.bitspersample,
            _rows_per_band(page),
            page.iccprofile if samples > 1 else None,
            tuple(changes),
        )


def unpack(path: str, raster: Raster, bands: range, target: str) -> None:
    """Append the rows of some bands to the file `target`."""
    with _opened(path) as file, Path(target).open("ab") as out:
        page = _picture(file)
        for band in bands:
            rows = _band(file, page, band)[:, :, : raster.samples_per_pixel]
            if page.photometric == _WHITE_IS_ZERO:
                rows = ~rows
            out.write(np.ascontiguousarray(rows, "<u2" if raster.bits == WORDS else "u1").data)


@contextmanager
def _opened(path: str) -> Iterator[TiffFile]:
    try:
        with TiffFile(path) as file:
            file.pages.useframes = False
            yield file
    except (ArchiveError, OSError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - the library raises what its own parsing and codecs raise
        raise NotImportable("image", f"is a damaged or cut TIFF file: {error}") from None


def _picture(file: TiffFile) -> TiffPage:
    """Return the one full picture; smaller copies and masks (NewSubfileType 1 and 4) are passed over."""
    pages = list(islice(file.pages, _MAX_PAGES))  # directories may lead in a circle
    full = [page for page in pages if isinstance(page, TiffPage) and not page.subfiletype & 0b101]
    if len(full) != 1:
        raise NotImportable("image", f"is a TIFF file with {len(full)} pages; give one picture")
    return full[0]


def _samples(page: TiffPage) -> int:
    """Return 1 for grey and 3 for RGB; NotImportable for everything else."""
    photometric = int(page.photometric)
    colours = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3}.get(photometric)
    if colours is None:
        kind = _PHOTOMETRIC.get(photometric, f"photometric interpretation {photometric}")
        raise NotImportable("image", f"is a TIFF file of {kind}; convert it to grey or RGB")
    if page.bitspersample not in {BYTES, WORDS} or int(page.sampleformat or _UNSIGNED) != _UNSIGNED:
        raise NotImportable(
            "image",
            f"has {page.bitspersample} bits a sample of sample format {int(page.sampleformat or 1)}; "
            "convert it to unsigned samples of 8 bits, or of 16 in grey",
        )
    if not colours <= page.samplesperpixel <= colours + 1 or page.imagedepth != 1:
        raise NotImportable("image", f"has {page.samplesperpixel} channels; convert it to grey or RGB")
    return colours


def _check_coding(page: TiffPage) -> None:
    compression = int(page.compression)
    if compression in _LOSSY:
        raise NotImportable(
            "image",
            f"is a TIFF file with {_LOSSY[compression]} inside; give a JPEG file, or pack it by deflate",
        )
    if compression not in _PACKINGS:
        known = ", ".join(dict.fromkeys(_PACKINGS.values()))
        raise NotImportable("image", f"has TIFF compression {compression}; these are taken: {known}")
    if int(page.predictor) not in {1, 2}:
        raise NotImportable("image", f"has TIFF predictor {int(page.predictor)}; 1 and 2 are taken")
    tag = page.tags.get("Orientation")
    if tag is not None and tag.value != 1:
        raise NotImportable("image", f"has TIFF orientation {int(tag.value)}; turn its pixels upright")


def _rows_per_band(page: TiffPage) -> int:
    rows = page.tilelength if page.is_tiled else page.rowsperstrip
    return max(1, min(int(rows), page.imagelength))


def _across(page: TiffPage) -> int:
    return -(-page.imagewidth // page.tilewidth) if page.is_tiled else 1


def _planes(page: TiffPage) -> int:
    return page.samplesperpixel if int(page.planarconfig) == _SEPARATE_PLANES else 1


def _check_segments(page: TiffPage, file_bytes: int) -> None:
    height = page.tilelength if page.is_tiled else _rows_per_band(page)
    width = _across(page) * page.tilewidth if page.is_tiled else page.imagewidth
    band_bytes = height * width * page.samplesperpixel * page.bitspersample // 8
    if band_bytes > MAX_BAND_BYTES:
        raise NotImportable(
            "image",
            f"is cut into pieces of {band_bytes >> 20} MiB; {MAX_BAND_BYTES >> 20} MiB are allowed: "
            "write it with tiles of 256 x 256 pixels",
        )
    expected = -(-page.imagelength // _rows_per_band(page)) * _across(page) * _planes(page)
    places = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    if len(places) != expected:
        raise NotImportable("image", f"is a damaged TIFF file: it has {len(places)} of {expected} pieces")
    for number, (offset, length) in enumerate(places, 1):
        if length <= 0 or offset <= 0 or offset + length > file_bytes:
            raise NotImportable("image", f"is a damaged or cut TIFF file: piece {number} is not in it")


def _band(file: TiffFile, page: TiffPage, band: int) -> Samples:
    """Return one row of segments as rows x columns x channels."""
    first = band * _rows_per_band(page)
    height = min(_rows_per_band(page), page.imagelength - first)
    rows = np.zeros((height, page.imagewidth, page.samplesperpixel), f"u{page.bitspersample // 8}")
    bands = -(-page.imagelength // _rows_per_band(page))
    for plane in range(_planes(page)):
        for across in range(_across(page)):
            index = (plane * bands + band) * _across(page) + across
            file.filehandle.seek(page.dataoffsets[index])
            data = file.filehandle.read(page.databytecounts[index])
            segment, place, _ = page.decode(data, index)
            if segment is None:
                raise NotImportable("image", f"is a damaged TIFF file: piece {index + 1} is empty")
            piece = segment[0][:height, : page.imagewidth - place[3]]
            channels = slice(plane, plane + 1) if _planes(page) > 1 else slice(None)
            rows[: len(piece), place[3] : place[3] + piece.shape[1], channels] = piece
    return rows
