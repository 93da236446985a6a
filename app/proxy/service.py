"""One upstream as a service of ours: from the cache where that is right, else by one download."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from functools import partial

from app.proxy.asked import Asked
from app.proxy.cache import Cache, Kept
from app.proxy.client import Answer, UpstreamClient
from app.proxy.credentials import Authorization
from app.proxy.download import Download
from app.proxy.errors import UpstreamError
from app.proxy.heads import STORED, Head, refusal
from app.proxy.meter import Meter
from app.proxy.rewriting import rewriter_of
from app.proxy.spool import EVERYTHING
from app.proxy.upstreams import Upstream
from app.proxy.urls import Translation, checked_path
from app.throttle.limits import RouteRefused

_ATTEMPTS = 3
_CLOCK_S = 0.001  # file times are not as exact as the clock
_UNAUTHORIZED = 401
_MOST_STORE_ANSWER_BYTES = 64 * 2**20


class Flow:
    """An answer on its way; to be closed, which ends the download if nobody else waits for it."""

    def __init__(self, head: Head, download: Download, reader: object) -> None:
        self.head, self._download, self._reader = head, download, reader

    def pieces(self) -> AsyncGenerator[bytes]:
        """Yield the body; raises UpstreamError when it will not be complete."""
        return self._download.spool.read(self._reader)

    async def is_kept(self) -> bool:
        """Wait until it is complete and kept; say whether it is. Raises UpstreamError."""
        return await self._download.wait_until_kept()

    def close(self) -> None:
        """Stop reading; a second call does nothing."""
        self._download.leave(self._reader)


class Service:
    """What one upstream has, at `ours`."""

    def __init__(
        self, upstream: Upstream, ours: str, cache: Cache, client: UpstreamClient, meter: Meter
    ) -> None:
        self.upstream, self.ours = upstream, ours
        self._cache, self._client, self._meter = cache, client, meter
        self._authorization = Authorization(upstream, client)
        self._downloads: dict[str, Download] = {}
        self._running: set[Download] = set()

    async def get(self, asked: Asked, place: int = 0, *, may_be_stale: bool = True) -> Kept | Flow:
        """Return a kept answer or one on its way, to be closed; raises ArchiveError.

        `place` EVERYTHING: the body is not going to be read before it is complete. Not `may_be_stale`: while
        the upstream fails, what it said before is no answer.
        """
        key, since_s = asked.key(self.upstream, self.ours), self._cache.clock() - _CLOCK_S
        how = "hit"
        for _ in range(_ATTEMPTS):
            kept = self._open(asked, key)
            if kept is not None and (self._is_current(asked, kept) or kept.current_s >= since_s):
                self._meter.answered(how)
                return kept
            how = self._how(asked, key) if how == "hit" else how
            download = self._download(asked, key, kept)
            if download.spool.is_complete:
                await download.end()
                _close(kept)
                continue  # it is in the cache now
            reader = download.spool.join(place)
            try:
                head = await asyncio.shield(download.head)
            except (UpstreamError, RouteRefused):
                download.leave(reader)
                if kept is None or not may_be_stale or self._is_too_old(asked, kept):
                    _close(kept)
                    raise
                return self._stale(kept)
            except BaseException:
                download.leave(reader)
                _close(kept)
                raise
            _close(kept)
            if head is not None:
                self._meter.answered(how)
                return Flow(head, download, reader)
            download.leave(reader)  # it is in the cache now
        raise UpstreamError(f"The server {self.upstream.name!r} and the cache do not agree.")

    async def get_whole(self, asked: Asked) -> Kept | None:
        """Return the answer once it is kept, None if it is not for keeping; raises ArchiveError."""
        found = await self.get(asked, EVERYTHING)
        if isinstance(found, Kept):
            return found
        try:
            is_kept = await found.is_kept()
        finally:
            found.close()
        return self._open(asked, asked.key(self.upstream, self.ours)) if is_kept else None

    async def store(
        self, path: str, headers: Mapping[str, str], body: AsyncIterator[bytes]
    ) -> tuple[int, str, bytes]:
        """Send a store on; return the status, media type and body of the answer. Raises ArchiveError."""
        await self._meter.admit()
        url = self.upstream.url + checked_path(path)
        answer = await self._client.send(
            "POST", url, {**headers, **await self._authorization.headers()}, body
        )
        try:
            if answer.status not in STORED:
                raise refusal(self.upstream.name, answer)
            content = await answer.read(_MOST_STORE_ANSWER_BYTES)
        finally:
            await answer.close()
        content_type = answer.headers.get("content-type", "")
        rewriter = rewriter_of(content_type, Translation(self.upstream, self.ours, url))
        if rewriter is not None:
            content = rewriter.feed(content) + rewriter.finish()
        return answer.status, content_type, content

    async def _ask(self, asked: Asked, upstream_tag: str) -> Answer:
        await self._meter.admit()
        headers = {"Accept": asked.accept, "Accept-Encoding": "identity", "User-Agent": "dermzoo"}
        if upstream_tag:
            headers["If-None-Match"] = upstream_tag
        url = asked.url(self.upstream)
        answer = await self._client.get(url, headers | await self._authorization.headers())
        if answer.status == _UNAUTHORIZED and self._authorization.forget():
            await answer.close()
            answer = await self._client.get(url, headers | await self._authorization.headers())
        return answer

    def _how(self, asked: Asked, key: str) -> str:
        """Return what the cache does for an answer that is to be fetched."""
        if key in self._downloads:
            return "shared"
        return "miss" if self.keeps(asked) else "passed"

    def _stale(self, kept: Kept) -> Kept:
        kept.is_stale = True
        self._meter.answered("stale")
        return kept

    def left_alone_s(self) -> float:
        """Return for how long the upstream is not asked, because it failed again and again."""
        return self._client.breaker.left_alone_s()

    async def close(self) -> None:
        """End the downloads and close the connections."""
        for download in tuple(self._running):
            download.cancel()
        await asyncio.gather(*(one.task for one in self._running if one.task), return_exceptions=True)
        await self._client.close()

    def _open(self, asked: Asked, key: str) -> Kept | None:
        return self._cache.open(key) if self.keeps(asked) else None

    def _download(self, asked: Asked, key: str, kept: Kept | None) -> Download:
        running = self._downloads.get(key)
        if running is not None and running.spool.may_join:
            return running
        is_for_keeping = running is None and self.keeps(asked)
        download = Download(
            key,
            self.upstream,
            asked.translation(self.upstream, self.ours),
            partial(self._ask, asked),
            self._cache if is_for_keeping else None,
            partial(self._is_current, asked),
            self._meter,
        )
        if is_for_keeping:
            self._downloads[key] = download
        self._running.add(download)
        download.start(kept.upstream_tag if kept else "", self._done)
        return download

    def _done(self, download: Download) -> None:
        self._running.discard(download)
        if self._downloads.get(download.key) is download:
            del self._downloads[download.key]

    def keeps(self, asked: Asked) -> bool:
        """Whether the answer is for keeping, if it is not too large."""
        return self._cache.most_bytes > 0 and asked.lasts_s(self.upstream.cache) is not None

    def _lasts_s(self, asked: Asked) -> float:
        return asked.lasts_s(self.upstream.cache) or 0.0

    def _age_s(self, kept: Kept) -> float:
        return self._cache.clock() - kept.current_s

    def _is_current(self, asked: Asked, kept: Kept) -> bool:
        return self._age_s(kept) < self._lasts_s(asked)

    def _is_too_old(self, asked: Asked, kept: Kept) -> bool:
        return self._age_s(kept) > self._lasts_s(asked) + self.upstream.cache.stale_s


def _close(kept: Kept | None) -> None:
    if kept is not None:
        kept.close()
