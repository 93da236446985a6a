"""Attribute matching as PS3.4 C.2.2.2 defines it, for QIDO-RS and C-FIND alike."""

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from app.dicom.tags import keyword, value_representation
from app.errors import InvalidQuery

# PS3.4 C.2.2.2.4 lists what wild cards do NOT apply to; these are the rest.
WILDCARD_VRS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
RANGE_VRS = frozenset({"DA", "DT", "TM"})  # C.2.2.2.5
INTEGER_VRS = frozenset({"IS", "SL", "SS", "SV", "UL", "US", "UV"})
NUMBER_VRS = INTEGER_VRS | {"DS", "FD", "FL"}

PATTERNS = {
    "DA": (re.compile(r"\d{8}"), "YYYYMMDD"),
    "TM": (re.compile(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?"), "HHMMSS.FFFFFF"),
    "DT": (re.compile(r"\d{4}(\d{2}){0,5}(\.\d{1,6})?([+-]\d{4})?"), "YYYYMMDDHHMMSS.FFFFFF&ZZXX"),
}


class Level(IntEnum):
    """The levels of the Study Root information model (PS3.4 C.6.2)."""

    STUDY = 1
    SERIES = 2
    INSTANCE = 3


@dataclass(frozen=True)
class Universal:
    """C.2.2.2.3: an empty value matches everything."""


@dataclass(frozen=True)
class SingleValue:
    """C.2.2.2.1: equal; without regard to case for person names."""

    value: str


@dataclass(frozen=True)
class UIDList:
    """C.2.2.2.2: any of these."""

    values: tuple[str, ...]


@dataclass(frozen=True)
class Wildcard:
    """C.2.2.2.4: `*` stands for any characters, `?` for one."""

    pattern: str


@dataclass(frozen=True)
class Range:
    """C.2.2.2.5: both ends are inclusive; an empty end is open."""

    start: str
    end: str


Match = Universal | SingleValue | UIDList | Wildcard | Range


@dataclass(frozen=True)
class Query:
    """One search, whichever door it came through.

    Attributes are hexadecimal tags or dotted paths of them. `study_instance_uid` and
    `series_instance_uid` are the parents named by the resource, not matching keys: what is
    above them is not returned (PS3.18 10.6.3.3). `include` is what was asked for beyond the
    required return attributes.
    """

    level: Level
    matches: tuple[tuple[str, Match], ...] = ()
    include: frozenset[str] | Literal["all"] = frozenset()
    study_instance_uid: str | None = None
    series_instance_uid: str | None = None
    limit: int | None = None
    offset: int = 0


def parse_match(tag: str, text: str) -> Match:
    """Read one matching key; raises InvalidQuery for a value that its VR does not allow."""
    vr = value_representation(tag)
    if not text.strip():
        return Universal()
    if vr == "UI":
        return UIDList(tuple(uid.strip("\0 ") for uid in re.split(r"[\\,]", text) if uid.strip("\0 ")))
    if vr in RANGE_VRS:
        return _parse_range(tag, vr, text.strip())
    if vr in WILDCARD_VRS and ("*" in text or "?" in text):
        return Universal() if not text.strip("*") else Wildcard(text.strip(" "))
    if vr in NUMBER_VRS:
        _require_number(tag, vr, text)
    if vr == "SQ":
        raise InvalidQuery(
            f"{keyword(tag)} is a sequence: name an attribute inside it, as in {keyword(tag)}.X=…"
        )
    return SingleValue(text.strip(" "))


def _parse_range(tag: str, vr: str, text: str) -> Match:
    # A DT may hold the sign of its time zone: a hyphen divides only where a value may end (C.2.2.2.5).
    start, hyphen, end = text.partition("-")
    if vr == "DT" and hyphen and re.fullmatch(r"\d{4}(-.*)?", end) and len(start) > 4:
        zone, hyphen, end = end.partition("-")
        start = f"{start}-{zone}"
    for value in filter(None, (start, end)):
        pattern, form = PATTERNS[vr]
        if not pattern.fullmatch(value):
            raise InvalidQuery(f"{keyword(tag)}={text}: {value!r} is not a {vr} of the form {form}")
    if hyphen and not (start or end):
        raise InvalidQuery(f"{keyword(tag)}={text}: a range needs at least one end")
    return Range(start, end) if hyphen else SingleValue(text)


def _require_number(tag: str, vr: str, text: str) -> None:
    try:
        int(text) if vr in INTEGER_VRS else float(text)
    except ValueError:
        raise InvalidQuery(f"{keyword(tag)}={text}: {text!r} is not a number ({vr})") from None


def time_bounds(vr: str, text: str) -> tuple[str, str]:
    """Return the first and last moment that a TM or DA of any precision stands for.

    `1030` is 103000.000000 to 103059.999999: C.2.2.2.5 compares what is stated.
    """
    if vr != "TM":
        return text, text
    whole, _, fraction = text.partition(".")
    low, high = "000000.000000", "235959.999999"
    if fraction:
        return f"{whole}.{fraction:0<6}", f"{whole}.{fraction:9<6}"
    return whole + low[len(whole) :], whole + high[len(whole) :]
