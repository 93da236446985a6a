"""What the ISIC mapping does, found by doing it: a full row is mapped, then again with one field less."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from app.corpus.isic.fields import FIELDS, KEPT_FIELDS, Field
from app.corpus.isic.mapping import MappingOptions, map_to_dicom
from app.corpus.isic.picture import Picture, prepare_picture
from app.corpus.isic.rows import Row
from app.corpus.isic.subject import SopClassChoice
from app.corpus.licences import LICENCES
from app.dicom import private_block as private
from tools.docs.tables import code, table

SAMPLE = Path(__file__).parents[2] / "corpus" / "isic-sample" / "images" / "ISIC_0000000.jpg"

# One value for every field.
FULL = {
    "isic_id": "ISIC_0000000",
    "attribution": "Example Hospital",
    "copyright_license": "CC-BY",
    "public": "true",
    "public_from": "2020-01-31",
    "patient_id": "IP_0000001",
    "lesion_id": "IL_0000001",
    "rcm_case_id": "RC_0000001",
    "sex": "female",
    "age_approx": "45",
    "acquisition_day": "12",
    "image_type": "dermoscopic",
    "dermoscopic_type": "contact polarized",
    "image_manipulation": "altered",
    "tbp_tile_type": "3D: XP",
    "fitzpatrick_skin_type": "II",
    "personal_hx_mm": "false",
    "family_hx_mm": "true",
    "anatom_site_1": "Trunk",
    "anatom_site_2": "Anterior trunk",
    "anatom_site_3": "Anterior abdomen",
    "anatom_site_4": "Periumbilical region",
    "anatom_site_5": "Umbilicus",
    "anatom_site_general": "anterior torso",
    "anatom_site_special": "fingernail",
    "diagnosis_1": "Malignant",
    "diagnosis_2": "Malignant melanocytic proliferations (Melanoma)",
    "diagnosis_3": "Melanoma Invasive",
    "diagnosis_4": "Melanoma Invasive, Blue nevus-like",
    "diagnosis_5": "Melanoma Invasive, resembling blue nevus",
    "diagnosis": "melanoma",
    "benign_malignant": "malignant",
    "diagnosis_confirm_type": "histopathology",
    "concomitant_biopsy": "true",
    "melanocytic": "true",
    "mel_mitotic_index": "<1/mm^2",
    "mel_thick_mm": "0.4",
    "mel_ulcer": "false",
    "clin_size_long_diam_mm": "5",
}
LEAST = {"isic_id": "ISIC_0000000", "copyright_license": "CC-0"}
OTHER = {"isic_id": "ISIC_0000001", "copyright_license": "CC-BY-NC"}
_LONGEST = 90
# What the fields do that say whether an image is published at all.
_PUBLISHING = {
    "public": "the row is refused when it says `false`; what is held already is hidden",
    "public_from": "the row is refused before that day; what is held already is hidden until then",
}


def columns_table() -> str:
    """Return one row for each field: its columns, and which values are taken."""
    return table(
        ("field", "columns, the first preferred", "values", "in the private block", "removed by ISIC"),
        (
            (
                code(field.name),
                ", ".join(map(code, field.columns)),
                _choices(field),
                _element(field.element),
                field.removed,
            )
            for field in FIELDS
        ),
    )


def kept_table() -> str:
    """Return one row for each field of which no attribute is made."""
    return table(
        ("field", "columns", "cells", "removed by ISIC"),
        (
            (
                code(field.name),
                ", ".join(map(code, field.columns)),
                field.parse.__name__,
                field.removed,
            )
            for field in KEPT_FIELDS
        ),
    )


def _choices(field: Field) -> str:
    return ", ".join(map(code, sorted(field.choices))) if field.choices is not None else ""


def _element(element: int | None) -> str:
    return "" if element is None else code(f"(0099,xx{element:02X})")


def effects_table() -> str:
    """Return one row for each field: the attributes that change when a row has it and when it has not."""
    return table(
        ("field", "attributes that depend on it"),
        (
            (
                code(field.name),
                ", ".join(_effects(field.name)) or f"none: {_PUBLISHING[field.name]}",
            )
            for field in FIELDS
        ),
    )


def _effects(name: str) -> list[str]:
    changed: dict[str, None] = {}
    for base in (FULL, LEAST):
        value = OTHER.get(name) or FULL[name]
        without = {key: cell for key, cell in base.items() if key != name}
        if name in LEAST:
            without[name] = LEAST[name] if value != base[name] else OTHER[name]
        changed |= dict.fromkeys(_differences(mapped(without), mapped(base | {name: value})))
    changed.pop(_label(_element_of(private.METADATA_AS_PUBLISHED)), None)
    return list(changed)


def mapped(cells: Mapping[str, str], choice: SopClassChoice = SopClassChoice.VL_PHOTOGRAPHIC) -> Dataset:
    """Return the data set of a row that has these cells."""
    values = {field.name: field.read(cells[field.name]) for field in FIELDS if field.name in cells}
    row = Row(2, values, dict(cells), ())
    return map_to_dicom(row, _picture(), MappingOptions("CC-0", "Example", choice, "example"))


@cache
def _picture() -> Picture:
    return prepare_picture(SAMPLE.read_bytes(), lambda function, *arguments: function(*arguments))


def _differences(one: Dataset, other: Dataset) -> list[str]:
    tags = sorted(one.keys() | other.keys())
    return [_label((other if tag in other else one)[tag]) for tag in tags if one.get(tag) != other.get(tag)]


def _element_of(element: int) -> DataElement:
    return mapped(FULL)[private.GROUP, 0x1000 | element]


def _label(element: DataElement) -> str:
    if element.tag.is_private:
        return code(f"(0099,xx{element.tag.element & 0xFF:02X})")
    return code(element.keyword)


def private_table() -> str:
    """Return one row for each private element."""
    return table(
        ("element", "keyword", "VR", "VM", "meaning", "has an index"),
        (
            (
                _element(number),
                code(element.keyword),
                element.vr,
                element.vm,
                element.meaning,
                "yes" if element.indexed else "",
            )
            for number, element in sorted(private.PRIVATE_ELEMENTS.items())
        ),
    )


def dcmtk_dictionary() -> str:
    """Return the private elements as a dictionary of DCMTK has them."""
    lines = (
        f'({private.GROUP:04x},"{private.CREATOR}",{number:02x})\t{one.vr}\t{one.keyword}\t{one.vm}\t{private.CREATOR}'
        for number, one in sorted(private.PRIVATE_ELEMENTS.items())
    )
    return "\n".join(["# The private elements of dermzoo, for DCMDICTPATH of DCMTK's programs.", *lines, ""])


def example_table() -> str:
    """Return every attribute of the full row's data set."""
    return table(
        ("tag", "attribute", "VR", "value"),
        (
            (str(element.tag), element.keyword or "private", element.VR, element_value(element))
            for element in mapped(FULL)
        ),
    )


def dermoscopic_table() -> str:
    """Return what differs when the same row becomes a Dermoscopic Photography Image."""
    plain, dermoscopic = mapped(FULL), mapped(FULL, SopClassChoice.DERMOSCOPIC)
    return table(
        ("tag", "attribute", "VL Photographic", "Dermoscopic Photography"),
        (
            (
                str(tag),
                code(dermoscopic[tag].keyword),
                element_value(plain[tag]) if tag in plain else "absent",
                element_value(dermoscopic[tag]),
            )
            for tag in sorted(plain.keys() | dermoscopic.keys())
            if plain.get(tag) != dermoscopic.get(tag)
        ),
    )


def licences_table() -> str:
    """Return one row for each licence."""
    return table(
        ("licence", "SPDX", "attribution", "commercial use"),
        (
            (
                f"[{licence.id}]({licence.url})",
                licence.spdx_id,
                "must be kept" if licence.needs_attribution else "not asked for",
                "allowed" if licence.allows_commercial_use else "not allowed",
            )
            for licence in LICENCES
        ),
    )


def element_value(element: DataElement) -> str:
    """Return the value of an element for a table."""
    if element.VR == "SQ":
        return "; ".join(_item(item) for item in element.value) or "empty"
    if isinstance(element.value, bytes):
        return f"{len(element.value)} bytes"
    if element.is_empty:
        return "empty"
    text = str(element.value) if element.VM < 2 else "\\".join(map(str, element.value))
    return code(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")


def _item(item: Dataset) -> str:
    if "CodeValue" in item:
        return code(f'({item.CodeValue}, {item.CodingSchemeDesignator}, "{item.CodeMeaning}")')
    if "ConceptNameCodeSequence" in item:
        return f"{_item(item.ConceptNameCodeSequence[0])} = {_item(item.ConceptCodeSequence[0])}"
    return ", ".join(f"{element.keyword} {element_value(element)}" for element in item)
