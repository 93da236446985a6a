"""A body between its upstream and those who read it: bounded, at their pace, while they are there."""

import asyncio
import os
from pathlib import Path

import pytest

from app.proxy.asked import Asked
from app.proxy.cache import Cache, Kept
from app.proxy.client import UpstreamClient
from app.proxy.errors import UpstreamFailed
from app.proxy.meter import Meter
from app.proxy.service import Flow, Service
from app.proxy.spool import AHEAD_BYTES, EVERYTHING, WINDOW_BYTES, Spool
from app.proxy.upstreams import Upstream
from tests.proxy.chaos import chaos_server, content_of

PIECE = b"p" * 65536


async def _settled(task: "asyncio.Task[None]", spool: Spool) -> int:
    """How much was written when the writer does not get further."""
    before = -1
    while before != spool.size:
        before = spool.size
        for _ in range(5):
            await asyncio.sleep(0)
    assert not task.done()
    return spool.size


async def _write(spool: Spool, pieces: int) -> None:
    for _ in range(pieces):
        await spool.write(PIECE)
    spool.finish()


@pytest.mark.parametrize(("in_file", "bound"), [(True, AHEAD_BYTES), (False, WINDOW_BYTES)])
def test_the_writer_waits_for_its_readers(in_file: bool, bound: int, tmp_path: Path) -> None:
    async def scenario() -> None:
        spool = Spool()
        descriptor = os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT)
        if in_file:
            spool.keep_in(descriptor, 10**9)
        fast, slow = spool.join(), spool.join()
        writing = asyncio.create_task(_write(spool, 200))
        assert await _settled(writing, spool) <= bound + len(PIECE)
        first = spool.read(fast)
        for _ in range(12 if in_file else 3):
            await anext(first)
        # In a file the fastest reader counts, in memory the slowest.
        further = await _settled(writing, spool)
        assert (further > bound + len(PIECE)) == in_file
        spool.leave(slow)
        rest = [piece async for piece in first]
        assert sum(map(len, rest)) > 0
        await writing
        assert spool.size == 200 * len(PIECE)
        os.close(descriptor)

    asyncio.run(scenario())


def test_what_grows_too_large_goes_on_in_memory(tmp_path: Path) -> None:
    async def scenario() -> None:
        spool = Spool()
        descriptor = os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT)
        spool.keep_in(descriptor, 3 * len(PIECE))
        reader, waiting = spool.join(), spool.join(EVERYTHING)
        writing = asyncio.create_task(_write(spool, 50))
        found = [piece async for piece in spool.read(reader)]
        await writing
        assert b"".join(found) == PIECE * 50
        assert not spool.is_kept
        await spool.wait()  # for one who wants to know whether all of it is kept
        spool.leave(waiting)
        os.close(descriptor)

    asyncio.run(scenario())


def service(folder: Path, url: str) -> Service:
    upstream = Upstream(name="up", url=url, allow_private=True)
    return Service(upstream, "http://us", Cache(folder, 10**9), UpstreamClient(upstream), Meter(None, "up"))


ASKED = Asked.of("object", "/studies/1.2/series/3/instances/4.1/bulkdata/x", "", "*/*")


def test_a_download_ends_with_its_last_reader(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with chaos_server() as chaos:
            chaos.hold = asyncio.Event()
            one = service(tmp_path, chaos.url)
            asking = [asyncio.create_task(one.get(ASKED)) for _ in range(3)]
            await chaos.asked.wait()
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
            await asyncio.gather(*(each.end() for each in tuple(one._running)))
            assert one._downloads == {}
            chaos.hold.set()
            await one.close()

    asyncio.run(scenario())
    assert list(tmp_path.rglob("*.part")) == []


def test_a_reader_that_leaves_does_not_end_it_for_the_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with chaos_server() as chaos:
            one = service(tmp_path, chaos.url)
            first, second = await asyncio.gather(one.get(ASKED), one.get(ASKED))
            assert isinstance(first, Flow)
            assert isinstance(second, Flow)
            assert first._download is second._download
            first.close()
            content = b"".join([piece async for piece in second.pieces()])
            assert content == content_of(f"/dicom-web{ASKED.path}")
            second.close()
            third = await one.get(ASKED)
            assert isinstance(third, Kept)
            third.close()
            assert len(chaos.requests) == 1
            await one.close()

    asyncio.run(scenario())


def test_a_slow_reader_holds_the_upstream_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with chaos_server() as chaos:
            upstream = Upstream(name="up", url=chaos.url, allow_private=True)
            one = Service(
                upstream, "http://us", Cache(tmp_path, 0), UpstreamClient(upstream), Meter(None, "up")
            )
            long = "/studies/1.2/series/3/instances/4/bulkdata/" + "x" * 1900
            asked = Asked.of("transient", long, "", "*/*")
            flow = await one.get(asked)
            assert isinstance(flow, Flow)
            task = flow._download.task
            assert task is not None
            held = await _settled(task, flow._download.spool)
            assert held <= WINDOW_BYTES + 65536 < flow.head.length
            flow.close()
            await asyncio.wait({task})
            with pytest.raises(UpstreamFailed):
                raise flow._download.spool.error or AssertionError
            await one.close()

    asyncio.run(scenario())
