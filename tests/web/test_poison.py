"""T8: two clients who spell everything differently, at the archive and the proxy, cold and warm.

What one says changes no byte of what the other gets.
"""

import asyncio
from itertools import product

import httpx
import pytest

from tests.factories import uid
from tests.proxy.test_chaos import through
from tests.web.conftest import Archive

PLAIN = {"Host": "127.0.0.1", "Accept-Encoding": "identity"}
ODD = {
    "Host": "LOCALHOST.:81",
    "X-Forwarded-Host": "foreign.example",
    "X-Forwarded-Proto": "foreign",
    "X-Forwarded-Prefix": "/foreign",
    "Forwarded": "host=foreign.example;proto=foreign",
    "X-Original-URL": "/foreign",
    "X-Rewrite-URL": "/foreign",
    "X-HTTP-Method-Override": "DELETE",
    "Origin": "https://foreign.example",
    "Referer": "https://foreign.example/",
    "Cookie": "foreign=1",
    "User-Agent": "foreign",
    "Accept-Encoding": "gzip, br, zstd",
    "Accept-Language": "xx-foreign",
}
SERIES = f"/studies/{uid('p')}/series/{uid('s1')}"
INSTANCE = f"{SERIES}/instances/{uid('p1')}"
JSON, XML = "application/dicom+json", 'multipart/related; type="application/dicom+xml"'
FILE, FRAME = (
    "application/dicom; transfer-syntax=*",
    'multipart/related; type="image/jpeg"; transfer-syntax=*',
)
# Of each resource, what the two ask for: the path and query, and Accept, and perhaps Range.
PAIRS = {
    "search": [
        (f"/instances?SOPInstanceUID={uid('p1')}&includefield=Rows&limit=1", JSON),
        (
            f"/instances?limit=1&includefield=00280010&00080018={uid('p1')}",
            "application/json;q=0.9, */*;q=0.1",
        ),
    ],
    "form": [(f"{SERIES}/instances", JSON), (f"{SERIES}/instances", XML)],
    "metadata": [(f"{INSTANCE}/metadata", JSON), (f"{INSTANCE}/metadata", XML)],
    "instance": [(INSTANCE, FILE), (INSTANCE, f'multipart/related; type="application/dicom"; {FILE[18:]}')],
    "range": [(INSTANCE, FILE, ("Range", "bytes=0-131")), (INSTANCE, FILE, ("Range", "bytes=128-131"))],
    "frame": [(f"{INSTANCE}/frames/1", FRAME), (f"{INSTANCE}/frames/1", "image/jpeg")],
    "rendered": [(f"{INSTANCE}/rendered", "image/jpeg"), (f"{INSTANCE}/rendered", "image/png")],
    "missing": [
        (f"{INSTANCE}/frames/99", "text/html"),
        (f"{INSTANCE}/frames/99", "application/problem+json"),
    ],
}
TOLD = ("content-type", "content-location", "content-range", "cache-control", "vary", "link")


class Asked:
    """What one request is answered, as far as it may depend on who asks."""

    def __init__(self, answer: httpx.Response) -> None:
        self.facts = (
            answer.status_code,
            {name: answer.headers.get(name) for name in TOLD},
            answer.content,
        )
        self.tag = answer.headers.get("etag")  # none when it passes through the proxy for the first time
        every = b"\n".join(name + value for name, value in answer.headers.raw) + answer.content
        assert b"foreign" not in every.lower()
        assert b"localhost" not in every.lower()


Told = dict[tuple[str, str, int], list[Asked]]


@pytest.fixture(scope="module")
def answers(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """By door, resource and client: what was answered in both orders, at first and again."""
    found: Told = {}

    async def ask(door: str, order: int, client: httpx.AsyncClient) -> None:
        for name, _ in product(PAIRS, range(2)):
            for number in (0, 1)[::order]:
                path, accept, *ranged = PAIRS[name][number]
                headers = (PLAIN, ODD)[number] | {"Accept": accept, **dict(ranged)}
                answer = Asked(await client.get(path, headers=headers))
                found.setdefault((door, name, number), []).append(answer)

    async def ask_both(order: int) -> None:
        root = archive.server.dicomweb_url
        async with httpx.AsyncClient(base_url=root, timeout=60) as client:
            await ask("archive", order, client)
        async with through(tmp_path_factory.mktemp("poison"), root) as client:  # with nothing kept yet
            await ask("proxy", order, client)

    for order in (1, -1):
        asyncio.run(ask_both(order))
    return found


@pytest.mark.parametrize("door", ["archive", "proxy"])
@pytest.mark.parametrize("name", PAIRS)
def test_t8_nobody_gets_what_another_asked_for(answers: Told, door: str, name: str) -> None:
    for number in (0, 1):
        told = answers[door, name, number]
        assert len(told) == 4
        assert all(one.facts == told[0].facts for one in told)
        assert len({one.tag for one in told if one.tag}) <= 1
    forms = [answers[door, name, number][0].facts for number in (0, 1)]
    if name != "search":
        assert forms[0] != forms[1]
    assert all(facts[1]["vary"] for facts in forms)
