"""Attribute names as clients write them: keyword, eight hexadecimal digits, or a dotted path of either."""

import re
from functools import lru_cache

from app.dicom.dictionary import Definition, definition, tag_of
from app.dicom.private_block import ELEMENT_BY_TAG, TAG_BY_KEYWORD
from app.errors import InvalidQuery

HEX_TAG = re.compile(r"[0-9A-Fa-f]{8}")


@lru_cache(maxsize=4096)
def parse_attribute(name: str) -> str:
    """Return the attribute path as hexadecimal tags, `00081115.0020000E` for a sequence path.

    Raises InvalidQuery for a keyword that neither PS3.6 nor our private block knows.
    """
    return ".".join(_tag(part, name) for part in name.split("."))


def _tag(part: str, name: str) -> str:
    if HEX_TAG.fullmatch(part):
        return part.upper()
    tag = tag_of(part) or TAG_BY_KEYWORD.get(part)
    if tag is None:
        raise InvalidQuery(
            f"{name!r} is not an attribute: use a keyword of PS3.6 such as PatientID, "
            "or eight hexadecimal digits such as 00100020"
        )
    return tag


def _definition(tag: str) -> Definition | None:
    """Return what PS3.6 says of a tag, or what our private block says."""
    own = ELEMENT_BY_TAG.get(tag)
    return Definition(own.vr, own.vm, own.keyword) if own else definition(tag)


@lru_cache(maxsize=4096)
def keyword(tag: str) -> str:
    """Return the keyword of a tag or tag path, the tag itself where there is none."""
    return ".".join(
        found.keyword or part if (found := _definition(part)) else part for part in tag.split(".")
    )


@lru_cache(maxsize=4096)
def value_representation(tag: str) -> str:
    """Return the VR of the last tag of a path; `UN` where PS3.6 does not say."""
    found = _definition(tag.rpartition(".")[2])
    return found.vr.split(" or ")[0] if found else "UN"


@lru_cache(maxsize=4096)
def value_multiplicity(tag: str) -> str:
    """Return the VM of the last tag of a path, as PS3.6 writes it; `1` where it does not say."""
    found = _definition(tag.rpartition(".")[2])
    return found.vm if found else "1"


@lru_cache(maxsize=4096)
def time_of(tag: str) -> str:
    """Return the tag, or path, of the time that belongs to a date; empty where there is none."""
    above, dot, own = tag.rpartition(".")
    time = tag_of(keyword(own).replace("Date", "Time"))
    if time is None or time == own or value_representation(time) != "TM":
        return ""
    return f"{above}{dot}{time}"
