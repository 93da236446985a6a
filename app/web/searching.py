"""Threads for searches that may read through a table, so that all others are answered meanwhile."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import ParamSpec, TypeVar

from app.web.errors import RETRY_AFTER_S, RequestError

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 2  # searches of this kind that one process works on at a time
MOST_WAITING = 32


class SearchThreads:
    """Few threads, and a bound for those who wait for one."""

    def __init__(self, threads: int = THREADS, most_waiting: int = MOST_WAITING) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="search")
        self._most = threads + most_waiting
        self._inside = 0

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a search in one of the threads; raises 503 when too many wait already."""
        if self._inside >= self._most:
            raise RequestError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "Too many long searches are waiting. Try again later, or name an attribute with an index.",
                {"Retry-After": str(RETRY_AFTER_S)},
            )
        self._inside += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, lambda: function(*args, **kwargs))
        finally:
            self._inside -= 1

    def close(self) -> None:
        """End the threads, once what they work on has ended."""
        self._executor.shutdown(cancel_futures=True)
