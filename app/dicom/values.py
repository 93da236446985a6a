"""Comparing one stored value with a matching key, by its VR (PS3.4 C.2.2.2)."""

import re
import struct
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from app.dicom.matching import (
    INTEGER_VRS,
    NUMBER_VRS,
    RANGE_VRS,
    Fuzzy,
    Match,
    Range,
    SingleValue,
    UIDList,
    Wildcard,
    time_bounds,
)
from app.dicom.person_names import (
    first_group,
    fold_name,
    has_groups,
    key_groups,
    name_terms,
    names_match,
)

Matches = Callable[[str, Any], bool]  # of a VR and one value of it

_DATE_TIME = re.compile(r"(\d{4,14})(?:\.(\d{1,6}))?([+-]\d{4})?")
_EARLIEST, _LATEST = "00000101000000.000000", "99991231235959.999999"


def value_matcher(match: Match) -> Matches:
    """Return the comparison of one value that is there; of a Match that is about single values."""
    match match:
        case SingleValue(key):
            return _equals(key)
        case UIDList(keys):
            wanted = frozenset(keys)
            return lambda _, value: value in wanted
        case Wildcard(pattern):
            return _like(pattern)
        case Range(start, end):
            return _within(start, end)
        case Fuzzy(words, literal):
            literally = value_matcher(literal)
            return lambda vr, value: (
                vr == "PN" and (literally(vr, value) or names_match(name_terms([value]), words))
            )
    raise AssertionError(match)


def _name_test(key: str, comparison: Callable[[str], Callable[[str], bool]]) -> Callable[[Any], bool]:
    """Return the comparison of person names: of the first group there is, or of each that the key names."""
    if not has_groups(key):
        is_match = comparison(fold_name(key))
        return lambda value: isinstance(value, dict) and is_match(fold_name(first_group(value)))
    tests = [(group, comparison(fold_name(text))) for group, text in key_groups(key)]
    return lambda value: (
        isinstance(value, dict)
        and all(is_match(fold_name(value.get(group, ""))) for group, is_match in tests)
    )


def _equals(key: str) -> Matches:
    is_name, number = _name_test(key, lambda folded: folded.__eq__), _number(key)

    def matches(vr: str, value: Any) -> bool:  # noqa: ANN401 a JSON value
        if vr == "PN":
            return is_name(value)
        if vr in NUMBER_VRS:
            return number is not None and _same_number(vr, value, number)
        if vr in RANGE_VRS:
            return isinstance(value, str) and _is_within(vr, value, key, key)
        return isinstance(value, str) and value == (key.upper() if vr == "AT" else key)

    return matches


def _number(text: str) -> float | int | None:
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return None


def _same_number(vr: str, value: Any, key: float) -> bool:  # noqa: ANN401 a JSON value
    held = _number(value) if isinstance(value, str) else value
    if not isinstance(held, int | float):
        return False
    if vr in INTEGER_VRS and not isinstance(held, int):
        return False
    return held == key or (vr == "FL" and held == _as_float32(key))


def _as_float32(number: float) -> float | None:
    try:
        single: float = struct.unpack("<f", struct.pack("<f", number))[0]
    except (OverflowError, struct.error):
        return None
    return single


def _like(pattern: str) -> Matches:
    exact, is_name = wildcard_matcher(pattern), _name_test(pattern, wildcard_matcher)

    def matches(vr: str, value: Any) -> bool:  # noqa: ANN401 a JSON value
        if vr == "PN":
            return is_name(value)
        return vr not in NUMBER_VRS and isinstance(value, str) and exact(value)

    return matches


@lru_cache(maxsize=256)
def wildcard_matcher(pattern: str) -> Callable[[str], bool]:
    """Return whether a text is what the pattern says, in time that grows with the product of their lengths.

    A regular expression with several `.*` may take forever; here each piece between stars is looked for once.
    """
    first, *rest = pattern.split("*")
    pieces = [_piece(piece) for piece in rest[:-1] if piece]
    last = rest[-1] if rest else None

    def matches(text: str) -> bool:
        if not _piece(first).match(text):
            return False
        at, end = len(first), len(text)
        if last is None:
            return at == end
        for piece in pieces:
            found = piece.search(text, at)
            if found is None:
                return False
            at = found.end()
        return end - at >= len(last) and bool(_piece(last).match(text, end - len(last)))

    return matches


@lru_cache(maxsize=1024)
def _piece(text: str) -> re.Pattern[str]:
    return re.compile(
        "".join("." if character == "?" else re.escape(character) for character in text), re.DOTALL
    )


def _within(start: str, end: str) -> Matches:
    return lambda vr, value: vr in RANGE_VRS and isinstance(value, str) and _is_within(vr, value, start, end)


def _is_within(vr: str, value: str, start: str, end: str) -> bool:
    if vr == "DT":
        return _is_moment_within(value, start, end)
    low = time_bounds(vr, value)[0]
    return not (start and low < time_bounds(vr, start)[0]) and not (end and low > time_bounds(vr, end)[1])


def _is_moment_within(value: str, start: str, end: str) -> bool:
    held = date_time(value)
    if held is None:
        return False
    for bound, side in ((start, 0), (end, 1)):
        limit = date_time(bound) if bound else None
        if limit is None:
            continue
        # Moments are comparable in UTC where both say their zone, else as they stand on the clock.
        low = held.utc[0] if held.utc and limit.utc else held.local[0]
        other = (limit.utc if held.utc and limit.utc else limit.local)[side]
        if low < other if side == 0 else low > other:
            return False
    return True


class Moment:
    """The first and last moment that a DT stands for: on the clock, and in UTC if it says its zone."""

    __slots__ = ("local", "utc")

    def __init__(self, local: tuple[str, str], utc: tuple[str, str] | None) -> None:
        self.local = local
        self.utc = utc


def date_time(text: str) -> Moment | None:
    """Read a DT of any precision (PS3.5 6.2); None for what is none."""
    found = _DATE_TIME.fullmatch(text)
    if found is None or len(found[1]) % 2:
        return None
    whole, fraction, zone = found.groups()
    low = whole + _EARLIEST[len(whole) : 14] + "." + (fraction or "").ljust(6, "0")
    high = whole + _LATEST[len(whole) : 14] + "." + (fraction or "").ljust(6, "9")
    local = low, high
    if zone is None:
        return Moment(local, None)
    utc = _shifted(low, zone), _shifted(high, zone)
    return Moment(local, (utc[0], utc[1]) if utc[0] and utc[1] else None)


def _shifted(moment: str, zone: str) -> str | None:
    """Take the zone's offset away; None where there is no such day or hour."""
    offset = timedelta(hours=int(zone[:3]), minutes=int(zone[0] + zone[3:]))
    try:
        # The last day of any month will do for the end of one: months have no 32nd.
        day = min(int(moment[6:8]), _last_day(int(moment[:4]), int(moment[4:6])))
        clock = datetime.strptime(f"{moment[:6]}{day:02}{moment[8:]}+0000", "%Y%m%d%H%M%S.%f%z") - offset
    except (ValueError, OverflowError):
        return None
    return f"{clock.year:04}{clock:%m%d%H%M%S.%f}"


def _last_day(year: int, month: int) -> int:
    following = datetime(year + month // 12, month % 12 + 1, 1)  # noqa: DTZ001 a calendar's question
    return (following - timedelta(days=1)).day
