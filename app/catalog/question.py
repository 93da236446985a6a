"""A Query in the catalogue's terms: what SQL decides, and what the stored documents are asked."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from app.catalog.attributes import ATTRIBUTES, BY_TAG, Attribute, level_of, matched_from
from app.catalog.comparisons import Asked, Comparison, NameTerms, Operator, comparisons
from app.dicom.matching import (
    Level,
    Match,
    Order,
    Query,
    SingleValue,
    UIDList,
    Universal,
    moment_bounds,
    moment_pairs,
    names_groups,
)
from app.dicom.private_block import CREATOR, CREATOR_TAG, ELEMENT_BY_TAG, GROUP
from app.dicom.tags import keyword
from app.errors import InvalidQuery

Shape = tuple[tuple[str, Comparison], ...]
Key = tuple[str, Match]

MODALITY = "00080060"
# What few rows have in common: an index finds them faster than a thread is woken.
_AT_ONCE = frozenset(
    a.tag
    for a in ATTRIBUTES
    if a.indexed
    and (a.vr == "UI" or a.source == "fact" or a.column in {"patient_id", "patient_name", "accession_number"})
)
_FEW = frozenset(tag for tag in _AT_ONCE if BY_TAG[tag].source == "column")


class Question(NamedTuple):
    """A query without its page.

    `shape` names tags, or two joined by `+` for a date and time in one, with how each is compared to the
    parameter of its place, `p0`, `p1` and so on, among `values`. `tested` is left for the documents;
    `unmatched` belongs to a lower level than the one that is searched.
    """

    level: Level
    shape: Shape
    values: Mapping[str, Any]
    tested: tuple[Key, ...]
    unmatched: tuple[str, ...]
    order: tuple[Order, ...]

    @property
    def is_listed(self) -> bool:
        """Whether its rows are better found all at once, as an index is read through for any of them."""
        return any(one is Operator.LIKE_ANYWHERE or isinstance(one, NameTerms) for _, one in self.shape)

    @property
    def is_led(self) -> bool:
        """Whether a key leads to the few rows that match."""
        return is_led(self.shape)

    @property
    def is_broad(self) -> bool:
        """Whether many rows may share a key that an index leads to: one of another level, or a modality."""
        keys = (BY_TAG[tag.partition("+")[0]] for tag, _ in self.shape)
        return any(key.level != self.level or key.tag == MODALITY or key.is_gathered for key in keys)


def is_led(shape: Shape) -> bool:
    """Whether a key of a shape leads to the few rows that match."""
    return any(tag in _FEW and one in {Operator.EQUAL, Operator.AMONG} for tag, one in shape)


def is_answered_at_once(query: Query) -> bool:
    """Tell whether an index leads to the few rows that match, or no row needs to be looked at.

    Any other search may read through a table, and is for a thread of its own.
    """
    if query.order or not all(_has_column_alone(tag, match) for tag, match in query.matches):
        return False
    if query.study_instance_uid is not None:
        return True
    leads = False
    # Of the many that share a fact, few may be in a collection.
    at_once = _AT_ONCE if query.scope is None else _FEW
    for tag, match in query.matches:
        is_own = level_of(tag) <= query.level
        leads = leads or (is_own and tag in at_once and isinstance(match, SingleValue | UIDList))
    return leads or not query.matches


def _has_column_alone(tag: str, match: Match) -> bool:
    """Tell whether SQL decides about a key; items of a sequence are looked at in the documents, and names."""
    attribute = BY_TAG.get(tag)
    return attribute is not None and not attribute.is_in_sequence and not names_groups(tag, match)


def question(query: Query, *, is_sqlite: bool) -> Question:
    """Return the question that a query is; raises InvalidQuery for an order that cannot be had."""
    asked: list[tuple[str, Asked]] = []
    for tag, uid in (("0020000D", query.study_instance_uid), ("0020000E", query.series_instance_uid)):
        if uid is not None:
            asked.append((tag, (Operator.EQUAL, uid)))
    unmatched: list[str] = []
    tested: list[Key] = []
    matches, others = _without_creators(dict(query.matches))
    asked += _moments(matches, query.level)
    for tag, match in matches.items():
        attribute = BY_TAG.get(tag) if tag not in others else None
        if (level_of(tag) if tag in others else matched_from(tag)) > query.level:
            if not isinstance(match, Universal):
                unmatched.append(tag)
            continue
        if attribute is not None:
            asked += ((tag, one) for one in comparisons(attribute, match, is_sqlite=is_sqlite))
        is_narrowed = attribute is None or attribute.is_in_sequence or names_groups(tag, match)
        if is_narrowed and not isinstance(match, Universal):
            tested.append((tag, match))
            if tag in ELEMENT_BY_TAG and tag not in others:
                tested.append((CREATOR_TAG, SingleValue(CREATOR)))
    if query.order:
        _require_sortable(query)
    values = _parameters(asked)
    if query.scope is not None:
        values["scope"] = query.scope
    return Question(
        query.level,
        tuple((tag, comparison) for tag, (comparison, _) in asked),
        values,
        tuple(tested),
        tuple(unmatched),
        query.order,
    )


def _without_creators(matches: dict[str, Match]) -> tuple[dict[str, Match], set[str]]:
    """Name the elements of our private block as the index does, without the key of their creator.

    Returns also the keys that have the numbers of ours, but are elements of another creator (PS3.5 7.8.1).
    """
    others: set[str] = set()
    creators = {tag: match for tag, match in matches.items() if tag[:6] == f"{GROUP:04X}00"}
    for creator_tag, match in creators.items():
        block = f"{GROUP:04X}{creator_tag[6:]}"
        elements = {tag: one for tag, one in matches.items() if tag[:6] == block}
        if not isinstance(match, SingleValue) or not elements:
            continue
        if match.value != CREATOR:
            others.update(elements)
            continue
        matches = {tag: one for tag, one in matches.items() if tag not in elements and tag != creator_tag}
        matches |= {f"{GROUP:04X}10{tag[6:]}": one for tag, one in elements.items()}
    return matches, others


def _moments(matches: dict[str, Match], level: Level) -> list[tuple[str, Asked]]:
    """Take the pairs of dates and times that have columns out of the keys."""
    if len(matches) < 2:
        return []
    asked: list[tuple[str, Asked]] = []
    for date, time, dates, times in moment_pairs(matches):
        if date in BY_TAG and time in BY_TAG and level_of(date) <= level:
            del matches[date], matches[time]
            bounds = zip((Operator.AT_LEAST, Operator.AT_MOST), moment_bounds(dates, times), strict=True)
            asked += ((f"{date}+{time}", (operator, value)) for operator, value in bounds if value)
    return asked


def _parameters(asked: list[tuple[str, Asked]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for number, (_, (comparison, value)) in enumerate(asked):
        if isinstance(comparison, NameTerms):
            values |= {f"p{number}{end}": one for end, one in value.items()}
        else:
            values[f"p{number}"] = value
    return values


def _require_sortable(query: Query) -> None:
    for order in query.order:
        attribute = BY_TAG.get(order.tag)
        if attribute is None or not is_sortable(attribute):
            raise InvalidQuery(
                f"Results cannot be put in the order of {keyword(order.tag)}: it has no column"
            )
        if attribute.level > query.level:
            raise InvalidQuery(f"{keyword(order.tag)} belongs to a lower level than what is searched")


def is_sortable(attribute: Attribute) -> bool:
    """Tell whether results can be put in the order of an attribute: it has one value, and a column."""
    return attribute.source in {"column", "count"} and not attribute.is_in_sequence
