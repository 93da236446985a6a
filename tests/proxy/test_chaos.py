"""An upstream at its worst (D10): never wrong bytes, never a short 200, never a 500 of our own."""

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from app.proxy import client as proxy_client
from app.proxy.proxy import Proxy
from tests.proxy.chaos import FAULTS, Chaos, chaos_server, content_of
from tests.proxy.conftest import upstreams_file
from tests.web.door import Door, opened_door

BASE = "/proxy/chaos/dicom-web"
PATHS = [f"/studies/1.2/series/3/instances/4.{number}/bulkdata/x" for number in range(12)]


def proxy_of(door: Door) -> Proxy:
    inner = door.app
    while not hasattr(inner, "state"):
        inner = inner.app
    return inner.state.proxy


@asynccontextmanager
async def through(folder: Path, url: str, *lines: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the whole application in front of an upstream of this machine."""
    listed = upstreams_file(folder / "upstreams.toml", url, *lines, name="chaos")
    async with through_file(folder, listed) as client:
        yield client


@asynccontextmanager
async def through_file(folder: Path, listed: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The same with a file of upstreams."""
    with opened_door(folder, upstreams_file=listed) as door:
        transport = httpx.ASGITransport(door.app, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://x{BASE}") as client:
            try:
                yield client
            finally:
                await proxy_of(door).close()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_client, "_FIRST_PAUSE_S", 0.0)


async def age(folder: Path) -> None:
    """Have what is kept come to its age: two requests within a file system's tick are one moment."""
    cache = folder / "data" / "cache"

    def kept() -> list[Path]:
        return [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".part"]

    while not kept():  # noqa: ASYNC110 it is kept after its last reader has all of it
        await asyncio.sleep(0)
    for path in kept():
        status = path.stat()
        os.utime(path, (status.st_atime, status.st_mtime - 5))


async def outcome(client: httpx.AsyncClient, path: str, chaos: Chaos) -> str:
    """What becomes of a request: its status, or `aborted`; a 200 is compared with what is held."""
    try:
        answer = await client.get(path, headers={"Accept": "*/*"})
    except Exception:  # noqa: BLE001 the application cut it off, as a server would
        return "aborted"
    if answer.status_code == 200:
        assert answer.content == content_of(f"/dicom-web{path}")
    else:
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert chaos.url.split("/")[2] not in answer.text
    return str(answer.status_code)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("cache", ["cache_bytes = 10000000", "cache_bytes = 0"])
def test_each_fault_always_and_once(fault: str, cache: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        faults: list[str] = []
        async with chaos_server(lambda: faults.pop() if faults else "ok") as chaos:
            listed = upstreams_file(tmp_path / "u.toml", chaos.url, name="chaos")
            listed.write_text(f"{cache}\n{listed.read_text()}")
            async with through_file(tmp_path, listed) as client:
                for path in PATHS[:4]:
                    faults[:] = [fault] * 3
                    said = await outcome(client, path, chaos)
                    assert said in {"502", "503", "504", "aborted"}, said
                    assert said != "aborted" or "cut" in fault or fault == "reset in body"
                    if fault in {"reset", "silent", "garbage", "500", "503", "429"}:
                        assert faults == []  # it was tried three times
                    faults.clear()
                faults[:] = (
                    [fault] if fault in {"reset", "silent", "garbage", "500", "503", "429", "cut"} else []
                )
                assert await outcome(client, PATHS[5], chaos) == "200"

    asyncio.run(scenario())


@pytest.mark.parametrize("seed", range(3))
def test_faults_of_all_kinds_under_load(seed: int, tmp_path: Path) -> None:
    async def scenario() -> Counter[str]:
        chance = random.Random(seed)
        async with (
            chaos_server(lambda: chance.choice(FAULTS) if chance.random() < 0.2 else "ok") as chaos,
            through(tmp_path, chaos.url, "[upstream.cache]", "object_s = 0") as client,
        ):
            asked = [chance.choice(PATHS) for _ in range(150)]
            places = asyncio.Semaphore(16)

            async def one(path: str) -> str:
                async with places:
                    return await outcome(client, path, chaos)

            return Counter(await asyncio.gather(*map(one, asked)))

    said = asyncio.run(scenario())
    assert set(said) <= {"200", "502", "503", "504", "aborted"}
    assert said["200"] > 75


def test_one_download_however_many_wait(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with chaos_server() as chaos, through(tmp_path, chaos.url) as client:
            chaos.hold = asyncio.Event()
            asking = [asyncio.create_task(outcome(client, PATHS[0], chaos)) for _ in range(20)]
            await chaos.asked.wait()
            chaos.hold.set()
            assert set(await asyncio.gather(*asking)) == {"200"}
            assert len(chaos.requests) == 1

    asyncio.run(scenario())


def test_what_was_kept_is_served_while_the_upstream_fails(tmp_path: Path) -> None:
    async def scenario() -> None:
        fault = "ok"
        async with (
            chaos_server(lambda: fault) as chaos,
            through(tmp_path, chaos.url, "[upstream.cache]", "object_s = 0") as client,
        ):
            fresh = await client.get(PATHS[0])
            await age(tmp_path)
            fault = "500"
            stale = await client.get(PATHS[0])
            assert (stale.status_code, stale.content) == (200, fresh.content)
            assert stale.headers["Warning"].startswith("110 ")
            assert stale.headers["Cache-Control"] == "no-store"
            assert (await client.get(PATHS[1])).status_code == 502

    asyncio.run(scenario())


def test_what_was_kept_is_asked_for_with_its_tag(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            chaos_server() as chaos,
            through(tmp_path, chaos.url, "[upstream.cache]", "object_s = 0.000001") as client,
        ):
            chaos.tag = '"one"'
            first = await client.get(PATHS[0])
            sent = chaos.sent_bytes
            await age(tmp_path)
            again = await client.get(PATHS[0])
            assert again.content == first.content
            assert 'If-None-Match: "one"' in chaos.requests[1]
            assert chaos.sent_bytes == sent

    asyncio.run(scenario())


def test_an_upstream_that_only_fails_is_left_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with chaos_server(lambda: "500") as chaos, through(tmp_path, chaos.url) as client:
            for path in PATHS[:5]:
                assert (await client.get(path)).status_code == 502
            asked = len(chaos.requests)
            refused = await client.get(PATHS[6])
            assert refused.status_code == 503
            assert refused.json()["type"] == "urn:dermzoo:problem:upstream-unavailable"
            assert int(refused.headers["Retry-After"]) > 0
            assert len(chaos.requests) == asked == 15

    asyncio.run(scenario())


def test_too_many_requests_there_is_not_the_quota_of_the_client(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with chaos_server(lambda: "429") as chaos, through(tmp_path, chaos.url) as client:
            refused = await client.get(PATHS[0])
            assert (refused.status_code, refused.json()["type"]) == (
                503,
                "urn:dermzoo:problem:upstream-unavailable",
            )
            assert "not your quota" in refused.json()["detail"]

    asyncio.run(scenario())


def test_an_upstream_that_takes_too_long_is_told_apart(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with chaos_server() as chaos, through(tmp_path, chaos.url, "read_s = 0.1") as client:
            chaos.hold = asyncio.Event()
            refused = await client.get(PATHS[0])
            assert (refused.status_code, refused.json()["type"]) == (
                504,
                "urn:dermzoo:problem:upstream-timeout",
            )
            assert len(chaos.requests) == 3
            chaos.hold.set()
            assert await outcome(client, PATHS[0], chaos) == "200"

    asyncio.run(scenario())


def test_nothing_follows_a_redirect(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with chaos_server(lambda: "redirect") as chaos, through(tmp_path, chaos.url) as client:
            assert (await client.get(PATHS[0])).status_code == 502
            assert len(chaos.requests) == 1

    asyncio.run(scenario())


def test_t8_parameters_that_mean_nothing_fetch_nothing_again(tmp_path: Path) -> None:
    """T8: nobody fills the cache, or has the upstream asked, by what he puts behind a path."""
    path = "/studies/1.2/series/3/instances/4.1/frames/1"

    async def scenario() -> None:
        async with chaos_server() as chaos, through(tmp_path, chaos.url) as client:
            plain = await client.get(path)
            for query in ("?", "?x=1", "?x=2&y", "?_=1732208400", "?a%63cept2=evil"):
                again = await client.get(path + query)
                assert (again.status_code, again.content) == (plain.status_code, plain.content)
            assert len(chaos.requests) == 1
            await client.get(f"{path}?quality=50&x=1")
            assert [request.split()[1].partition("?")[2] for request in chaos.requests] == ["", "quality=50"]
            await client.get("/studies/1.2/bulkdata/x?offset=1")
            await client.get("/instances?PatientID=x")
            asked = [request.split()[1].partition("?")[2] for request in chaos.requests[2:]]
            assert asked == ["offset=1", "PatientID=x"]

    asyncio.run(scenario())


def test_poison(tmp_path: Path) -> None:
    """T8: whatever one client sends along, another gets what it would have got without it."""
    oddities = [
        {"Host": "evil.example"},
        {"Host": "localhost:81"},
        {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "gopher"},
        {"X-Original-URL": "/admin", "X-Rewrite-URL": "/admin"},
        {"Accept-Encoding": "gzip, br"},
        {"Authorization": "Basic ZXZpbDpldmls"},
        {"Cookie": "evil=1"},
        {"Range": "bytes=0-0"},
        {"If-None-Match": "*"},
        {"If-Match": '"evil"'},
        {"If-Modified-Since": "Sat, 21 Nov 2099 00:00:00 GMT"},
        {"Accept-Language": "evil"},
        {"Connection": "Accept", "Transfer-Encoding": "chunked"},
        {"Accept": 'multipart/related; type="evil\\"\r"'.replace("\r", "")},
    ]

    async def scenario() -> None:
        async with chaos_server() as chaos, through(tmp_path, chaos.url) as client:
            for number, odd in enumerate(oddities):
                path = f"/studies/1.2/series/3/instances/5.{number}/bulkdata/x"
                await client.get(path, headers=odd)
                honest = await client.get(path)
                assert (honest.status_code, honest.content) == (200, content_of(f"/dicom-web{path}"))
            lines = [line for request in chaos.requests for line in request.split("\r\n")[1:]]
            assert [line for line in lines if "evil" in line and not line.startswith("Accept: ")] == []

    asyncio.run(scenario())
