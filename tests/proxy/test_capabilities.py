"""OPTIONS and /metrics tell of other servers as of ours; who has none loads nothing for them."""

import asyncio
import subprocess
import sys
from pathlib import Path

from tests.proxy.chaos import chaos_server
from tests.proxy.test_chaos import PATHS, age, proxy_of, through
from tests.web.door import opened_door

PREFLIGHT = {"Origin": "https://viewer.example", "Access-Control-Request-Method": "GET"}


def test_options_of_an_upstream_are_those_of_our_own_service(tmp_path: Path) -> None:
    """PS3.18 8.9 and 8.9.4."""

    async def scenario() -> None:
        async with chaos_server(lambda: "ok") as chaos, through(tmp_path, chaos.url) as client:
            told = await client.options("/studies", headers={"Accept": "application/json"})
            assert told.status_code == 200
            assert told.headers["Allow"] == "GET, HEAD, OPTIONS"  # it takes no stores
            paths = {one["path"] for one in told.json()["resources"]}
            assert "/proxy/chaos/dicom-web/studies/{study}/series/{series}/metadata" in paths
            assert all(path.startswith("/proxy/chaos/dicom-web/studies") for path in paths)
            whole = await client.options("", headers={"Accept": "application/vnd.sun.wadl+xml"})
            assert b'path="proxy/chaos/dicom-web/studies/{study}/series"' in whole.content
            preflight = await client.options("/studies/1.2/metadata", headers=PREFLIGHT)
            assert preflight.status_code == 204
            assert "GET" in preflight.headers["Access-Control-Allow-Methods"]
            assert (await client.options("/nothing")).status_code == 404
            assert (await client.options("http://x/proxy/nobody/dicom-web/studies")).status_code == 404
            assert not chaos.requests

    asyncio.run(scenario())


def test_who_may_store_there_is_told_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        lines = ('methods = ["GET", "POST"]',)
        async with chaos_server(lambda: "ok") as chaos, through(tmp_path, chaos.url, *lines) as client:
            told = await client.options("/studies")
            assert told.headers["Allow"] == "GET, HEAD, POST, OPTIONS"

    asyncio.run(scenario())


def test_metrics_tell_what_was_asked_kept_and_left_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        faults = iter(["ok"] * 1 + ["500"] * 100)
        async with chaos_server(lambda: next(faults)) as chaos, through(tmp_path, chaos.url) as client:
            assert (await client.get(PATHS[0])).status_code == 200
            await age(tmp_path)  # which waits until it is kept
            assert (await client.get(PATHS[0])).status_code == 200
            for path in PATHS[1:6]:
                await client.get(path)
            told = (await client.get("http://x/metrics")).text.splitlines()
            assert 'dermzoo_proxy_answers_total{cache="miss",upstream="chaos"} 1.0' in told
            assert 'dermzoo_proxy_answers_total{cache="hit",upstream="chaos"} 1.0' in told
            assert 'dermzoo_upstream_requests_total{outcome="200",upstream="chaos"} 1.0' in told
            assert 'dermzoo_upstream_requests_total{outcome="500",upstream="chaos"} 15.0' in told
            assert 'dermzoo_upstream_left_alone{upstream="chaos"} 1.0' in told
            values = dict(line.rpartition(" ")[::2] for line in told)
            assert float(values['dermzoo_upstream_received_bytes_total{upstream="chaos"}']) > 0
            assert float(values["dermzoo_proxy_cache_bytes"]) > 0

    asyncio.run(scenario())


def test_who_has_no_upstreams_loads_nothing_for_them(tmp_path: Path) -> None:
    loaded = "import sys, app.main; print('httpcore' in sys.modules, 'app.proxy.proxy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
    with opened_door(tmp_path) as door:
        assert proxy_of(door) is None
