"""The rules of the archive's own package, its names and ours, and the checks over a whole set."""

import gzip
import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from isic_metadata.fields import AnatomSiteEnum, DiagnosisEnum
from isic_metadata.metadata import MetadataBatch, MetadataRow
from pydantic import ValidationError

from app.corpus.isic.dictionary import Dictionary
from app.corpus.isic.rows import BadRow, Row, read_rows, row_of

DATA = Path(__file__).parents[1] / "data" / "isic"
TABLES = Path(__file__).parents[2] / "app" / "corpus" / "isic"
MELANOMA = "Malignant", "Malignant melanocytic proliferations (Melanoma)"


def judged(**cells: str) -> Row | BadRow:
    row = row_of(2, {"isic_id": "ISIC_0000001", **cells})
    assert isinstance(row, Row)
    return Dictionary().judge(row)


def test_of_the_2020_set_one_word_is_unknown_to_the_current_dictionary(tmp_path):
    metadata = tmp_path / "2020.csv"
    with gzip.open(DATA / "ISIC_2020_Training_GroundTruth_v2.csv.gz") as packed, metadata.open("wb") as out:
        shutil.copyfileobj(packed, out)
    rows = list(Dictionary().judged(read_rows(metadata)))
    assert not any(isinstance(row, BadRow) for row in rows)
    assert Counter(note for row in rows for note in row.notes) == {
        "anatom_site_general: 'torso' is not in the current dictionary; kept as published": 16845
    }


@pytest.mark.parametrize(
    ("cells", "field", "reason"),
    [
        ({"diagnosis": "nevus", "mel_thick_mm": "0.4"}, "mel_thick_mm", "diagnosis"),
        ({"mel_ulcer": "true"}, "mel_ulcer", "diagnosis"),
        ({"dermoscopic_type": "contact polarized"}, "dermoscopic_type", "image_type"),
        (
            {"dermoscopic_type": "contact polarized", "image_type": "RCM: tile"},
            "dermoscopic_type",
            "image_type",
        ),
        ({"rcm_case_id": "IRCM_0000001", "image_type": "dermoscopic"}, "rcm_case_id", "image_type"),
        ({"diagnosis_1": "Benign", "benign_malignant": "malignant"}, "benign_malignant", "diagnosis_1"),
        ({"concomitant_biopsy": "true"}, "concomitant_biopsy", "diagnosis_confirm_type"),
    ],
)
def test_a_contradiction_is_an_error_of_its_row(cells, field, reason):
    row = judged(**cells)
    assert isinstance(row, BadRow), row
    assert (row.error.field, row.line, row.isic_id) == (field, 2, "ISIC_0000001")
    assert reason in row.error.reason


@pytest.mark.parametrize(
    "cells",
    [
        {"diagnosis": "melanoma", "mel_thick_mm": "0.4 mm", "mel_ulcer": "true"},
        {"diagnosis_1": MELANOMA[0], "diagnosis_2": MELANOMA[1], "mel_mitotic_index": "<1/mm^2"},
        {"age": "85+", "sex": "female"},
        {"clin_size_long_diam_mm": "1.2 cm"},
        {"anatom_site_general": "head/neck", "anatom_site_1": "Head and neck", "anatom_site_2": "Neck"},
    ],
)
def test_old_names_and_suffixes_are_translated_first(cells):
    row = judged(**cells)
    assert isinstance(row, Row), row
    assert row.notes == ()


@pytest.mark.parametrize(
    ("cells", "field"),
    [
        ({"anatom_site_general": "torso"}, "anatom_site_general"),
        ({"diagnosis_1": "Benign", "diagnosis_2": "Something new"}, "diagnosis_1"),
        ({"anatom_site_1": "Tail"}, "anatom_site_1"),
        ({"tbp_tile_type": "4D", "image_type": "TBP tile: overview"}, "tbp_tile_type"),
    ],
)
def test_a_word_that_the_current_dictionary_does_not_know_is_a_note(cells, field):
    row = judged(**cells)
    assert isinstance(row, Row), row
    assert [note.partition(":")[0] for note in row.notes] == [field]


def test_an_unknown_word_hides_no_contradiction():
    row = judged(anatom_site_general="torso", diagnosis="nevus", mel_thick_mm="1")
    assert isinstance(row, BadRow)
    assert row.error.field == "mel_thick_mm"


names = st.sampled_from(["", "A1", "B2"])
sets = st.lists(
    st.tuples(names, names, names, st.sampled_from(["RCM: macroscopic", "RCM: tile"])), max_size=6
)


@given(sets)
def test_a_set_is_refused_where_the_archive_refuses_it_as_a_batch(rows):
    dictionary = Dictionary()
    judged = [
        dictionary.judge(
            row_of(
                number + 2,
                {
                    "isic_id": f"ISIC_{number:07}",
                    "patient_id": patient,
                    "lesion_id": lesion,
                    "rcm_case_id": case,
                    "image_type": kind,
                },
            )
        )
        for number, (patient, lesion, case, kind) in enumerate(rows)
    ]
    try:
        MetadataBatch(
            items=[
                MetadataRow(patient_id=p, lesion_id=lesion, rcm_case_id=case, image_type=kind)
                for p, lesion, case, kind in rows
            ]
        )
        refused = False
    except ValidationError:
        refused = True
    assert any(isinstance(row, BadRow) for row in judged) == refused


def test_the_line_of_the_other_row_is_named():
    dictionary = Dictionary()
    cells = {"isic_id": "ISIC_0000001", "lesion_id": "IL_1"}
    first = dictionary.judge(row_of(2, {**cells, "patient_id": "IP_1"}))
    second = dictionary.judge(row_of(9, {**cells, "patient_id": "IP_2"}))
    assert isinstance(first, Row)
    assert isinstance(second, BadRow)
    assert second.error.reason == "IL_1 is of patient IP_1 in line 2, of IP_2 here"
    assert second.line == 9


def test_our_trees_are_the_archives():
    """418 diagnoses and 206 sites, each node by its path: what selects a subtree is a label on it."""
    diagnoses = json.loads((TABLES / "diagnoses.json").read_text())["codes"]
    sites = json.loads((TABLES / "sites.json").read_text())["paths"]
    assert set(diagnoses) == {one.value for one in DiagnosisEnum}
    assert set(sites) == {one.value for one in AnatomSiteEnum}
    assert (len(diagnoses), len(sites)) == (418, 206)
    for path in (*diagnoses, *sites):
        parent = path.rpartition(":")[0]
        assert not parent or parent in diagnoses or parent in sites
