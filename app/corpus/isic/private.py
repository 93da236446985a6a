"""The private block: what ISIC says that no standard attribute can hold (PS3.5 7.8).

DICOM has no attribute for a licence, an attribution or a diagnosis of one lesion. They stand in group 0099,
private creator DERMZOO, at the element numbers below. `PRIVATE_ELEMENTS` is the table that the
documentation prints. Numbers are never reused.
"""

from typing import NamedTuple

GROUP = 0x0099
CREATOR = "DERMZOO"

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


class PrivateElement(NamedTuple):
    """One element of the block: its VR and what it means."""

    vr: str
    meaning: str


PRIVATE_ELEMENTS = {
    # Not CS: that VR has no hyphen.
    LICENCE_ID: PrivateElement("SH", "Licence: CC-0, CC-BY or CC-BY-NC"),
    LICENCE_URL: PrivateElement("UR", "Licence URL"),
    ATTRIBUTION: PrivateElement("UT", "Attribution that must travel with every copy"),
    ISIC_ID: PrivateElement("LO", "ISIC image identifier"),
    COLLECTION: PrivateElement("LO", "Collection into which the image was imported"),
    DIAGNOSIS: PrivateElement("UC", "Diagnosis: path in the ISIC-DX tree, levels separated by colons"),
    DIAGNOSIS_CODE: PrivateElement("SH", "Diagnosis code, coding scheme 99ISICDX"),
    DIAGNOSIS_AS_PUBLISHED: PrivateElement("UC", "Diagnosis label as published, where the flat list is used"),
    DIAGNOSIS_CONFIRM_TYPE: PrivateElement("LO", "How the diagnosis was confirmed"),
    METADATA_AS_PUBLISHED: PrivateElement("UT", "The row of metadata as published: a JSON object"),
    ANATOMIC_SITE: PrivateElement("UC", "Anatomic site as published, levels separated by colons"),
    IMAGE_TYPE: PrivateElement("LO", "ISIC image type"),
    TBP_TILE_TYPE: PrivateElement("LO", "Kind of total body photography tile"),
    MELANOCYTIC: PrivateElement("CS", "Lesion is melanocytic: YES or NO"),
    CONCOMITANT_BIOPSY: PrivateElement("CS", "Biopsied at the time of the image: YES or NO"),
    BRESLOW_THICKNESS_MM: PrivateElement("DS", "Breslow thickness in millimetres"),
    ULCERATION: PrivateElement("CS", "Melanoma is ulcerated: YES or NO"),
    MITOTIC_INDEX: PrivateElement("LO", "Mitotic index, e.g. <1/mm^2"),
    LONGEST_DIAMETER_MM: PrivateElement("DS", "Longest diameter of the lesion in millimetres"),
}
