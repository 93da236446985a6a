"""Threads for long searches: few at a time, a bounded queue, and nobody else held up."""

import asyncio
from threading import Event

import pytest

from app.web.errors import RequestError
from app.web.searching import SearchThreads


def test_as_many_wait_as_may_and_no_more() -> None:
    async def ask() -> None:
        threads = SearchThreads(threads=1, most_waiting=1)
        go = Event()
        try:
            inside = [asyncio.ensure_future(threads.run(go.wait)) for _ in range(2)]
            await asyncio.sleep(0)
            with pytest.raises(RequestError, match="waiting") as refused:
                await threads.run(go.wait)
            assert refused.value.status == 503
            assert "Retry-After" in refused.value.headers
            go.set()
            assert await asyncio.gather(*inside) == [True, True]
            assert await threads.run(lambda: "free again") == "free again"
        finally:
            go.set()
            threads.close()

    asyncio.run(ask())


def test_what_a_search_raises_is_raised() -> None:
    async def ask() -> None:
        threads = SearchThreads()
        try:
            with pytest.raises(ZeroDivisionError):
                await threads.run(lambda: 1 // 0)
        finally:
            threads.close()

    asyncio.run(ask())
