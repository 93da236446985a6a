"""What ISIC's own dictionary says of a row: the rules of the `isic-metadata` package, names translated first.

A value that the current dictionary does not know is a note: frozen sets have many. What contradicts itself
is an error of its row.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from isic_metadata.metadata import MetadataRow
from pydantic import ValidationError

from app.corpus.isic.fields import DIAGNOSIS_LEVELS, SITE_LEVELS
from app.corpus.isic.rows import BadRow, Row
from app.corpus.isic.vocabulary import find_diagnosis
from app.errors import NotImportable

# Ours and the package's; of patient, lesion and case only the case takes part in what is checked of a row.
_NAMES = {
    "age_approx": "age",
    **{
        name: name
        for name in (
            "sex",
            "anatom_site_general",
            "anatom_site_special",
            "diagnosis_confirm_type",
            "personal_hx_mm",
            "family_hx_mm",
            "clin_size_long_diam_mm",
            "fitzpatrick_skin_type",
            "melanocytic",
            "concomitant_biopsy",
            "mel_mitotic_index",
            "mel_thick_mm",
            "mel_ulcer",
            "acquisition_day",
            "image_manipulation",
            "image_type",
            "dermoscopic_type",
            "tbp_tile_type",
            "rcm_case_id",
        )
    },
}
_JUDGED = (*_NAMES, *DIAGNOSIS_LEVELS, *SITE_LEVELS, "diagnosis", "benign_malignant")
_OURS = {theirs: ours for ours, theirs in _NAMES.items()} | {
    "diagnosis": "diagnosis_1",
    "anatom_site": "anatom_site_1",
}
_BOOLEANS = {"YES": True, "NO": False}
_CONTRADICTIONS = {"incompatible_fields", "missing_field"}
_OPPOSITE = {"benign": "Malignant", "malignant": "Benign"}

Verdict = tuple[NotImportable | None, tuple[str, ...]]


@dataclass
class Dictionary:
    """The judge of one set: it remembers whose each lesion and case was, and where it said so."""

    patients: dict[str, tuple[str, int]] = field(default_factory=dict)  # by lesion
    lesions: dict[str, tuple[str, int]] = field(default_factory=dict)  # by case
    macroscopic: dict[str, tuple[str, int]] = field(default_factory=dict)  # the image, by case

    def judged(self, rows: Iterable[Row | BadRow]) -> Iterator[Row | BadRow]:
        """Yield the rows, each with the notes on it, or as one that cannot be taken."""
        for row in rows:
            yield row if isinstance(row, BadRow) else self.judge(row)

    def judge(self, row: Row) -> Row | BadRow:
        """Return the row with the notes on it, or why it contradicts itself or a row before it."""
        error, notes = _verdict(tuple(map(row.values.get, _JUDGED)))
        error = error or self._contradicted(row)
        if error:
            return BadRow(row.line, row.isic_id, error)
        return replace(row, notes=(*row.notes, *notes)) if notes else row

    def _contradicted(self, row: Row) -> NotImportable | None:
        """Return what the package's batch would object to, of this row and those before it.

        The package judges a whole set in memory, and names five examples without their lines.
        """
        patient, lesion, case = map(row.values.get, ("patient_id", "lesion_id", "rcm_case_id"))
        of_lesion = self.patients.setdefault(lesion, (patient, row.line)) if lesion and patient else None
        if of_lesion and of_lesion[0] != patient:
            reason = f"{lesion} is of patient {of_lesion[0]} in line {of_lesion[1]}, of {patient} here"
            return NotImportable("lesion_id", reason)
        of_case = self.lesions.setdefault(case, (lesion, row.line)) if case and lesion else None
        if of_case and of_case[0] != lesion:
            reason = f"{case} is of lesion {of_case[0]} in line {of_case[1]}, of {lesion} here"
            return NotImportable("rcm_case_id", reason)
        if case and row.values.get("image_type") == "RCM: macroscopic":
            first, line = self.macroscopic.setdefault(case, (row.isic_id, row.line))
            if first != row.isic_id:
                return NotImportable("rcm_case_id", f"{case} has a macroscopic image in line {line} already")
        return None


@lru_cache(maxsize=100_000)
def _verdict(cells: tuple[str | None, ...]) -> Verdict:
    values = {name: value for name, value in zip(_JUDGED, cells, strict=True) if value is not None}
    return _contradiction(values) or _judged_by_the_package(values)


def _contradiction(values: dict[str, str]) -> Verdict | None:
    stated = values.get("benign_malignant", "")
    root = values.get("diagnosis_1")
    if root and root == _OPPOSITE.get(stated):
        return NotImportable("benign_malignant", f"{stated!r} contradicts diagnosis_1, {root!r}"), ()
    return None


def _judged_by_the_package(values: dict[str, str]) -> Verdict:
    translated = _translated(values)
    notes: list[str] = []
    # A field that is not known hides what else is wrong: it is left out, and the rest judged again.
    while True:
        try:
            MetadataRow(**translated)
        except ValidationError as error:
            problems = error.errors()
            wrong = next((one for one in problems if one["type"] in _CONTRADICTIONS), None)
            if wrong is not None:
                at = str(wrong.get("ctx", {}).get("field1", ""))
                return NotImportable(_OURS.get(at, at), _sentence(wrong["msg"])), ()
            refused = {str(one["loc"][0]) for one in problems if one["loc"]} & translated.keys()
            if not refused:
                return NotImportable("row", _sentence(problems[0]["msg"])), ()
            notes += [
                f"{_OURS.get(name, name)}: {translated.pop(name)!r} is not in the current dictionary; "
                "kept as published"
                for name in sorted(refused)
            ]
        else:
            return None, tuple(notes)


def _translated(values: dict[str, str]) -> dict[str, Any]:
    """Return the row under the package's names: paths in one, old labels as the nodes they mean."""
    translated: dict[str, Any] = {
        theirs: _BOOLEANS.get(values[ours], values[ours]) for ours, theirs in _NAMES.items() if ours in values
    }
    diagnosis = find_diagnosis(values)
    stated = ":".join(values.get(level, "") for level in DIAGNOSIS_LEVELS).rstrip(":")
    if stated or diagnosis:
        translated["diagnosis"] = stated or (diagnosis.path if diagnosis else "")
    if site := ":".join(values.get(level, "") for level in SITE_LEVELS).rstrip(":"):
        translated["anatom_site"] = site
    return translated


def _sentence(message: str) -> str:
    return message.rstrip(".")
