"""Asking another host by HTTP, patiently: as long as it asks to wait, and on from where it was cut."""

import http.client
import random
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Any, TypeVar
from urllib.parse import urlsplit

import orjson

from app.errors import NotImportable

T = TypeVar("T")

_TIMEOUT_S = 30
_AGAIN = {429, 500, 502, 503, 504}
_LONGEST_WAIT_S = 120.0
_MOST_PAGE_BYTES = 64 * 2**20
_COPY_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Patience:
    """How often something is asked again, and how the time in between passes."""

    attempts: int = 8
    wait: Callable[[float], None] = sleep
    jitter: Callable[[], float] = random.random

    def delay_s(self, attempt: int, retry_after: str | None) -> float:
        """Return how long to wait: as told, else twice as long each time, less a random part of it."""
        if retry_after and retry_after.isdigit():
            return min(float(retry_after), _LONGEST_WAIT_S)
        return min(2.0**attempt, _LONGEST_WAIT_S) * (0.5 + self.jitter() / 2)


def get_json(url: str, patience: Patience) -> Any:  # noqa: ANN401 what JSON holds
    """Return what a URL answers; NotImportable when it does not, however often it is asked."""

    def read() -> Any:  # noqa: ANN401 what JSON holds
        with _opened(url, {"Accept": "application/json"}) as answer:
            content = answer.read(_MOST_PAGE_BYTES + 1)
            if len(content) <= _MOST_PAGE_BYTES:
                _require_whole(answer, len(content))
        if len(content) > _MOST_PAGE_BYTES:
            raise NotImportable("source", f"{url} answers more than {_MOST_PAGE_BYTES} bytes")
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise NotImportable("source", f"{url} does not answer JSON: {error}") from None

    return _patiently(url, patience, read)


def download(url: str, target: Path, patience: Patience) -> str:
    """Write what a URL answers to a file, going on where it was cut; return what names its version."""
    version = ""

    def read() -> str:
        nonlocal version
        held = target.stat().st_size if version and target.exists() else 0
        asked = {"Range": f"bytes={held}-", "If-Range": version} if held else {}
        with _opened(url, asked) as answer:
            goes_on = answer.status == 206
            version = answer.headers.get("ETag", "")
            with target.open("ab" if goes_on else "wb") as file:
                written = 0
                while piece := answer.read(_COPY_BYTES):
                    written += file.write(piece)
            _require_whole(answer, written)
        return version or f"{target.stat().st_size} bytes"

    return _patiently(url, patience, read)


def _require_whole(answer: http.client.HTTPResponse, read_bytes: int) -> None:
    # Where pieces are asked for, a connection that ends early looks like the end.
    expected = answer.headers.get("Content-Length", "")
    if expected.isdigit() and read_bytes < int(expected):
        raise http.client.IncompleteRead(b"", int(expected) - read_bytes)


def _patiently(url: str, patience: Patience, read: Callable[[], T]) -> T:
    for attempt in range(patience.attempts):
        try:
            return read()
        except urllib.error.HTTPError as error:
            problem, retry_after = f"status {error.code}", error.headers.get("Retry-After")
            if error.code not in _AGAIN:
                raise NotImportable("source", f"{url} answers {problem}") from None
        except (OSError, http.client.HTTPException) as error:
            problem, retry_after = str(error) or type(error).__name__, None
        if attempt + 1 < patience.attempts:
            patience.wait(patience.delay_s(attempt, retry_after))
    reason = f"{url} does not answer: {problem}. What was done stays: run the same command again later"
    raise NotImportable("source", reason)


@contextmanager
def _opened(url: str, fields: Mapping[str, str]) -> Iterator[http.client.HTTPResponse]:
    if urlsplit(url).scheme not in {"http", "https"}:
        raise NotImportable("source", f"{url} is not an http or https address")
    request = urllib.request.Request(url, headers={"User-Agent": "dermzoo", **fields})  # noqa: S310 as checked
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310 as checked
        yield answer
