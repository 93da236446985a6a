"""What each image type becomes, found by mapping one image of each."""

from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from app.corpus.isic import subject
from app.corpus.isic.fields import IMAGE_TYPES
from app.corpus.isic.levels import JPEG_LS_LOSSLESS, Level, plan_frame, plan_pyramid
from app.corpus.isic.mapping import MappingOptions, map_to_dicom
from app.corpus.isic.picture import Layout, Picture
from app.corpus.isic.raster import Raster
from app.corpus.isic.rows import Row
from app.corpus.isic.subject import SopClassChoice
from app.corpus.isic.vocabulary import find_site
from tools.docs.isic import element_value
from tools.docs.tables import code, table

CELLS = {
    "isic_id": "ISIC_0000000",
    "copyright_license": "CC-0",
    "patient_id": "IP_0000001",
    "lesion_id": "IL_0000001",
    "rcm_case_id": "IRCM_0000001",
}
_FRAMES = {
    Layout.PHOTOGRAPH: "one frame of 8 bits",
    Layout.TILE: "one frame of 8 bits, or 16 in grey",
    Layout.MOSAIC: "a pyramid: an instance for each level, tiles of 512 x 512",
}


def kinds_table() -> str:
    """Return one row for each image type."""
    return table(
        ("image type", "SOP class", "modality", "pixels"),
        (_kind(image_type) for image_type in sorted(IMAGE_TYPES)),
    )


def _kind(image_type: str) -> tuple[str, ...]:
    values = CELLS | {"image_type": image_type}
    identity = subject.identify(values, find_site(values), SopClassChoice.VL_PHOTOGRAPHIC)
    return (
        code(image_type),
        f"{identity.sop_class_uid.name} {code(identity.sop_class_uid)}",
        code(identity.modality),
        _FRAMES[subject.layout_of(values)],
    )


def confocal_table() -> str:
    """Return what a confocal tile and a mosaic have that a photograph has not, or has else."""
    photograph = _mapped("RCM: macroscopic", _picture(1000, 1000))
    tile = _mapped("RCM: tile", _picture(1000, 1000))
    mosaic = _mapped("RCM: mosaic", _picture(10_000, 15_000))
    return table(
        ("tag", "attribute", "tile", "mosaic"),
        (
            (str(tag), code((mosaic.get(tag) or tile[tag]).keyword), _value(tile, tag), _value(mosaic, tag))
            for tag in sorted(tile.keys() | mosaic.keys())
            if not tag.is_private and any(one.get(tag) != photograph.get(tag) for one in (tile, mosaic))
        ),
    )


def _value(dataset: Dataset, tag: BaseTag) -> str:
    return element_value(dataset[tag]) if tag in dataset else "absent"


def _mapped(image_type: str, picture: Picture) -> Dataset:
    cells = CELLS | {"image_type": image_type}
    return map_to_dicom(Row(2, cells, cells, ()), picture, MappingOptions())


def _picture(rows: int, columns: int) -> Picture:
    """Return a picture of that size without its pixels."""
    raster = Raster("TIFF", rows, columns, 1, 8, 256, None, ())
    cut = plan_frame(raster)[0] if rows == columns else plan_pyramid(raster)[0]
    frames = (b"",) * (cut.frames_down * -(-cut.columns // cut.frame_columns))
    levels = (Level(cut.rows, cut.columns, cut.frame_rows, cut.frame_columns, frames),)
    derivation = ("TIFF as published by the ISIC Archive, encoded without loss (JPEG-LS).",)
    return Picture("TIFF", 1, "MONOCHROME2", 8, None, JPEG_LS_LOSSLESS, levels, derivation, ())
