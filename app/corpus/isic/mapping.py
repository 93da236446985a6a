"""One row and one picture to data sets: a photograph, a confocal tile, or each level of a confocal mosaic.

Nothing here reads a clock, a setting or a random number: the same input gives the same data set.
"""

from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.uid import DermoscopicPhotographyImageStorage

from app.corpus.isic import confocal, image, subject, uids
from app.corpus.isic.block import Contents, block_contents, citation
from app.corpus.isic.codes import code_item
from app.corpus.isic.picture import Layout, Picture
from app.corpus.isic.rows import Row
from app.corpus.isic.subject import SopClassChoice
from app.corpus.isic.vocabulary import Code, Site, find_diagnosis, find_site
from app.corpus.licences import Licence, effective_licence
from app.dicom import private_block as private
from app.errors import NotImportable

# Of the mapping, not of the program: a release that maps the same way must write the same bytes.
MAPPING_VERSION = "ISIC mapping 2"
_EVERY_LEVEL = {
    private.ISIC_ID,
    private.COLLECTION,
    private.LICENCE_ID,
    private.LICENCE_URL,
    private.COMMERCIAL_USE,
    private.ATTRIBUTION,
}
_MODIFYING_EQUIPMENT = Code("DCM", "109103", "Modifying Equipment")


@dataclass(frozen=True, slots=True)
class MappingOptions:
    """What the whole set has in common."""

    licence_id: str | None = None  # the stricter of this and the row's own holds
    attribution: str | None = None  # for rows that name none
    sop_class: SopClassChoice = SopClassChoice.VL_PHOTOGRAPHIC
    collection: str | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms an image is published."""

    licence: Licence
    attribution: str | None


def find_terms(row: Row, options: MappingOptions) -> Terms:
    """Return an image's terms; NotImportable when it may not be published."""
    if row.values.get("public") == "NO":
        raise NotImportable("public", "the image is not public")
    licence = effective_licence(row.values.get("copyright_license"), options.licence_id)
    attribution = row.values.get("attribution") or options.attribution
    if licence.needs_attribution and not attribution:
        raise NotImportable("attribution", f"{licence.id} asks for an attribution and none is given")
    return Terms(licence, attribution)


def map_to_dicom(row: Row, picture: Picture, options: MappingOptions, number: int = 0) -> Dataset:
    """Return the data set of one image, without file meta information; NotImportable if it cannot be.

    `number` is the level of a pyramid. Frames that are no embedded JPEG are left to who writes the file.
    """
    terms = find_terms(row, options)
    values = row.values
    site = find_site(values)
    identity = subject.identify(values, site, options.sop_class)
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = identity.sop_class_uid
    dataset.SOPInstanceUID = uids.level_instance_uid(values["isic_id"], identity.sop_class_uid, number)
    subject.add_patient(dataset, values, identity, keeps_days="acquisition_day" in row.published)
    subject.add_trial(dataset, values, identity, options.collection)
    subject.add_study(dataset, values, identity)
    subject.add_series(dataset, values, identity, site)
    _add_image(dataset, row, site, picture, number)
    dataset.ImageComments = citation(values["isic_id"], terms.licence, terms.attribution)
    dataset.ContributingEquipmentSequence = [_converter(picture)]
    contents = block_contents(
        values,
        row.published,
        site,
        find_diagnosis(values),
        licence=terms.licence,
        attribution=terms.attribution,
        collection=options.collection,
    )
    _add_private_block(dataset, contents if number == 0 else _of_every_level(contents))
    return dataset


def _of_every_level(contents: Contents) -> Contents:
    """Return which image it is, on which terms: what is counted of an image stands in its full level."""
    return {element: values for element, values in contents.items() if element in _EVERY_LEVEL}


def _add_image(dataset: Dataset, row: Row, site: Site, picture: Picture, number: int) -> None:
    """Add what is of the image: its pixels, where and how they were acquired, and the module of its kind."""
    values = row.values
    image.add_general_image(dataset, values, picture)
    image.add_pixels(dataset, picture, picture.levels[number])
    image.add_acquisition(dataset, values, row.published)
    layout = subject.layout_of(values)
    if layout is Layout.PHOTOGRAPH:
        image.add_profile(dataset, picture)
        image.add_anatomy(dataset, values, site)
    else:
        confocal.add_confocal(dataset, values, site, picture, layout, number)
    if dataset.SOPClassUID == DermoscopicPhotographyImageStorage:
        image.add_dermoscopic(dataset, site)


def _converter(picture: Picture) -> Dataset:
    """Describe this program as Contributing Equipment (PS3.3 C.12.1)."""
    item = Dataset()
    item.Manufacturer = "dermzoo"
    item.ManufacturerModelName = "dermzoo import isic"
    item.SoftwareVersions = MAPPING_VERSION
    item.ContributionDescription = f"{picture.format} and metadata of the ISIC Archive put into DICOM"
    item.PurposeOfReferenceCodeSequence = [code_item(_MODIFYING_EQUIPMENT)]
    return item


def _add_private_block(dataset: Dataset, contents: Contents) -> None:
    block = dataset.private_block(private.GROUP, private.CREATOR, create=True)
    for element, values in contents.items():
        block.add_new(
            element, private.PRIVATE_ELEMENTS[element].vr, values[0] if len(values) == 1 else [*values]
        )
