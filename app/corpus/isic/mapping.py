"""One row and one picture to one data set: a VL Photographic or Dermoscopic Photography Image.

Nothing here reads a clock, a setting or a random number: the same input gives the same data set.
"""

from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.uid import DermoscopicPhotographyImageStorage

from app.corpus.isic import image, subject
from app.corpus.isic.block import Contents, block_contents
from app.corpus.isic.codes import code_item
from app.corpus.isic.picture import Picture
from app.corpus.isic.rows import Row
from app.corpus.isic.subject import SopClassChoice
from app.corpus.isic.vocabulary import Code, find_diagnosis, find_site
from app.corpus.licences import Licence, effective_licence
from app.dicom import private_block as private
from app.errors import NotImportable

# Of the mapping, not of the program: a release that maps the same way must write the same bytes.
MAPPING_VERSION = "ISIC mapping 2"
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


def map_to_dicom(row: Row, picture: Picture, options: MappingOptions) -> Dataset:
    """Return the data set of one image, without file meta information; NotImportable if it cannot be."""
    terms = find_terms(row, options)
    values = row.values
    site = find_site(values)
    identity = subject.identify(values, site, options.sop_class)
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = identity.sop_class_uid
    dataset.SOPInstanceUID = identity.sop_instance_uid
    subject.add_patient(dataset, values, identity, keeps_days="acquisition_day" in row.published)
    subject.add_trial(dataset, values, identity, options.collection)
    subject.add_study(dataset, values, identity)
    subject.add_series(dataset, values, identity, site)
    image.add_general_image(dataset, values, picture)
    image.add_pixels(dataset, picture)
    image.add_anatomy(dataset, values, site)
    image.add_acquisition(dataset, values, row.published)
    if identity.sop_class_uid == DermoscopicPhotographyImageStorage:
        image.add_dermoscopic(dataset, site)
    dataset.ImageComments = _citation(values["isic_id"], terms)
    dataset.ContributingEquipmentSequence = [_converter()]
    contents = block_contents(
        values,
        row.published,
        site,
        find_diagnosis(values),
        licence=terms.licence,
        attribution=terms.attribution,
        collection=options.collection,
    )
    _add_private_block(dataset, contents)
    return dataset


def _citation(isic_id: str, terms: Terms) -> str:
    parts = [isic_id]
    if terms.attribution:
        parts.append(terms.attribution.rstrip("."))
    return f"{'. '.join(parts)}. {terms.licence.title} {terms.licence.url}"


def _converter() -> Dataset:
    """Describe this program as Contributing Equipment (PS3.3 C.12.1)."""
    item = Dataset()
    item.Manufacturer = "dermzoo"
    item.ManufacturerModelName = "dermzoo import isic"
    item.SoftwareVersions = MAPPING_VERSION
    item.ContributionDescription = "JPEG and metadata of the ISIC Archive put into DICOM"
    item.PurposeOfReferenceCodeSequence = [code_item(_MODIFYING_EQUIPMENT)]
    return item


def _add_private_block(dataset: Dataset, contents: Contents) -> None:
    block = dataset.private_block(private.GROUP, private.CREATOR, create=True)
    for element, values in contents.items():
        block.add_new(
            element, private.PRIVATE_ELEMENTS[element].vr, values[0] if len(values) == 1 else [*values]
        )
