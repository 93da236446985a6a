"""One log line and one count for each request, whatever becomes of it."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.observability.metrics import Metrics


class RequestLog:
    """Plain ASGI around the whole application; adds nothing to the body."""

    def __init__(self, app: ASGIApp, metrics: Metrics, write: Callable[[bytes], object] | None) -> None:
        """`write` takes a line; a logger would cost as much as the answer to a small question."""
        self.app = app
        self.metrics = metrics
        self.write = write

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request and tell of it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status, sent, is_complete = 0, 0, False

        async def counted_send(message: Message) -> None:
            nonlocal status, sent, is_complete
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)
            if message["type"] == "http.response.body":
                sent += len(message.get("body", b""))
                is_complete = not message.get("more_body", False)

        try:
            await self.app(scope, receive, counted_send)
        finally:
            is_hung_up = getattr(scope.get("dermzoo.budget"), "is_hung_up", False)
            status = status or (0 if is_hung_up else 500)
            self._tell(scope, status, sent, time.perf_counter() - started, is_complete=is_complete)

    def _tell(self, scope: Scope, status: int, sent: int, seconds: float, *, is_complete: bool) -> None:
        # The route and not the path: a metric must not have a series for each UID.
        route = getattr(scope.get("route"), "path", "none")
        self.metrics.count(route, scope["method"], status, sent, seconds)
        budget = scope.get("dermzoo.budget")
        refused = [line.name for line in budget.refused.short] if budget and budget.refused else []
        for name in refused:
            self.metrics.refused.labels(name).inc()
        if budget and budget.waited_s:
            self.metrics.held.inc(budget.waited_s)
        if self.write is None:
            return
        principal = scope.get("dermzoo.principal")
        line: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "level": "info",
            "logger": "dermzoo.requests",
            "message": "request",
            "client": budget.account.client.key if budget else (scope.get("client") or ("",))[0],
            "token": getattr(principal, "token_id", None),
            "method": scope["method"],
            "path": scope["path"],
            "query": scope["query_string"].decode("latin-1"),
            "status": status,
            "bytes": sent,
            "complete": is_complete,
            "ms": round(seconds * 1000, 2),
        }
        if budget:
            line["budget"] = {
                "charged": budget.bytes_charged,
                "waited_s": round(budget.waited_s, 3),
                "refused": refused,
            }
        self.write(orjson.dumps(line, default=str, option=orjson.OPT_APPEND_NEWLINE))
