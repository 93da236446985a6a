"""One answer fetched once, for all who wait for it, in this process and in the others."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import suppress

from app.proxy.cache import Cache, Claim, Kept
from app.proxy.client import Answer
from app.proxy.errors import UpstreamError, UpstreamFailed
from app.proxy.heads import Head, read_head
from app.proxy.meter import Meter
from app.proxy.rewriting import Rewriter
from app.proxy.spool import Spool
from app.proxy.upstreams import Upstream
from app.proxy.urls import Translation

_NOT_MODIFIED = 304
_FIRST_LOOK_S = 0.01
_LATER_LOOK_S = 0.25

Ask = Callable[[str], Awaitable[Answer]]  # with the entity tag of what is kept, or nothing


class Download:
    """A task that asks, rewrites and spools; `head` is what it answers, None when the answer is kept now."""

    def __init__(
        self,
        key: str,
        upstream: Upstream,
        translation: Translation,
        ask: Ask,
        cache: Cache | None,
        is_current: Callable[[Kept], bool],
        meter: Meter,
    ) -> None:
        """`cache` None: it is not for keeping."""
        self.key = key
        self.spool = Spool()
        self.head: asyncio.Future[Head | None] = asyncio.get_running_loop().create_future()
        self.task: asyncio.Task[None] | None = None
        self._upstream, self._translation, self._ask = upstream, translation, ask
        self._cache, self._is_current, self._meter = cache, is_current, meter
        self._claim: Claim | None = None
        self._kept = False

    def start(self, upstream_tag: str, done: Callable[["Download"], None]) -> None:
        """Begin; `done` is called at the end, however it ends."""
        self.task = asyncio.create_task(self._run(upstream_tag))
        self.task.add_done_callback(lambda _: self._end(done))

    def leave(self, reader: object) -> None:
        """Let a reader go; with the last one a download that is not complete ends."""
        self.spool.leave(reader)
        if self.spool.has_readers or self.task is None:
            return
        if self.task.done():
            self._close()
        elif not self.spool.is_complete:
            self.task.cancel()

    async def wait_until_kept(self) -> bool:
        """Wait, and say whether it is in the cache now; raises UpstreamError."""
        await self.spool.wait()
        if self.spool.is_complete:
            await self.end()
        return self._kept

    async def end(self) -> None:
        """Wait until the last of it is done."""
        if self.task is not None:
            await asyncio.wait({self.task})

    def cancel(self) -> None:
        """End it."""
        if self.task is not None:
            self.task.cancel()

    async def _run(self, upstream_tag: str) -> None:
        try:
            if self._cache is not None and await self._is_kept_by_another(self._cache):
                self._answer(None)
                return
            answer = await self._ask(upstream_tag)
            try:
                await self._take(answer, upstream_tag)
            finally:
                await answer.close()
        except asyncio.CancelledError:
            self._fail(UpstreamFailed("The server stops."))
            raise
        except Exception as error:  # noqa: BLE001 whoever waits is told
            self._fail(error)

    async def _take(self, answer: Answer, upstream_tag: str) -> None:
        if answer.status == _NOT_MODIFIED and upstream_tag and self._cache is not None:
            self._cache.renew(self.key)
            self._answer(None)
            return
        head, rewriter = read_head(self._upstream.name, answer, self._translation)
        if self._claim is not None and head.may_keep:
            most = min(self._upstream.cache.most_object_bytes, self._cache.most_bytes if self._cache else 0)
            self.spool.keep_in(self._claim.descriptor, most)
        self._answer(head)
        digest = await self._pass_on(answer, rewriter)
        self.spool.finish()
        if self._claim is not None and self.spool.is_kept and head.may_keep:
            await asyncio.to_thread(self._keep, self._claim, head, digest)

    async def _pass_on(self, answer: Answer, rewriter: Rewriter | None) -> str:
        digest = hashlib.sha256(self.key.encode())
        async for piece in answer.pieces():
            self._meter.charge(len(piece))
            data = piece if rewriter is None else rewriter.feed(piece)
            digest.update(data)
            await self.spool.write(data)
        if rewriter is not None:
            data = rewriter.finish()
            digest.update(data)
            await self.spool.write(data)
        return digest.hexdigest()

    def _keep(self, claim: Claim, head: Head, digest: str) -> None:
        assert self._cache is not None
        described: dict[str, object] = {
            "headers": head.headers,
            "length": self.spool.size,
            "tag": f'"{digest[:32]}"',
            "upstream_tag": head.upstream_tag,
        }
        with suppress(OSError):  # a disk that is full: the next one asks again
            claim.keep(described, self._cache.clock())
            self._kept = True
            self._cache.count(self.spool.size)

    async def _is_kept_by_another(self, cache: Cache) -> bool:
        """Take the right to write the answer, or wait for who has it; say whether it is there by then."""
        pause_s = _FIRST_LOOK_S
        waited_s = 0.0
        while waited_s < self._upstream.read_s:
            try:
                self._claim = cache.claim(self.key)
            except OSError:
                return False  # the disk refuses: it is not kept
            kept = cache.open(self.key)
            if kept is not None:
                kept.close()
                if self._is_current(kept):
                    return True
            if self._claim is not None:
                return False
            await asyncio.sleep(pause_s)
            waited_s += pause_s
            pause_s = min(2 * pause_s, _LATER_LOOK_S)
        return False

    def _answer(self, head: Head | None) -> None:
        if not self.head.done():
            self.head.set_result(head)

    def _fail(self, error: Exception) -> None:
        known = error if isinstance(error, UpstreamError) else UpstreamFailed(str(error))
        self.spool.fail(known)
        if not self.head.done():
            self.head.set_exception(error)
            self.head.exception()  # whoever waited may have gone

    def _end(self, done: Callable[["Download"], None]) -> None:
        self._meter.settle()
        done(self)
        if not self.head.done():  # cancelled before its first step
            self._fail(UpstreamFailed("The server stops."))
        if self._claim is not None and not self._kept:
            self._claim.drop()
        if not self.spool.has_readers:
            self._close()

    def _close(self) -> None:
        if self._claim is not None:
            self._claim.close()
