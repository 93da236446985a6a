"""What a match (PS3.4 C.2.2.2) asks of a column: how it is compared, and with which values."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from app.catalog.attributes import Attribute
from app.dicom.matching import (
    Empty,
    Every,
    Fuzzy,
    Match,
    Range,
    SingleValue,
    UIDList,
    Wildcard,
    names_groups,
    time_bounds,
)
from app.dicom.person_names import GROUPS, fold_name, key_groups, sound

MAX_CODE_POINT = "\U0010ffff"  # sorts after whatever a prefix may be followed by


class Operator(Enum):
    """How a column is compared with one value."""

    EQUAL = auto()
    AMONG = auto()
    LIKE = auto()
    LIKE_ANYWHERE = auto()  # no prefix to look up, but an index to read through
    AT_LEAST = auto()
    AT_MOST = auto()
    EMPTY = auto()
    NEVER = auto()


@dataclass(frozen=True, slots=True)
class NameTerms:
    """A person name by so many words of it, or by what its column is compared with."""

    words: int
    literal: tuple[Operator, ...]


Comparison = Operator | NameTerms
Asked = tuple[Comparison, Any]  # the values of NameTerms are a dict, by the end of the parameter's name


_NEVER_EMPTY = frozenset({"count", "sop_classes"})
_GLOB = str.maketrans({"[": "[[]"})
_LIKE = str.maketrans({"*": "%", "?": "_", "%": r"\%", "_": r"\_", "\\": r"\\"})


def comparisons(attribute: Attribute, match: Match, *, is_sqlite: bool) -> Iterator[Asked]:
    """Yield what a match asks of its column; nothing for universal matching.

    Of an attribute in a sequence the column holds the values of all items: it narrows, and does not decide.
    """
    if attribute.is_in_sequence:
        if isinstance(match, SingleValue | Wildcard):
            text = match.value if isinstance(match, SingleValue) else match.pattern
            yield Operator.LIKE, _pattern(f"*{text}*", is_sqlite=is_sqlite)
        return
    if names_groups(attribute.tag, match):
        yield from _first_group_comparisons(attribute, match, is_sqlite=is_sqlite)
        return
    match match:
        case Empty():
            yield Operator.NEVER if attribute.source in _NEVER_EMPTY else Operator.EMPTY, None
        case SingleValue(value):
            yield from _value_comparisons(attribute, value)
        case Every(values):
            yield from ((Operator.EQUAL, value) for value in values)
        case UIDList((value,)):
            yield Operator.EQUAL, value
        case UIDList(values):
            yield Operator.AMONG, list(values)
        case Wildcard(pattern):
            yield from _like_comparisons(attribute, pattern, is_sqlite=is_sqlite)
        case Fuzzy():
            yield _fuzzy_comparison(attribute, match, is_sqlite=is_sqlite)
        case Range(start, end):
            bounds = (time_bounds(attribute.vr, start)[0], time_bounds(attribute.vr, end)[1])
            both = zip((start, end), (Operator.AT_LEAST, Operator.AT_MOST), bounds, strict=True)
            yield from ((operator, bound) for given, operator, bound in both if given)


def _value_comparisons(attribute: Attribute, value: str) -> Iterator[Asked]:
    if attribute.is_integer:
        number = int(value)
        yield (Operator.EQUAL, number) if -(2**63) <= number < 2**63 else (Operator.NEVER, None)
    elif attribute.vr == "TM":
        yield from zip((Operator.AT_LEAST, Operator.AT_MOST), time_bounds("TM", value), strict=True)
    else:
        yield Operator.EQUAL, fold_name(value) if attribute.vr == "PN" else value


def _first_group_comparisons(attribute: Attribute, match: Match, *, is_sqlite: bool) -> Iterator[Asked]:
    """Yield what narrows a search for component groups of a name; their documents decide."""
    assert isinstance(match, SingleValue | Wildcard)
    key = match.value if isinstance(match, SingleValue) else match.pattern
    for group, text in key_groups(key):
        if group == GROUPS[0]:  # a name that has it, has it in its column
            is_pattern = isinstance(match, Wildcard) and ("*" in text or "?" in text)
            yield from comparisons(
                attribute, Wildcard(text) if is_pattern else SingleValue(text), is_sqlite=is_sqlite
            )


def _pattern(pattern: str, *, is_sqlite: bool) -> str:
    return pattern.translate(_GLOB if is_sqlite else _LIKE)


def _like_comparisons(attribute: Attribute, pattern: str, *, is_sqlite: bool) -> Iterator[Asked]:
    if attribute.vr == "PN":
        pattern = fold_name(pattern)
    prefix = pattern[: min(pattern.find(c) % (len(pattern) + 1) for c in "*?")]
    if prefix:
        # So that the index narrows the search; the pattern decides.
        yield Operator.AT_LEAST, prefix
        yield Operator.AT_MOST, prefix + MAX_CODE_POINT
    anywhere = attribute.indexed and attribute.source in {"column", "fact"} and not prefix
    yield (
        Operator.LIKE_ANYWHERE if anywhere else Operator.LIKE,
        _pattern(pattern, is_sqlite=is_sqlite),
    )


def _fuzzy_comparison(attribute: Attribute, match: Fuzzy, *, is_sqlite: bool) -> Asked:
    values: dict[str, Any] = {"_attribute": int(attribute.tag, 16)}
    # The longest is likely the rarest, and leads; the others are looked for beside it.
    for number, word in enumerate(sorted(match.words, key=len, reverse=True)):
        values |= {
            f"_low{number}": word,
            f"_high{number}": word + MAX_CODE_POINT,
            f"_sound{number}": sound(word) or word,
        }
    literally: list[Operator] = [Operator.NEVER] if names_groups(attribute.tag, match.literal) else []
    for operator, value in comparisons(attribute, match.literal, is_sqlite=is_sqlite):
        assert isinstance(operator, Operator)
        values[f"_{len(literally)}"] = value
        literally.append(Operator.LIKE if operator is Operator.LIKE_ANYWHERE else operator)
    return NameTerms(len(match.words), tuple(literally)), values
