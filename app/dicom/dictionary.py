"""The data dictionary (PS3.6) and the character sets (PS3.5 6.1), from a file: see tools/dictionary.py."""

from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import orjson

_TABLES: dict[str, Any] = orjson.loads(Path(__file__).with_name("dictionary.json").read_bytes())
_ELEMENTS: dict[str, list[str]] = _TABLES["elements"]
_REPEATED: dict[str, list[str]] = _TABLES["repeated"]
_ANY = "x"

# Python's codecs by Defined Term of Specific Character Set, and by escape sequence (PS3.3 C.12.1.1.2).
CODECS: dict[str, str] = _TABLES["character_sets"]
CODECS_BY_ESCAPE = {escape.encode(): codec for escape, codec in _TABLES["escapes"].items()}
WITHOUT_CODE_EXTENSIONS = frozenset(_TABLES["without_code_extensions"])


class Definition(NamedTuple):
    """What PS3.6 says of an attribute; its VR may be a choice, such as "US or SS"."""

    vr: str
    vm: str
    keyword: str


def definition(tag: str) -> Definition | None:
    """Return what PS3.6 says of a tag, eight hexadecimal digits; None where it says nothing."""
    found = _ELEMENTS.get(tag) or _repeated(tag)
    return Definition(*found) if found else None


def tag_of(keyword: str) -> str | None:
    """Return the tag that a keyword names; None if there is no such keyword."""
    return _by_keyword().get(keyword)


@lru_cache
def _by_keyword() -> dict[str, str]:
    return {row[2]: tag for tag, row in _ELEMENTS.items() if row[2]}


def _repeated(tag: str) -> list[str] | None:
    """Repeating groups (PS3.6 6): their numbers are even, as those of all of PS3.6."""
    if tag[3] in "13579BDF":
        return None
    return next(
        (
            row
            for mask, row in _REPEATED.items()
            if all(own in (_ANY, digit) for own, digit in zip(mask, tag, strict=True))
        ),
        None,
    )
