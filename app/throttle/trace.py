"""Requests of the past, from an access log: our own JSON lines, or the common log format of web servers."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from app.throttle.clients import Client, network_key, parse_address
from app.throttle.exchange import STATUS_LINE_BYTES
from app.throttle.policy import RouteKind

HEAD_BYTES = 2 * STATUS_LINE_BYTES  # of an answer whose log tells its body alone
CHEAP_PATHS = frozenset({"/livez", "/readyz", "/quota"})

_COMMON = re.compile(
    r'(?P<host>\S+) \S+ \S+ \[(?P<time>[^\]]+)\] "(?P<method>[A-Z]+) (?P<path>\S+)[^"]*" '
    r"(?P<status>\d{3}) (?P<bytes>\d+|-)"
)
_COMMON_TIME = "%d/%b/%Y:%H:%M:%S %z"
_SEARCHED = frozenset({"studies", "series", "instances"})
_RENDERED = frozenset({"rendered", "thumbnail"})


class Asked(NamedTuple):
    """One request: when, by whom, for what, and what its answer took."""

    at_s: float  # since 1970
    client: Client
    kind: RouteKind | None
    is_cheap: bool
    sent_bytes: int  # head and body
    lasted_s: float
    was_refused: bool


class Trace(NamedTuple):
    """What a log told, in the order of time, and how many of its lines were no requests."""

    asked: list[Asked]
    passed_over: int


def read_trace(lines: Iterable[str]) -> Trace:
    """Read a log; a line that is no request is passed over."""
    asked, passed_over = [], 0
    for line in lines:
        found = _read_json(line) if line.startswith("{") else _read_common(line)
        if found is not None:
            asked.append(found)
        elif line.strip():
            passed_over += 1
    asked.sort(key=lambda request: request.at_s)
    return Trace(asked, passed_over)


def route_kind(method: str, path: str) -> RouteKind | None:
    """Return the kind of costly route that a path is, as far as the path tells."""
    parts = path.partition("?")[0].rstrip("/").split("/")
    if method == "POST":
        return "store" if "studies" in parts[-2:] else None
    if parts[-1] in _RENDERED:
        return "render"
    return "search" if parts[-1] in _SEARCHED else None


def _read_json(line: str) -> Asked | None:
    """Read a line of ours; its time is that of the end."""
    try:
        told: dict[str, Any] = orjson.loads(line)
        budget = told.get("budget", {})
        waited_s = budget.get("waited_s", 0.0)
        charged_bytes = budget.get("charged") or told["bytes"] + HEAD_BYTES
        return _asked(
            datetime.fromisoformat(told["time"]).timestamp() - told["ms"] / 1000,
            _known(told["client"]),
            (told["method"], told["path"], told["status"]),
            int(charged_bytes),
            max(0.0, told["ms"] / 1000 - waited_s),
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        return None


def _read_common(line: str) -> Asked | None:
    found = _COMMON.match(line)
    if found is None:
        return None
    try:
        at_s = datetime.strptime(found["time"], _COMMON_TIME).astimezone(UTC).timestamp()
    except ValueError:
        return None
    size = 0 if found["bytes"] == "-" else int(found["bytes"])
    said = (found["method"], found["path"], int(found["status"]))
    return _asked(at_s, _client(found["host"]), said, size + HEAD_BYTES, 0.0)


def _asked(at_s: float, client: Client, said: tuple[str, str, int], size: int, lasted_s: float) -> Asked:
    method, path, status = said
    is_cheap = path in CHEAP_PATHS
    return Asked(at_s, client, route_kind(method, path), is_cheap, size, lasted_s, status in {429, 503})


def _known(key: str) -> Client:
    """Return the client that a log of ours names; other programs may have written an address."""
    kind = key.partition(":")[0]
    return Client(key, has_token=kind == "token") if kind in {"ip", "token", "local"} else _client(key)


def _client(host: str) -> Client:
    address = parse_address(host)
    return Client(network_key(address) if address else f"host:{host}")
