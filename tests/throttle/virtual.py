"""A clock that moves only when everybody waits, and clients that speak ASGI to an application."""

import asyncio
import heapq
import itertools
from dataclasses import dataclass, field

from app.settings import Settings
from app.throttle.budget import Budget
from app.throttle.clients import Clients
from app.throttle.middleware import Throttle
from app.throttle.policy import Policy
from app.throttle.stores import MemoryStore

SETTLE_TURNS = 40


class VirtualTime:
    """time.monotonic and asyncio.sleep of a world of its own."""

    def __init__(self, start=1000.0):
        self.start = self.now_s = start
        self._sleepers, self._order = [], itertools.count()

    @property
    def elapsed_s(self):
        return self.now_s - self.start

    def clock(self):
        return self.now_s

    async def sleep(self, seconds):
        waiting = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now_s + seconds, next(self._order), waiting))
        await waiting

    async def settle(self):
        for _ in range(SETTLE_TURNS):
            await asyncio.sleep(0)

    async def advance(self):
        """Move on to the next moment at which somebody wakes; False if nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        if not self._sleepers:
            return False
        self.now_s, _, waiting = heapq.heappop(self._sleepers)
        waiting.set_result(None)
        await self.settle()
        return True

    async def finish(self, *coroutines):
        """Run to the end; return the results."""
        tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
        await self.settle()
        while not all(task.done() for task in tasks):
            assert await self.advance(), "nobody sleeps, and still somebody waits"
        return [task.result() for task in tasks]

    def run(self, *coroutines):
        async def main():
            return await self.finish(*coroutines)

        return asyncio.run(main())


def policy(**sections):
    """Generous rates, but for the sections given as in the file."""
    generous = {"per_second": 1e6, "burst": 1e9}
    whole = {
        "shared": {"bytes": generous},
        "client": {"requests": generous, "bytes": generous, "concurrent_requests": 1_000_000},
        "routes": dict.fromkeys(("search", "render", "store", "transcode"), generous),
    }
    for name, section in sections.items():
        whole[name] = {**whole.get(name, {}), **section}
    return Policy.model_validate(whole)


def make_budget(time, **sections):
    return Budget(policy(**sections), MemoryStore(4096), time.clock)


def throttled(app, budget, time, **options):
    return Throttle(
        app,
        budget,
        Clients(Settings(trusted_proxies="10.0.0.0/8").trusted_proxies),
        sleep=time.sleep,
        **options,
    )


@dataclass
class Visit:
    """One request and what came back, when."""

    time: VirtualTime
    path: str = "/"
    method: str = "GET"
    host: str = "192.0.2.1"
    headers: tuple = ()
    body: tuple = (b"",)
    extensions: dict | None = None
    principal: object = None
    status: int = 0
    answer_headers: dict = field(default_factory=dict)
    chunks: list = field(default_factory=list)  # (elapsed_s, bytes)
    is_complete: bool = False
    started_s: float = -1.0

    def __post_init__(self):
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": self.method,
            "path": self.path,
            "raw_path": self.path.encode(),
            "root_path": "",
            "scheme": "http",
            "query_string": b"",
            "headers": list(self.headers),
            "client": (self.host, 4711),
            "server": ("127.0.0.1", 80),
            "state": {},
        }
        if self.extensions is not None:
            self.scope["extensions"] = self.extensions
        if self.principal is not None:
            self.scope["dermzoo.principal"] = self.principal
        self._unread = list(self.body)
        self._gone = None
        self.readers = self.most_readers = self.pieces_read = 0

    async def ask(self, app):
        self._gone = asyncio.Event()
        await app(self.scope, self.receive, self.send)
        return self

    def leave(self):
        self._gone.set()

    async def receive(self):
        self.readers += 1
        self.most_readers = max(self.most_readers, self.readers)
        try:
            if self._unread and not self._gone.is_set():
                piece = self._unread.pop(0)
                self.pieces_read += 1
                return {"type": "http.request", "body": piece, "more_body": bool(self._unread)}
            await self._gone.wait()
            return {"type": "http.disconnect"}
        finally:
            self.readers -= 1

    async def send(self, message):
        if self._gone.is_set():
            return  # as uvicorn does
        if message["type"] == "http.response.start":
            self.status, self.started_s = message["status"], self.time.elapsed_s
            self.answer_headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.chunks.append((self.time.elapsed_s, message.get("body", b"")))
            if not message.get("more_body", False):
                self.is_complete = True
                self._gone.set()

    @property
    def content(self):
        return b"".join(body for _, body in self.chunks)

    @property
    def record(self):
        return self.scope["dermzoo.budget"]


def answering(*chunks, status=200, headers=()):
    """An application that sends these pieces."""

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        for number, chunk in enumerate(chunks):
            await send({"type": "http.response.body", "body": chunk, "more_body": number < len(chunks) - 1})

    return app
