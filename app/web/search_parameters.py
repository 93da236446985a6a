"""The query parameters of a search (PS3.18 8.3.4), and our own: `orderby`, and those of terms."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote_to_bytes

from app.dicom.matching import LITERAL, UNMATCHED_VRS, Match, Order, Semantics, UIDList, parse_match
from app.dicom.private_block import LICENCE_ID, tag_of_element
from app.dicom.tags import keyword, parse_attribute, value_representation
from app.errors import InvalidQuery
from app.web.terms import PARAMETERS, wanted_licences

NEGOTIATED = frozenset({"accept", "charset"})
FLAGS = ("fuzzymatching", "emptyvaluematching", "multiplevaluematching")
# Each at most once; whatever else is named is an attribute.
SINGLE = frozenset({"limit", "offset", "orderby", *FLAGS})

_LICENCE_ID = tag_of_element(LICENCE_ID)

DEEPEST_PATH = 16  # sequences within sequences, which no real object has


@dataclass(frozen=True)
class Search:
    """What the query parameters say."""

    matches: tuple[tuple[str, Match], ...] = ()
    include: frozenset[str] | Literal["all"] = frozenset()
    limit: int | None = None
    offset: int = 0
    order: tuple[Order, ...] = ()
    warnings: tuple[str, ...] = ()


def require_utf8(query_string: bytes) -> None:
    """Raise InvalidQuery for percent-encoded bytes that are not UTF-8 (RFC 3986 2.5)."""
    if b"%" in query_string:
        try:
            unquote_to_bytes(query_string).decode()
        except UnicodeDecodeError:
            raise InvalidQuery("The query parameters are not UTF-8, percent-encoded") from None


def parse_search(parameters: Iterable[tuple[str, str]]) -> Search:
    """Read query parameters, decoded already; raises InvalidQuery naming the one at fault."""
    keys: dict[str, str] = {}
    include: set[str] = set()
    single: dict[str, str] = {}
    terms: list[tuple[str, str]] = []
    for name, value in parameters:
        if name == "includefield":
            include.update(part.strip() for part in value.split(",") if part.strip())
        elif name in NEGOTIATED:
            continue
        elif name in PARAMETERS:
            terms.append((name, value))
        elif name in SINGLE:
            if name in single:
                raise InvalidQuery(f"The parameter {name} is given more than once")
            single[name] = value
        else:
            tag = _attribute(name)
            if tag in keys:
                raise InvalidQuery(f"The attribute {keyword(tag)} is given more than once")
            keys[tag] = value
    semantics = Semantics(*(_flag(name, single.get(name)) for name in FLAGS)) if single else LITERAL
    of_terms = _of_terms(terms) if terms else ()
    if of_terms and _LICENCE_ID in keys:
        raise InvalidQuery(
            f"LicenseID and {' or '.join(PARAMETERS)} are the same attribute: give one of them"
        )
    return Search(
        matches=(*((tag, parse_match(tag, value, semantics)) for tag, value in keys.items()), *of_terms),
        include=_included(include),
        limit=_whole_number("limit", single.get("limit")),
        offset=_whole_number("offset", single.get("offset")) or 0,
        order=_order(single["orderby"]) if "orderby" in single else (),
        warnings=tuple(_unmatched(keys)) if keys else (),
    )


def parse_keys(parameters: Iterable[tuple[str, str]]) -> tuple[tuple[str, Match], ...]:
    """Read the keys of a search that nothing else belongs to; raises InvalidQuery."""
    parsed = parse_search(parameters)
    if parsed.limit is not None or parsed.offset or parsed.order or parsed.include:
        raise InvalidQuery("Here are keys alone: no limit, offset, orderby or includefield.")
    if parsed.warnings:
        raise InvalidQuery(parsed.warnings[0])
    return parsed.matches


def _of_terms(given: list[tuple[str, str]]) -> tuple[tuple[str, Match], ...]:
    """Return the key that the parameters of terms are: no instance is under no licence."""
    wanted = wanted_licences(given)
    return () if wanted is None else ((_LICENCE_ID, UIDList(tuple(sorted(wanted)))),)


def _attribute(name: str) -> str:
    tag = parse_attribute(name)
    *sequences, _ = tag.split(".")
    if len(sequences) > DEEPEST_PATH:
        raise InvalidQuery(f"A path of {len(sequences)} sequences is too deep")
    for sequence in sequences:
        if value_representation(sequence) not in {"SQ", "UN"}:
            raise InvalidQuery(f"{name}: {keyword(sequence)} is not a sequence")
    return tag


def _unmatched(keys: dict[str, str]) -> Iterable[str]:
    names = [
        keyword(tag) for tag, value in keys.items() if value and value_representation(tag) in UNMATCHED_VRS
    ]
    if names:
        yield f"There is no matching for the values of {', '.join(names)}: only returned"


def _included(names: set[str]) -> frozenset[str] | Literal["all"]:
    if "all" in names:
        if len(names) > 1:
            raise InvalidQuery("includefield=all stands alone: it names every attribute there is")
        return "all"
    return frozenset(_named("includefield", name)[:8] for name in names)


def _named(parameter: str, name: str) -> str:
    """Return the attribute that is named in the value of a parameter, and not as a key."""
    try:
        return parse_attribute(name)
    except InvalidQuery as error:
        raise InvalidQuery(f"{parameter}: {error}") from None


def _order(text: str) -> tuple[Order, ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    orders = tuple(Order(_named("orderby", name.removeprefix("-")), name.startswith("-")) for name in names)
    if len({order.tag for order in orders}) < len(orders):
        raise InvalidQuery(f"orderby={text}: an attribute is named more than once")
    return orders


def _whole_number(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidQuery(f"{name}={text}: {name} is a whole number, zero or more")
    return int(text)


def _flag(name: str, text: str | None) -> bool:
    if text not in {None, "true", "false"}:
        raise InvalidQuery(f"{name}={text}: {name} is true or false")
    return text == "true"
