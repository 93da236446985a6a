"""Queries of our own as QIDO-RS has them, and their results page by page."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlencode

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.dicom.matching import Level, Query, Semantics, UIDList, Universal, parse_match
from app.proxy.asked import Asked
from app.proxy.errors import UpstreamFailed
from app.proxy.searching import MOST_UIDS, requests_of, search_pages
from app.web.search_parameters import parse_search

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters='\\,"\0\r\n', exclude_categories=("C",)))
UIDS = st.lists(st.integers(1, 9999).map(lambda n: f"1.2.{n}"), min_size=1, max_size=4, unique=True)
DATES = st.sampled_from(["20200101", "20200101-", "-20200202", "20200101-20200202"])
KEYS = st.fixed_dictionaries(
    {},
    optional={
        "00100010": TEXTS,
        "00100020": TEXTS,
        "0020000D": UIDS.map("\\".join),
        "00080020": DATES,
        "00080030": st.sampled_from(["10", "101112-1112", "-101112.5"]),
        "00080061": st.sampled_from(["CT", "CT\\MR", "X*"]),
        "00400275.00400009": TEXTS,
        "00200011": st.integers(0, 99).map(str),
    },
)


@given(KEYS, st.frozensets(st.sampled_from(["00080050", "00081030", "00400275"])), st.booleans())
def test_what_is_asked_is_the_query(keys: dict[str, str], include: frozenset[str], fuzzy: bool) -> None:
    """PS3.18 8.3.4: our own reader of parameters gets back the query they were written of."""
    given_matches = {tag: parse_match(tag, text, Semantics(fuzzy=fuzzy)) for tag, text in keys.items()}
    query = Query(Level.SERIES, tuple(given_matches.items()), include)
    [(path, parameters)] = requests_of(query)
    sent = Asked.of("search", path, urlencode(parameters), "").query
    read = parse_search(parse_qsl(sent, keep_blank_values=True))
    wanted = {tag: match for tag, match in given_matches.items() if not isinstance(match, Universal)}
    assert (path, dict(read.matches), read.include) == ("/series", wanted, include)


@pytest.mark.parametrize(
    ("level", "study", "series", "path"),
    [
        (Level.STUDY, None, None, "/studies"),
        (Level.SERIES, "1.2", None, "/studies/1.2/series"),
        (Level.INSTANCE, "1.2", None, "/studies/1.2/instances"),
        (Level.INSTANCE, "1.2", "1.3", "/studies/1.2/series/1.3/instances"),
        (Level.INSTANCE, None, "1.3", "/instances"),
    ],
)
def test_the_resource_names_the_parents(level: Level, study: str, series: str, path: str) -> None:
    """PS3.18 Table 10.6.1-1."""
    [(asked, parameters)] = requests_of(Query(level, study_instance_uid=study, series_instance_uid=series))
    assert asked == path
    assert list(parameters) == ([("0020000E", "1.3")] if path == "/instances" else [])


def test_a_long_list_of_uids_is_several_requests() -> None:
    uids = tuple(f"1.2.{number}" for number in range(2 * MOST_UIDS + 1))
    requests = list(requests_of(Query(Level.INSTANCE, (("00080018", UIDList(uids)),))))
    assert len(requests) == 3
    assert ",".join(value for _, parameters in requests for _, value in parameters) == ",".join(uids)


class Pages:
    """A service that answers pages as a server would, and notes what it was asked."""

    upstream = SimpleNamespace(name="other")

    def __init__(self, answer: Callable[[int, int], bytes], **headers: str) -> None:
        self._answer, self._headers = answer, headers
        self.asked: list[tuple[int, int]] = []

    async def get(self, asked: Asked, **_: object) -> Any:
        sent = dict(parse_qsl(asked.query))
        self.asked.append((int(sent["offset"]), int(sent["limit"])))
        content = self._answer(*self.asked[-1])

        async def pieces() -> Any:
            yield content

        head = SimpleNamespace(headers=self._headers)
        return SimpleNamespace(head=head, pieces=pieces, close=lambda: None)

    def found(self) -> list[str]:
        """The values of the rows of all pages, the first page of 2, the others of 3."""

        async def collect() -> list[str]:
            request: Any = ("/studies", ())
            pages = search_pages(self, "search", request, 2, 3)  # type: ignore[arg-type]
            return [row["00080050"]["Value"][0] async for rows in pages for row in rows]

        return asyncio.run(collect())


def rows(start: int, stop: int) -> bytes:
    return orjson.dumps([{"00080050": {"vr": "SH", "Value": [str(n)]}} for n in range(start, stop)])


@pytest.mark.parametrize("total", [0, 1, 2, 3, 5, 6])
def test_pages_follow_until_there_are_no_more(total: int) -> None:
    """PS3.18 8.3.4.4."""
    pages = Pages(lambda offset, limit: rows(offset, min(offset + limit, total)))
    assert pages.found() == [str(n) for n in range(total)]
    assert pages.asked[0] == (0, 2)
    assert len(pages.asked) <= 3


def test_a_server_that_knows_no_limit() -> None:
    pages = Pages(lambda *_: rows(0, 9))
    assert len(pages.found()) == 9
    assert len(pages.asked) == 1


def test_a_server_that_knows_no_offset() -> None:
    pages = Pages(lambda _, limit: rows(0, limit))
    with pytest.raises(UpstreamFailed, match="no second page"):
        pages.found()


def test_a_server_with_a_limit_of_its_own() -> None:
    pages = Pages(lambda offset, _: rows(offset, min(offset + 1, 4)), warning="299 x: there is more")
    assert pages.found() == ["0", "1", "2", "3"]


@pytest.mark.parametrize("content", [b"<html>", b"{}", b"[1]"])
def test_what_are_no_results(content: bytes) -> None:
    with pytest.raises(UpstreamFailed, match="cannot be read"):
        Pages(lambda *_: content).found()


def test_an_attribute_that_is_none_is_left_out() -> None:
    odd = {
        "00080050": {"vr": "SH", "Value": ["one"]},
        "00080060": {"vr": "SH", "Value": [["not text"]]},
        "nonsense": {"vr": "SH"},
        "00080070": 7,
    }
    assert Pages(lambda *_: orjson.dumps([odd])).found() == ["one"]
