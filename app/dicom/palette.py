"""Colours looked up in a palette (PS3.3 C.7.6.3.1.5 and .6): PALETTE COLOR, and a supplemental palette."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from app.dicom.decoding import Samples
from app.dicom.grayscale import Display, by_table
from app.dicom.image_pixel import ImagePixel
from app.dicom.lookup_tables import LookupTable, read_palette
from app.dicom.uids import EXPLICIT_VR_BIG_ENDIAN

_FIRST = "RedPaletteColorLookupTableDescriptor"


def palette_colours(samples: Samples, header: Dataset, image: ImagePixel) -> Display:
    """Look up the colours of a PALETTE COLOR image; its tables may be segmented."""
    tables = _tables(header, image)
    return by_table(samples, image, lambda values: _colours(values, tables))


def has_supplemental_palette(header: Dataset) -> bool:
    """Whether values from some value on are shown in colour, those below in gray (C.7.6.19)."""
    return (
        header.get("PixelPresentation") in {"COLOR", "MIXED"}
        and "RedPaletteColorLookupTableDescriptor" in header
    )


def supplemental_colours(samples: Samples, shown: Display, header: Dataset, image: ImagePixel) -> Display:
    """Colour a monochrome picture where its values have a colour of their own."""
    tables = _tables(header, image)
    colours = by_table(samples, image, lambda values: _colours(values, tables))
    coloured = by_table(samples, image, lambda values: (values >= tables[0].first).astype(np.uint8))
    return np.where(coloured[..., None].astype(bool), colours, shown[..., None])


def _tables(header: Dataset, image: ImagePixel) -> list[LookupTable]:
    is_big_endian = image.transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN
    return [
        read_palette(header, colour, is_signed=image.is_signed, is_big_endian=is_big_endian)
        for colour in ("Red", "Green", "Blue")
    ]


def _colours(values: NDArray[Any], tables: list[LookupTable]) -> Display:
    return np.stack(
        [LookupTable(table.first, 8, table.as_bytes.astype(np.uint16)).of(values) for table in tables],
        axis=-1,
    ).astype(np.uint8)
