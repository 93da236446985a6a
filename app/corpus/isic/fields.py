"""The one registry of ISIC's columns: names old and new, what a cell may hold, its private element.

ISIC renames its fields often; frozen bundles and the challenges' CSVs keep the old names. A new name is one
more word in `columns`, a new field is one more row.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from app.dicom import private_block as private
from app.errors import NotImportable

# How the challenges' CSVs and common tools write "not known"; the archive itself leaves the cell blank.
UNKNOWN = frozenset({"", "unknown", "na", "n/a", "nan"})
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_DELIMITER = re.compile(r"[\\\x00-\x1f\x7f]")  # PS3.5 6.2: not within a value of UC and LO


def _text(value: str) -> str:
    if _CONTROL.search(value):
        raise ValueError("holds a control character")
    if len(value) > 5000:  # Image Comments (LT) holds 10240
        raise ValueError("is longer than 5000 characters")
    return value


def _label(value: str) -> str:
    if _DELIMITER.search(value):
        raise ValueError("holds a control character or a backslash")
    if len(value) > 300:
        raise ValueError("is longer than 300 characters")
    return value


def _short_label(value: str) -> str:
    if len(value) > 64:  # LO
        raise ValueError("is longer than 64 characters")
    return _label(value)


def _identifier(value: str) -> str:
    # It becomes a Patient ID (LO) and a file name: nothing to which a path or a query gives a meaning.
    if not _IDENTIFIER.fullmatch(value):
        raise ValueError(f"{value!r} is not 1 to 64 letters, digits, hyphens and underscores")
    return value


def _decimal(value: str) -> str:
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise ValueError(f"{value!r} is not a number") from None
    text = format(number.normalize(), "f") if number.is_finite() and abs(number.adjusted()) < 7 else ""
    if not text or len(text) > 16 or number < 0:  # DS holds 16 characters
        raise ValueError(f"{value!r} is out of range")
    return text


def _integer(value: str) -> str:
    # Spreadsheets and data frames write 45 as 45.0.
    text = _decimal(value)
    if not text.isdigit():
        raise ValueError(f"{value!r} is not a whole number")
    return text


def _age(value: str) -> str:
    text = _integer(value)
    if int(text) > 120:
        raise ValueError(f"{value!r} is not an age in years")
    return text


def _boolean(value: str) -> str:
    match value.lower():
        case "true" | "1" | "1.0" | "yes":
            return "YES"
        case "false" | "0" | "0.0" | "no":
            return "NO"
    raise ValueError(f"{value!r} is not true or false")


@dataclass(frozen=True, slots=True)
class Field:
    """One fact about an image: the columns that may hold it, the first preferred, and how a cell is read.

    With `choices`, a value outside of them is left out of the attributes and noted in the report: the archive
    adds words to its vocabulary, and that must not stop an import. A cell that `parse` refuses stops its row.
    """

    name: str
    columns: tuple[str, ...]
    parse: Callable[[str], str] = _label
    choices: frozenset[str] | None = None
    element: int | None = None  # in the private block

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
    Field("isic_id", ("isic_id", "image_name", "image", "image_id"), _identifier, element=private.ISIC_ID),
    Field("attribution", ("attribution",), _text, element=private.ATTRIBUTION),
    Field("copyright_license", ("copyright_license", "license"), element=private.LICENCE_ID),
    Field("public", ("public",), _boolean),
    Field("patient_id", ("patient_id",), _identifier, element=private.PATIENT_ID),
    Field("lesion_id", ("lesion_id",), _identifier, element=private.LESION_ID),
    Field("rcm_case_id", ("rcm_case_id",), _identifier, element=private.RCM_CASE_ID),
    Field("sex", ("sex",), str.lower, frozenset(SEXES), element=private.SEX),
    Field("age_approx", ("age_approx", "age"), _age, element=private.AGE_APPROX),
    Field("acquisition_day", ("acquisition_day",), _integer, element=private.ACQUISITION_DAY),
    Field("image_type", ("image_type",), choices=IMAGE_TYPES, element=private.IMAGE_TYPE),
    Field(
        "dermoscopic_type",
        ("dermoscopic_type",),
        choices=frozenset(CONTACTS),
        element=private.DERMOSCOPIC_TYPE,
    ),
    Field("image_manipulation", ("image_manipulation",), _short_label, element=private.IMAGE_MANIPULATION),
    Field("tbp_tile_type", ("tbp_tile_type",), _short_label, element=private.TBP_TILE_TYPE),
    Field(
        "fitzpatrick_skin_type",
        ("fitzpatrick_skin_type", "fitzpatrick"),
        choices=frozenset(FITZPATRICK),
        element=private.FITZPATRICK_SKIN_TYPE,
    ),
    Field("personal_hx_mm", ("personal_hx_mm",), _boolean, element=private.PERSONAL_HISTORY),
    Field("family_hx_mm", ("family_hx_mm",), _boolean, element=private.FAMILY_HISTORY),
    *(Field(name, (name,)) for name in SITE_LEVELS),
    Field(
        "anatom_site_general",
        ("anatom_site_general", "anatom_site_general_challenge"),
        _short_label,
        element=private.ANATOMIC_SITE_GENERAL,
    ),
    Field(
        "anatom_site_special", ("anatom_site_special",), _short_label, element=private.ANATOMIC_SITE_SPECIAL
    ),
    *(Field(name, (name, name.replace("diagnosis", "iddx"))) for name in DIAGNOSIS_LEVELS),
    Field("diagnosis", ("diagnosis",), element=private.DIAGNOSIS_AS_PUBLISHED),
    Field("benign_malignant", ("benign_malignant",), _short_label, element=private.BENIGN_MALIGNANT),
    Field(
        "diagnosis_confirm_type",
        ("diagnosis_confirm_type", "diagnosis_confirm"),
        _short_label,
        element=private.DIAGNOSIS_CONFIRM_TYPE,
    ),
    Field("concomitant_biopsy", ("concomitant_biopsy",), _boolean, element=private.CONCOMITANT_BIOPSY),
    Field("melanocytic", ("melanocytic",), _boolean, element=private.MELANOCYTIC),
    Field("mel_mitotic_index", ("mel_mitotic_index",), _short_label, element=private.MITOTIC_INDEX),
    Field("mel_thick_mm", ("mel_thick_mm",), _decimal, element=private.BRESLOW_THICKNESS_MM),
    Field("mel_ulcer", ("mel_ulcer",), _boolean, element=private.ULCERATION),
    Field(
        "clin_size_long_diam_mm",
        ("clin_size_long_diam_mm",),
        _decimal,
        element=private.LONGEST_DIAMETER_MM,
    ),
)
FIELD_BY_COLUMN = {column: field for field in FIELDS for column in field.columns}
ID_COLUMNS = FIELDS[0].columns
