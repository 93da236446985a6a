"""Attribute matching as PS3.4 C.2.2.2 defines it, for QIDO-RS and C-FIND alike."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from math import isfinite
from typing import Literal

from app.dicom.person_names import has_groups, key_groups, words
from app.dicom.private_block import LICENCE_ID, tag_of_element
from app.dicom.tags import keyword, time_of, value_multiplicity, value_representation
from app.errors import InvalidQuery

# PS3.4 C.2.2.2.4 lists what wild cards do NOT apply to; these are the rest.
WILDCARD_VRS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
RANGE_VRS = frozenset({"DA", "DT", "TM"})  # C.2.2.2.5
INTEGER_VRS = frozenset({"IS", "SL", "SS", "SV", "UL", "US", "UV"})
NUMBER_VRS = INTEGER_VRS | {"DS", "FD", "FL"}
UNMATCHED_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW"})  # C.2.2.2.1 has no matching for them
SEVERAL_VRS = frozenset({"AE", "AS", "AT", "CS", "LO", "PN", "SH", "UC"})  # C.2.2.2.8

LONGEST_VALUE = 1024  # characters of one value: a wild card may make it longer than its VR allows (C.2.2.2)
MOST_WORDS = 8  # of a name, that fuzzy matching heeds
EMPTY = '""'  # C.2.2.2.7
MODALITIES_IN_STUDY = "00080061"

_LISTED = {MODALITIES_IN_STUDY, tag_of_element(LICENCE_ID)}
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,40}")
_LIST = re.compile(r"[\\,]")

_MONTH, _DAY = r"(0[1-9]|1[0-2])", r"(0[1-9]|[12]\d|3[01])"
_TIME = r"([01]\d|2[0-3])([0-5]\d(([0-5]\d|60)(\.\d{1,6})?)?)?"

PATTERNS = {
    "DA": (re.compile(rf"\d{{4}}{_MONTH}{_DAY}"), "YYYYMMDD"),
    "TM": (re.compile(_TIME), "HHMMSS.FFFFFF"),
    "DT": (
        re.compile(rf"\d{{4}}({_MONTH}({_DAY}({_TIME})?)?)?(\.\d{{1,6}})?([+-]\d{{4}})?"),
        "YYYYMMDDHHMMSS.FFFFFF&ZZXX",
    ),
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
    """C.2.2.2.2: any of these; also of modalities, by our leniency."""

    values: tuple[str, ...]


@dataclass(frozen=True)
class Wildcard:
    """C.2.2.2.4: `*` stands for any characters, `?` for one."""

    pattern: str


@dataclass(frozen=True)
class Range:
    """C.2.2.2.5: both ends are inclusive; an empty end is open.

    One of a date `joins` the one of its time: both are a range of moments then.
    """

    start: str
    end: str
    joins: bool = True


@dataclass(frozen=True)
class Empty:
    """C.2.2.2.7: absent, or without a value."""


@dataclass(frozen=True)
class Every:
    """C.2.2.2.8: each of these is one of the attribute's values."""

    values: tuple[str, ...]


@dataclass(frozen=True)
class Fuzzy:
    """C.2.2.2.1.1: each word begins or sounds like one of the name's; or the name matches literally."""

    words: tuple[str, ...]
    literal: SingleValue | Wildcard


Match = Universal | SingleValue | UIDList | Wildcard | Range | Empty | Every | Fuzzy


@dataclass(frozen=True)
class Semantics:
    """What else a value may mean, as negotiated (PS3.4 C.5.1) or asked for (PS3.18 8.3.4.2, .5, .6)."""

    fuzzy: bool = False
    empty_values: bool = False
    multiple_values: bool = False
    combined_times: bool = True  # always over HTTP; in C-FIND where negotiated


LITERAL = Semantics()


@dataclass(frozen=True)
class Order:
    """Results by the values of an attribute; those without one come first, or last where it descends."""

    tag: str
    descends: bool = False


@dataclass(frozen=True)
class Query:
    """One search, whichever door it came through.

    Attributes are hexadecimal tags or dotted paths of them; paths through the same sequence are about the
    same item of it (C.2.2.2.6). The number of a private attribute's block is that of the Private Creator
    key beside it. `study_instance_uid` and `series_instance_uid` are the parents named by the resource, not
    matching keys: what is above them is not returned (PS3.18 10.6.3.3). `include` is what was asked for
    beyond the required return attributes. Without an `order` results come as they were registered. `scope`
    is the number of the collection that is searched; without it everything that is held is.
    """

    level: Level
    matches: tuple[tuple[str, Match], ...] = ()
    include: frozenset[str] | Literal["all"] = frozenset()
    study_instance_uid: str | None = None
    series_instance_uid: str | None = None
    limit: int | None = None
    offset: int = 0
    order: tuple[Order, ...] = ()
    scope: int | None = None


def parse_match(tag: str, text: str, semantics: Semantics = LITERAL) -> Match:
    """Read one matching key; raises InvalidQuery for a value that its VR does not allow."""
    vr = value_representation(tag)
    _require_text(tag, vr, text)
    if not text.strip() or vr in UNMATCHED_VRS:
        return Universal()
    if semantics.empty_values and text.strip() == EMPTY:
        return Empty()
    if vr == "UI":
        uids = tuple(uid.strip("\0 ") for uid in _LIST.split(text) if uid.strip("\0 "))
        if "\0" in "".join(uids):
            raise InvalidQuery(f"The value of {keyword(tag)} holds a NUL character")
        return UIDList(uids) if uids else Universal()
    if vr in RANGE_VRS:
        return _parse_range(tag, vr, text.strip(), joins=semantics.combined_times)
    if vr == "SQ":
        raise InvalidQuery(
            f"{keyword(tag)} is a sequence: name an attribute inside it, as in {keyword(tag)}.X=…"
        )
    if semantics.multiple_values and vr in SEVERAL_VRS and value_multiplicity(tag) != "1":
        several = tuple(value.strip(" ") for value in _LIST.split(text) if value.strip(" "))
        if len(several) > 1:
            return _every(tag, several)
    # A CS holds neither separator (PS3.5 6.2): as one value the list that OHIF sends would match nothing. Nor
    # has a licence one.
    if tag in _LISTED and _LIST.search(text) and not ("*" in text or "?" in text):
        return UIDList(tuple(value.strip(" ") for value in _LIST.split(text) if value.strip(" ")))
    return _parse_text(tag, vr, text, semantics)


def _parse_text(tag: str, vr: str, text: str, semantics: Semantics) -> Match:
    if vr in NUMBER_VRS:
        _require_number(tag, vr, text.strip())
        return SingleValue(text.strip())
    literal: SingleValue | Wildcard = SingleValue(text.strip(" "))
    if vr in WILDCARD_VRS | {"UN"} and ("*" in text or "?" in text):
        if not text.strip("* "):
            return Universal()
        literal = Wildcard(text.strip(" "))
    if vr == "PN" and has_groups(text):
        if not key_groups(text):
            return Universal()
        if isinstance(literal, Wildcard):  # of which component group a word is, sounds do not tell
            return literal
    if vr == "PN" and semantics.fuzzy and (asked := words(text)):
        return Fuzzy(tuple(dict.fromkeys(asked))[:MOST_WORDS], literal)
    return literal


def _require_text(tag: str, vr: str, text: str) -> None:
    if vr == "UI":  # padded with NUL by clients that copy it, and a list of any length
        return
    if "\0" in text:
        raise InvalidQuery(f"The value of {keyword(tag)} holds a NUL character")
    if len(text) > LONGEST_VALUE:
        raise InvalidQuery(
            f"The value of {keyword(tag)} has {len(text)} characters; {LONGEST_VALUE} are allowed"
        )


def _every(tag: str, values: tuple[str, ...]) -> Every:
    if any("*" in value or "?" in value for value in values):
        raise InvalidQuery(f"{keyword(tag)}: a list of values has no wild cards (PS3.4 C.2.2.2.8)")
    return Every(values)


def _parse_range(tag: str, vr: str, text: str, *, joins: bool) -> Match:
    if vr == "DT":
        text = text.replace(" ", "+")  # the sign of a time zone, which is a space in a query string
    # A DT may hold the sign of its time zone: a hyphen divides only where a value may end (C.2.2.2.5).
    start, hyphen, end = text.partition("-")
    if vr == "DT" and hyphen and re.fullmatch(r"\d{4}(-.*)?", end) and len(start) > 4:
        zone, hyphen, end = end.partition("-")
        start = f"{start}-{zone}"
    for value in filter(None, (start, end)):
        pattern, form = PATTERNS[vr]
        if not (value.isascii() and pattern.fullmatch(value)):
            raise InvalidQuery(f"{keyword(tag)}={text}: {value!r} is not a {vr} of the form {form}")
    if hyphen and not (start or end):
        raise InvalidQuery(f"{keyword(tag)}={text}: a range needs at least one end")
    return Range(start, end, joins) if hyphen else SingleValue(start)


def _require_number(tag: str, vr: str, text: str) -> None:
    try:
        is_number = bool(_WHOLE_NUMBER.fullmatch(text)) if vr in INTEGER_VRS else isfinite(float(text))
    except ValueError:
        is_number = False
    if not is_number:
        raise InvalidQuery(f"{keyword(tag)}={text}: {text!r} is not a number ({vr})")


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


def names_groups(tag: str, match: Match) -> bool:
    """Whether a match is about component groups of a person name: a column holds the first alone."""
    if value_representation(tag) != "PN" or not isinstance(match, SingleValue | Wildcard):
        return False
    return has_groups(match.value if isinstance(match, SingleValue) else match.pattern)


def moment_pairs(matches: Mapping[str, Match]) -> list[tuple[str, str, Range, Range]]:
    """Return the dates and times among the keys that are one range of moments together (C.2.2.2.5)."""
    return [
        (tag, twin, dates, times)
        for tag, dates in matches.items()
        if isinstance(dates, Range)
        and dates.joins
        and (twin := time_of(tag)) in matches
        and isinstance(times := matches[twin], Range)
    ]


def moment_bounds(dates: Range, times: Range) -> tuple[str, str]:
    """Return the first and last moment, a date and a time in one text, empty where the range is open."""
    start = dates.start + time_bounds("TM", times.start)[0] if dates.start else ""
    return start, dates.end + time_bounds("TM", times.end)[1] if dates.end else ""
