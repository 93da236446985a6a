"""The one registry of ISIC's columns: names old and new, what a cell may hold, its private element.

ISIC renames its fields often; frozen bundles and the challenges' CSVs keep the old names. A new name is one
more word in `columns`, a new field is one more row.
"""

from collections.abc import Callable
from dataclasses import dataclass

from app.corpus.isic import cells
from app.dicom import private_block as private
from app.errors import NotImportable


@dataclass(frozen=True, slots=True)
class Field:
    """One fact about an image: the columns that may hold it, the first preferred, and how a cell is read.

    With `choices`, a value outside of them is left out of the attributes and noted in the report: the archive
    adds words to its vocabulary, and that must not stop an import. A cell that `parse` refuses stops its row.
    """

    name: str
    columns: tuple[str, ...]
    parse: Callable[[str], str] = cells.label
    choices: frozenset[str] | None = None
    element: int | None = None  # in the private block
    removed: str = ""  # from the archive's dictionary: when

    def read(self, cell: str) -> str:
        """Return the cell in canonical form; NotImportable names the field when it cannot be."""
        try:
            return self.parse(cell)
        except ValueError as error:
            raise NotImportable(self.name, str(error)) from None


def _choices(*values: str) -> frozenset[str]:
    return frozenset(values)


IMAGE_TYPES = _choices(
    "dermoscopic",
    "clinical: overview",
    "clinical: close-up",
    "TBP tile: close-up",
    "TBP tile: overview",
    "RCM: macroscopic",
    "RCM: tile",
    "RCM: mosaic",
)
SEXES = {"male": "M", "female": "F"}
CONTACTS = {
    "contact polarized": ("CONTACT", "POLARIZED"),
    "contact non-polarized": ("CONTACT", "NON_POLARIZED"),
    "non-contact polarized": ("NON_CONTACT", "POLARIZED"),
}
# CID 4401; the codes are NCI Thesaurus concepts.
FITZPATRICK = {
    "I": "C74569",
    "II": "C74570",
    "III": "C74571",
    "IV": "C74572",
    "V": "C74573",
    "VI": "C74574",
}
DIAGNOSIS_LEVELS = tuple(f"diagnosis_{level}" for level in range(1, 6))
SITE_LEVELS = tuple(f"anatom_site_{level}" for level in range(1, 6))

FIELDS = (
    Field(
        "isic_id", ("isic_id", "image_name", "image", "image_id"), cells.identifier, element=private.ISIC_ID
    ),
    Field("attribution", ("attribution",), cells.text, element=private.ATTRIBUTION),
    Field("copyright_license", ("copyright_license", "license"), element=private.LICENCE_ID),
    Field("public", ("public",), cells.boolean),
    Field("public_from", ("public_from", "embargo_until"), cells.day),
    Field("patient_id", ("patient_id",), cells.identifier, element=private.PATIENT_ID),
    Field("lesion_id", ("lesion_id",), cells.identifier, element=private.LESION_ID),
    Field("rcm_case_id", ("rcm_case_id",), cells.identifier, element=private.RCM_CASE_ID),
    Field("sex", ("sex",), str.lower, frozenset(SEXES), element=private.SEX),
    Field("age_approx", ("age_approx", "age"), cells.age, element=private.AGE_APPROX),
    Field("acquisition_day", ("acquisition_day",), cells.integer, element=private.ACQUISITION_DAY),
    Field("image_type", ("image_type",), choices=IMAGE_TYPES, element=private.IMAGE_TYPE),
    Field(
        "dermoscopic_type",
        ("dermoscopic_type",),
        choices=frozenset(CONTACTS),
        element=private.DERMOSCOPIC_TYPE,
    ),
    Field(
        "image_manipulation", ("image_manipulation",), cells.short_label, element=private.IMAGE_MANIPULATION
    ),
    Field("tbp_tile_type", ("tbp_tile_type",), cells.short_label, element=private.TBP_TILE_TYPE),
    Field(
        "fitzpatrick_skin_type",
        ("fitzpatrick_skin_type", "fitzpatrick"),
        choices=frozenset(FITZPATRICK),
        element=private.FITZPATRICK_SKIN_TYPE,
    ),
    Field("personal_hx_mm", ("personal_hx_mm",), cells.boolean, element=private.PERSONAL_HISTORY),
    Field("family_hx_mm", ("family_hx_mm",), cells.boolean, element=private.FAMILY_HISTORY),
    *(Field(name, (name,)) for name in SITE_LEVELS),
    Field(
        "anatom_site_general",
        ("anatom_site_general", "anatom_site_general_challenge"),
        cells.short_label,
        element=private.ANATOMIC_SITE_GENERAL,
        removed="2026-05",
    ),
    Field(
        "anatom_site_special",
        ("anatom_site_special",),
        cells.short_label,
        element=private.ANATOMIC_SITE_SPECIAL,
    ),
    *(Field(name, (name, name.replace("diagnosis", "iddx"))) for name in DIAGNOSIS_LEVELS),
    Field("diagnosis", ("diagnosis",), element=private.DIAGNOSIS_AS_PUBLISHED, removed="2025-05"),
    Field(
        "benign_malignant",
        ("benign_malignant",),
        cells.short_label,
        element=private.BENIGN_MALIGNANT,
        removed="2025-06",
    ),
    Field(
        "diagnosis_confirm_type",
        ("diagnosis_confirm_type", "diagnosis_confirm"),
        cells.short_label,
        element=private.DIAGNOSIS_CONFIRM_TYPE,
    ),
    Field("concomitant_biopsy", ("concomitant_biopsy",), cells.boolean, element=private.CONCOMITANT_BIOPSY),
    Field("melanocytic", ("melanocytic",), cells.boolean, element=private.MELANOCYTIC),
    Field("mel_mitotic_index", ("mel_mitotic_index",), cells.short_label, element=private.MITOTIC_INDEX),
    Field("mel_thick_mm", ("mel_thick_mm",), cells.millimetres, element=private.BRESLOW_THICKNESS_MM),
    Field("mel_ulcer", ("mel_ulcer",), cells.boolean, element=private.ULCERATION),
    Field(
        "clin_size_long_diam_mm",
        ("clin_size_long_diam_mm",),
        cells.millimetres,
        element=private.LONGEST_DIAMETER_MM,
    ),
)

_TBP_NUMBERS = """
    A Aext B Bext C Cext H Hext L Lext areaMM2 area_perim_ratio color_std_mean deltaA deltaB deltaL deltaLB
    deltaLBnorm eccentricity minorAxisMM nevi_confidence norm_border norm_color perimeterMM
    radial_color_std_max stdL stdLExt symm_2axis symm_2axis_angle x y z dnn_lesion_confidence
"""
_MONET = """
    ulceration_crust hair vasculature_vessels erythema pigmented gel_water_drop_fluid_dermoscopy_liquid
    skin_markings_pen_ink_purple_pen
"""
# What no attribute is made of: kept as published, and exported. A cell that cannot be read stops no row.
KEPT_FIELDS = (
    Field("pixels_x", ("pixels_x", "pixelsX", "pixelsx"), cells.integer),
    Field("pixels_y", ("pixels_y", "pixelsY", "pixelsy"), cells.integer),
    Field("nevus_type", ("nevus_type",), removed="2025-06"),
    Field("mel_type", ("mel_type",), removed="2025-06"),
    Field("mel_class", ("mel_class",), removed="2025-06"),
    Field("marker_pen", ("marker_pen",), cells.boolean, removed="isic-metadata 6"),
    Field("hairy", ("hairy",), cells.boolean, removed="isic-metadata 6"),
    Field("blurry", ("blurry",), cells.boolean, removed="isic-metadata 6"),
    Field("color_tint", ("color_tint",), choices=_choices("blue", "pink", "none"), removed="isic-metadata 6"),
    Field("iddx_full", ("iddx_full",)),
    Field("target", ("target",), cells.integer),
    Field("skin_tone_class", ("skin_tone_class",), cells.integer),  # 0 is very dark: not Fitzpatrick's scale
    Field("tbp_lv_location", ("tbp_lv_location",)),
    Field("tbp_lv_location_simple", ("tbp_lv_location_simple",)),
    *(Field(f"tbp_lv_{name}", (f"tbp_lv_{name}",), cells.measurement) for name in _TBP_NUMBERS.split()),
    *(Field(f"MONET_{name}", (f"MONET_{name}",), cells.measurement) for name in _MONET.split()),
)
ALL_FIELDS = FIELDS + KEPT_FIELDS
FIELD_BY_COLUMN = {column: field for field in ALL_FIELDS for column in field.columns}
ID_COLUMNS = FIELDS[0].columns
