"""The private block of this archive: what no standard attribute can hold (PS3.5 7.8).

DICOM has no attribute for a licence, an attribution or a diagnosis of one lesion. They stand in group 0099,
private creator DERMZOO, at the element numbers below. `PRIVATE_ELEMENTS` is the table that the
documentation prints. Numbers are never reused.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

GROUP = 0x0099
CREATOR = "DERMZOO"
CREATOR_TAG = "00990010"  # where it stands unless a file has given that block to somebody else

LICENCE_ID = 0x01
LICENCE_URL = 0x02
ATTRIBUTION = 0x03
ISIC_ID = 0x04
COLLECTION = 0x05
DIAGNOSIS = 0x06
DIAGNOSIS_CODE = 0x07
DIAGNOSIS_AS_PUBLISHED = 0x08
DIAGNOSIS_CONFIRM_TYPE = 0x09
METADATA_AS_PUBLISHED = 0x0A
ANATOMIC_SITE = 0x0B
IMAGE_TYPE = 0x0C
TBP_TILE_TYPE = 0x0D
MELANOCYTIC = 0x0E
CONCOMITANT_BIOPSY = 0x0F
BRESLOW_THICKNESS_MM = 0x10
ULCERATION = 0x11
MITOTIC_INDEX = 0x12
LONGEST_DIAMETER_MM = 0x13
SEX = 0x14
AGE_APPROX = 0x15
PATIENT_ID = 0x16
LESION_ID = 0x17
RCM_CASE_ID = 0x18
ACQUISITION_DAY = 0x19
DERMOSCOPIC_TYPE = 0x1A
IMAGE_MANIPULATION = 0x1B
FITZPATRICK_SKIN_TYPE = 0x1C
PERSONAL_HISTORY = 0x1D
FAMILY_HISTORY = 0x1E
DIAGNOSIS_LEVELS = 0x1F
ANATOMIC_SITE_LEVELS = 0x20
ANATOMIC_SITE_GENERAL = 0x21
ANATOMIC_SITE_SPECIAL = 0x22
BENIGN_MALIGNANT = 0x23
COMMERCIAL_USE = 0x24
METADATA_TIME = 0x25


Facts = tuple[tuple[int, str], ...]  # the number of an attribute, one of its values

LONGEST_FACT = 500  # characters: a row of PostgreSQL's index takes about 2,700 bytes


class PrivateElement(NamedTuple):
    """One element of the block; `indexed`: an index leads from its value to the instances that have it."""

    keyword: str
    vr: str
    meaning: str
    vm: str = "1"
    indexed: bool = True


PRIVATE_ELEMENTS = {
    # Not CS: that VR has no hyphen.
    LICENCE_ID: PrivateElement("LicenseID", "SH", "Licence: CC-0, CC-BY or CC-BY-NC"),
    LICENCE_URL: PrivateElement("LicenseURL", "UR", "Licence URL", indexed=False),
    ATTRIBUTION: PrivateElement("Attribution", "UT", "Attribution that must travel with every copy"),
    ISIC_ID: PrivateElement("ISICID", "LO", "ISIC image identifier"),
    COLLECTION: PrivateElement("ISICCollection", "LO", "Collection into which the image was imported"),
    DIAGNOSIS: PrivateElement(
        "Diagnosis", "UC", "Diagnosis: path in the ISIC-DX tree, levels separated by colons"
    ),
    DIAGNOSIS_CODE: PrivateElement("DiagnosisCode", "SH", "Diagnosis code, coding scheme 99ISICDX"),
    DIAGNOSIS_AS_PUBLISHED: PrivateElement(
        "DiagnosisAsPublished", "UC", "Diagnosis label as published, where the flat list is used"
    ),
    DIAGNOSIS_CONFIRM_TYPE: PrivateElement("DiagnosisConfirmType", "LO", "How the diagnosis was confirmed"),
    METADATA_AS_PUBLISHED: PrivateElement(
        "MetadataAsPublished", "UT", "The row of metadata as published: a JSON object", indexed=False
    ),
    ANATOMIC_SITE: PrivateElement(
        "AnatomicSite", "UC", "Anatomic site as published, levels separated by colons"
    ),
    IMAGE_TYPE: PrivateElement("ISICImageType", "LO", "ISIC image type"),
    TBP_TILE_TYPE: PrivateElement("TBPTileType", "LO", "Kind of total body photography tile"),
    MELANOCYTIC: PrivateElement("Melanocytic", "CS", "Lesion is melanocytic: YES or NO"),
    CONCOMITANT_BIOPSY: PrivateElement(
        "ConcomitantBiopsy", "CS", "Biopsied at the time of the image: YES or NO"
    ),
    BRESLOW_THICKNESS_MM: PrivateElement("BreslowThickness", "DS", "Breslow thickness in millimetres"),
    ULCERATION: PrivateElement("Ulceration", "CS", "Melanoma is ulcerated: YES or NO"),
    MITOTIC_INDEX: PrivateElement("MitoticIndex", "LO", "Mitotic index, e.g. <1/mm^2"),
    LONGEST_DIAMETER_MM: PrivateElement(
        "LongestDiameter", "DS", "Longest diameter of the lesion in millimetres"
    ),
    SEX: PrivateElement("ISICSex", "LO", "Sex of the patient: male or female"),
    AGE_APPROX: PrivateElement("ISICAge", "IS", "Age in years, to the nearest five; 85 is 85 or more"),
    PATIENT_ID: PrivateElement("ISICPatientID", "LO", "ISIC patient identifier"),
    LESION_ID: PrivateElement("ISICLesionID", "LO", "ISIC lesion identifier"),
    RCM_CASE_ID: PrivateElement("ISICRCMCaseID", "LO", "ISIC confocal microscopy case identifier"),
    ACQUISITION_DAY: PrivateElement("AcquisitionDay", "IS", "Days since the patient's first image"),
    DERMOSCOPIC_TYPE: PrivateElement("DermoscopicType", "LO", "How the skin was touched and lit"),
    IMAGE_MANIPULATION: PrivateElement("ImageManipulation", "LO", "How the picture was changed"),
    FITZPATRICK_SKIN_TYPE: PrivateElement("FitzpatrickSkinType", "CS", "Fitzpatrick skin type: I to VI"),
    PERSONAL_HISTORY: PrivateElement("PersonalHistoryOfMelanoma", "CS", "The patient had one: YES or NO"),
    FAMILY_HISTORY: PrivateElement("FamilyHistoryOfMelanoma", "CS", "The family had one: YES or NO"),
    DIAGNOSIS_LEVELS: PrivateElement(
        "DiagnosisLevels",
        "UC",
        "Labels on the path of the diagnosis: a node's label selects its subtree",
        "1-n",
    ),
    ANATOMIC_SITE_LEVELS: PrivateElement(
        "AnatomicSiteLevels",
        "UC",
        "Labels on the path of the site: a node's label selects its subtree",
        "1-n",
    ),
    ANATOMIC_SITE_GENERAL: PrivateElement("AnatomicSiteGeneral", "LO", "General site, as formerly published"),
    ANATOMIC_SITE_SPECIAL: PrivateElement("AnatomicSiteSpecial", "LO", "Special site"),
    BENIGN_MALIGNANT: PrivateElement("BenignMalignant", "LO", "Formerly published beside the diagnosis"),
    COMMERCIAL_USE: PrivateElement("CommercialUse", "CS", "The licence allows commercial use: YES or NO"),
    METADATA_TIME: PrivateElement(
        "MetadataDateTime", "DT", "When the metadata were taken from the archive", indexed=False
    ),
}

TAG_BY_KEYWORD = {each.keyword: f"{GROUP:04X}10{number:02X}" for number, each in PRIVATE_ELEMENTS.items()}
ELEMENT_BY_TAG = {TAG_BY_KEYWORD[each.keyword]: each for each in PRIVATE_ELEMENTS.values()}


def tag_of_element(number: int) -> str:
    """Return the tag of an element, in the block where it is asked for."""
    return f"{GROUP:04X}10{number:02X}"


def block_of(attributes: Mapping[str, Any]) -> str:
    """Return the two digits of the block that is ours in a data set, of the first free one if none is."""
    taken: set[str] = set()
    for tag in filter(_CREATORS.__contains__, attributes):
        creator = attributes[tag].get("Value", ())
        if creator and creator[0] == CREATOR:
            return tag[6:]
        if creator:
            taken.add(tag[6:])
    if not taken:
        return CREATOR_TAG[6:]
    return next((block for number in range(0x10, 0x100) if (block := f"{number:02X}") not in taken), "10")


def values_of(attributes: Mapping[str, Any], number: int) -> list[Any]:
    """Return the values of one of our elements in a data set as DICOM JSON; none where it has none."""
    block = block_of(attributes)
    if not attributes.get(f"{GROUP:04X}00{block}"):
        return []
    found: list[Any] = attributes.get(f"{GROUP:04X}{block}{number:02X}", {}).get("Value", [])
    return [value for value in found if value is not None and value != ""]


def facts_of(attributes: Mapping[str, Any]) -> Facts:
    """Return the values in our block that an index holds, of a data set as DICOM JSON."""
    block = block_of(attributes)
    if f"{GROUP:04X}00{block}" not in attributes:
        return ()
    indexed = _INDEXED if block == CREATOR_TAG[6:] else _indexed(block)
    return tuple(
        [
            (indexed[tag], text)
            for tag in filter(indexed.__contains__, attributes)
            for text in _texts(attributes[tag])
        ]
    )


def _indexed(block: str) -> dict[str, int]:
    """Return the numbers of the attributes that an index holds, by their tags in a block."""
    return {
        f"{GROUP:04X}{block}{number:02X}": int(tag_of_element(number), 16)
        for number, element in PRIVATE_ELEMENTS.items()
        if element.indexed
    }


_INDEXED = _indexed(CREATOR_TAG[6:])  # where they nearly always are
_CREATORS = dict.fromkeys(f"{GROUP:04X}00{block:02X}" for block in range(0x100))  # PS3.5 7.8.1


def _texts(attribute: Mapping[str, Any]) -> list[str]:
    values = attribute.get("Value", ())
    if len(values) == 1 and type(text := values[0]) is str and len(text) <= LONGEST_FACT:  # as most are
        return [text] if text and "\0" not in text else _texts({"Value": (text, None)})
    texts = (str(value).replace("\0", "")[:LONGEST_FACT] for value in values if value is not None)
    return list(dict.fromkeys(filter(None, texts)))
