"""Matching keys against DICOM JSON (PS3.4 C.2.2.2): any attribute, at any depth of sequences."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from app.dicom.encoding import is_private, is_private_creator
from app.dicom.matching import (
    Empty,
    Every,
    Match,
    Range,
    SingleValue,
    Universal,
    moment_bounds,
    moment_pairs,
    time_bounds,
)
from app.dicom.person_names import first_group, fold_name
from app.dicom.values import value_matcher
from app.errors import InvalidQuery

Document = Mapping[str, Any]
Test = Callable[[Document], bool]
Key = tuple[str, Match]


def document_test(keys: Iterable[Key]) -> Test:
    """Return the test of a document against all keys; keys below one sequence are about one item of it.

    Raises InvalidQuery for a private attribute without the key of its Private Creator.
    """
    here: list[Key] = []
    below: dict[str, list[Key]] = {}
    for path, match in keys:
        if isinstance(match, Universal):
            continue
        tag, _, rest = path.partition(".")
        if rest:
            below.setdefault(tag, []).append((rest, match))
        else:
            here.append((tag, match))
    tests = [*_tests_of_values(here, below), *(_sequence_test(tag, below[tag]) for tag in below)]
    if len(tests) == 1:
        return tests[0]
    return lambda document: all(test(document) for test in tests)


def _tests_of_values(here: Sequence[Key], below: Mapping[str, object]) -> Iterable[Test]:
    creators = {tag: match for tag, match in here if is_private_creator(tag)}
    keys = {tag: match for tag, match in here if tag not in creators}
    for tag in below:
        if is_private(tag):
            raise InvalidQuery(f"{tag} is a private sequence; matching within it is not supported")
    for date, time, dates, times in moment_pairs(keys):
        del keys[date], keys[time]
        yield _moment_test(date, time, dates, times)
    for tag, match in keys.items():
        yield _private_test(tag, match, creators) if is_private(tag) else _attribute_test(tag, match)
    owners = {f"{tag[:4]}00{tag[4:6]}" for tag in keys}
    for tag, match in creators.items():
        if tag not in owners:
            yield _creator_test(tag, match)


def _moment_test(date: str, time: str, dates: Range, times: Range) -> Test:
    start, end = moment_bounds(dates, times)

    def test(document: Document) -> bool:
        day, clock = (_first_text(document.get(tag)) for tag in (date, time))
        if not day:
            return False
        moment = day + (time_bounds("TM", clock)[0] if clock else "")
        return not (start and moment < start) and not (end and moment > end)

    return test


def _first_text(attribute: Document | None) -> str:
    values = attribute.get("Value", ()) if attribute else ()
    return values[0] if values and isinstance(values[0], str) else ""


def _private_test(tag: str, match: Match, creators: Mapping[str, Match]) -> Test:
    owner = creators.get(f"{tag[:4]}00{tag[4:6]}")
    if not isinstance(owner, SingleValue):
        raise InvalidQuery(
            f"{tag} is private: name its creator too, as in {tag[:4]}00{tag[4:6]}=CREATOR&{tag}=… (PS3.5 7.8)"
        )
    matches = None if isinstance(match, Empty) else attribute_matcher(match)

    def test(document: Document) -> bool:
        # A block may have another number in each instance (PS3.5 7.8.1).
        blocks = [held[6:] for held in document if _is_creator(document, held, tag[:4], owner.value)]
        attributes = [document.get(tag[:4] + block + tag[6:]) for block in blocks]
        if matches is None:
            return all(is_empty(attribute) for attribute in attributes)
        return any(attribute is not None and matches(attribute) for attribute in attributes)

    return test


def _creator_test(tag: str, match: Match) -> Test:
    if not isinstance(match, SingleValue):
        return _attribute_test(tag, match)
    return lambda document: any(_is_creator(document, held, tag[:4], match.value) for held in document)


def _is_creator(document: Document, tag: str, group: str, creator: str) -> bool:
    return (
        tag.startswith(group) and is_private_creator(tag) and document[tag].get("Value", [None])[0] == creator
    )


def _sequence_test(tag: str, keys: Sequence[Key]) -> Test:
    test = document_test(keys)
    return lambda document: any(
        item and test(item)
        for item in document.get(tag, {}).get("Value", ())
        if document[tag].get("vr") == "SQ"
    )


def _attribute_test(tag: str, match: Match) -> Test:
    if isinstance(match, Empty):
        return lambda document: is_empty(document.get(tag))
    matches = attribute_matcher(match)
    return lambda document: tag in document and matches(document[tag])


def attribute_matcher(match: Match) -> Callable[[Document], bool]:
    """Return whether one of an attribute's values matches."""
    if isinstance(match, Every):
        each = [attribute_matcher(SingleValue(value)) for value in match.values]
        return lambda attribute: all(matches(attribute) for matches in each)
    matches_value = value_matcher(match)
    # Without multiple value matching, a list in the key is the whole list that is held.
    whole = match.value if isinstance(match, SingleValue) and "\\" in match.value else None

    def matches(attribute: Document) -> bool:
        values, vr = attribute.get("Value", ()), attribute["vr"]
        if vr == "SQ":
            return False
        if whole is not None and whole == "\\".join(str(value) for value in values if value is not None):
            return True
        return any(value is not None and matches_value(vr, value) for value in values)

    return matches


def is_empty(attribute: Document | None) -> bool:
    """Tell whether an attribute is absent or has no value (C.2.2.2.7)."""
    if attribute is None:
        return True
    if attribute.keys() & {"BulkDataURI", "InlineBinary"}:
        return False
    values = attribute.get("Value", ())
    if attribute["vr"] == "PN":  # nothing but delimiters is no name
        return not any(fold_name(first_group(value)) for value in values)
    return not any(value not in (None, "", {}) for value in values)
