"""ISIC's sites and diagnoses as codes, from sites.json and diagnoses.json beside this file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import NamedTuple

from app.corpus.isic.fields import DIAGNOSIS_LEVELS, SITE_LEVELS

DIAGNOSIS_SCHEME = "99ISICDX"
# Labels of the flat list, removed in 2025, that mean a node of the tree with another name.
_FORMER_LABELS = {"melanoma": "malignant melanocytic proliferations (melanoma)"}


class Code(NamedTuple):
    """A coded concept (PS3.3 8.8)."""

    scheme: str
    value: str
    meaning: str


SKIN = Code("SCT", "39937001", "Skin")


@dataclass(frozen=True, slots=True)
class Site:
    """Where on the body: the path as published, and the nearest code of CID 4029."""

    path: str
    region: Code
    structure: Code | None  # PS3.3 10.5: the nail, where the region is a digit
    body_part_examined: str  # PS3.16 Annex L


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A node of the ISIC-DX tree."""

    path: str
    code: str


@cache
def _table(name: str) -> dict[str, dict[str, list[str]]]:
    loaded: dict[str, dict[str, list[str]]] = json.loads(
        (files("app.corpus.isic") / name).read_text(encoding="utf-8")
    )
    return loaded


@cache
def _diagnoses() -> tuple[dict[str, str], dict[str, str]]:
    codes: dict[str, str] = json.loads(
        (files("app.corpus.isic") / "diagnoses.json").read_text(encoding="utf-8")
    )["codes"]
    # Labels are unique in the tree, so the last one alone names its node.
    return codes, {path.rsplit(":", 1)[-1].lower(): path for path in codes}


def _code(group: str, name: str) -> Code | None:
    found = _table("sites.json")[group].get(name)
    return Code(*found[:3]) if found else None


# The first that is part of the path wins. Anogenital is no term of Annex L, hence SKIN.
_BODY_PARTS = (
    ("Scalp", "SCALP"),
    ("Ear", "EAR"),
    ("Face", "FACE"),
    ("Neck", "NECK"),
    ("Head", "HEAD"),
    ("Hand", "HAND"),
    ("Foot", "FOOT"),
    ("Head and neck", "HEADNECK"),
    ("Trunk", "TRUNK"),
    ("Upper extremity", "EXTREMITY"),
    ("Lower extremity", "EXTREMITY"),
    ("head/neck", "HEADNECK"),
    ("upper extremity", "EXTREMITY"),
    ("lower extremity", "EXTREMITY"),
    ("anterior torso", "TRUNK"),
    ("posterior torso", "TRUNK"),
    ("lateral torso", "TRUNK"),
    ("torso", "TRUNK"),
)


def find_site(values: Mapping[str, str]) -> Site:
    """Return the site of an image from its fields; the skin as a whole when nothing nearer is known."""
    levels = tuple(values[level] for level in SITE_LEVELS if level in values)
    return _site(levels, values.get("anatom_site_general"), values.get("anatom_site_special"))


@lru_cache(maxsize=10_000)
def _site(levels: tuple[str, ...], general: str | None, special: str | None) -> Site:
    # The longest prefix that has a code: the tree may have grown below it.
    prefixes = (":".join(levels[:depth]) for depth in range(len(levels), 0, -1))
    region = next((code for prefix in prefixes if (code := _code("paths", prefix))), None)
    if region is None and general:
        region = _code("general", general)
    structure = _code("special", special) if special in {"fingernail", "toenail"} else None
    named = levels or ((general,) if general else ())
    body_part = next((term for part, term in _BODY_PARTS if part in named), "SKIN")
    path = ":".join([*named, special] if special else named)
    return Site(path, region or SKIN, structure, body_part)


def find_diagnosis(values: Mapping[str, str]) -> Diagnosis | None:
    """Return the node of the tree that the fields name: by path, by flat label, or by benign/malignant."""
    levels = tuple(values[level] for level in DIAGNOSIS_LEVELS if level in values)
    return _diagnosis(levels, values.get("diagnosis", "").lower(), values.get("benign_malignant", ""))


@lru_cache(maxsize=10_000)
def _diagnosis(levels: tuple[str, ...], label: str, benign_malignant: str) -> Diagnosis | None:
    codes, by_label = _diagnoses()
    root = benign_malignant.split("/", maxsplit=1)[0].capitalize()
    candidates = [":".join(levels[:depth]) for depth in range(len(levels), 0, -1)]
    flat = by_label.get(_FORMER_LABELS.get(label, label), "")
    # A label that contradicts its own benign/malignant column is believed no further than that column.
    candidates += [flat if flat.startswith(root) else "", root]
    path = next((path for path in candidates if path in codes), None)
    return Diagnosis(path, codes[path]) if path else None
