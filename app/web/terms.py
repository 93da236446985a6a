"""The terms of what is sent, in its header fields, and the parameters that ask for certain terms alone.

    Link: <https://creativecommons.org/licenses/by/4.0/>; rel="license"
    Attribution: Hospital Cl%C3%ADnic de Barcelona, MSKCC

A header field has no letters beyond ASCII: each attribution is percent-encoded UTF-8 (RFC 3986 2.1), its
commas too, since commas part one from the next (RFC 9110 5.6.1). Where there are more than are named, the
metadata of the resource have all of them, and a Link with rel="describedby" leads there.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from urllib.parse import quote

from app.archive.licences import LICENCE_BY_ID, LICENCE_IDS, LICENCES
from app.catalog.holdings import Held
from app.errors import InvalidQuery, NotFound

LICENCE, COMMERCIAL_SAFE = "license", "commercial-safe"
PARAMETERS = (LICENCE, COMMERCIAL_SAFE)

Terms = tuple[str | None, str | None]  # licence, attribution

MOST_ATTRIBUTIONS = 8
_LOOKED_AT = 100  # different terms of one answer
_RESOURCE = re.compile(r".*?/studies/[^/?]+(/series/[^/?]+)?(/instances/[^/?]+)?")
MOST_ATTRIBUTION_CHARACTERS = 1024  # of them all, encoded: proxies allow a header field some thousands
# What stays as it is: a text in plain English is read without decoding.
_PLAIN = " !#$&'()*+-./:;=?@[]^_`{|}~"


def terms_headers(instances: Sequence[Held], location: str) -> dict[str, str]:
    """Return the header fields that say on which terms the instances at a location are published."""
    found = tuple(dict.fromkeys((held.licence_id, held.attribution) for held in instances))
    if not any(map(any, found)):
        return {}
    links, attribution, has_more = _encoded(found[:_LOOKED_AT])
    if (has_more or len(found) > _LOOKED_AT) and (resource := _RESOURCE.match(location)):
        links = (*links, f'<{resource[0]}/metadata>; rel="describedby"')
    headers = {"Link": ", ".join(links)} if links else {}
    return headers | ({"Attribution": attribution} if attribution else {})


@lru_cache(maxsize=1024)
def _encoded(found: tuple[Terms, ...]) -> tuple[tuple[str, ...], str, bool]:
    """Return the links to licences, the attributions as one value, and whether some are left out of it."""
    named = {licence_id for licence_id, _ in found}
    links = tuple(f'<{one.url}>; rel="license"' for one in LICENCES if one.id in named)
    said: list[str] = []
    room = MOST_ATTRIBUTION_CHARACTERS
    has_more = False
    for attribution in dict.fromkeys(text for _, text in found if text):
        encoded = quote(attribution.strip(), safe=_PLAIN)
        room -= len(encoded) + 2
        if room < 0 or len(said) == MOST_ATTRIBUTIONS:
            has_more = True
            break
        said.append(encoded)
    return links, ", ".join(said), has_more


def read_licences(text: str) -> tuple[str, ...]:
    """Read the value of `license`: one licence or several, separated by commas; raises InvalidQuery."""
    asked = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not asked or not set(asked) <= LICENCE_BY_ID.keys():
        raise InvalidQuery(f"{LICENCE}={text}: licences are {', '.join(LICENCE_IDS)}, separated by commas")
    return asked


def read_flag(text: str) -> bool:
    """Read the value of `commercial-safe`; raises InvalidQuery."""
    if text not in {"true", "false"}:
        raise InvalidQuery(f"{COMMERCIAL_SAFE}={text}: {COMMERCIAL_SAFE} is true or false")
    return text == "true"


def wanted_licences(parameters: Iterable[tuple[str, str]]) -> frozenset[str] | None:
    """Return the licences that query parameters ask for, None without any; raises InvalidQuery."""
    given: dict[str, str] = {}
    for name, value in parameters:
        if name in PARAMETERS:
            if name in given:
                raise InvalidQuery(f"The parameter {name} is given more than once")
            given[name] = value
    wanted = set(read_licences(given[LICENCE]) if LICENCE in given else LICENCE_IDS)
    if is_safe := read_flag(given.get(COMMERCIAL_SAFE, "false")):
        wanted = {one for one in wanted if LICENCE_BY_ID[one].allows_commercial_use}
    return frozenset(wanted) if LICENCE in given or is_safe else None


def on_terms(instances: Sequence[Held], wanted: frozenset[str] | None) -> Sequence[Held]:
    """Return those under one of the licences, all of them without any; raises NotFound for none."""
    if wanted is None:
        return instances
    found = [held for held in instances if held.licence_id in wanted]
    if not found:
        raise none_under(wanted)
    return found


def none_under(wanted: Iterable[str]) -> NotFound:
    """Return the error that says that what is held is under other licences."""
    return NotFound(f"There is no instance under one of the licences asked for: {', '.join(sorted(wanted))}.")
