"""A server that speaks the part of the archive's API v2 that is asked, and serves a file by ranges."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

PATH = "/api/v2/"


class ArchiveServer:
    """Its images, and what goes wrong: each failure is used up by one request."""

    def __init__(self) -> None:
        self.images: list[dict[str, Any]] = []
        self.failures: list[int | str] = []  # a status, or "cut"
        self.asked: list[str] = []
        self.file = b""
        self.page_images = 2
        self.url = ""

    def page(self, query: dict[str, list[str]]) -> dict[str, Any]:
        cursor = query.get("cursor", [""])[0]
        start = int(base64.b64decode(cursor).decode().rpartition("p=")[2]) if cursor else 0
        end = start + min(self.page_images, int(query.get("limit", ["100"])[0]))
        following = base64.b64encode(f"o=0&r=1&p={end}".encode()).decode()
        return {
            "count": None if cursor else len(self.images),
            "next": f"{self.url}images/?cursor={following}&limit=100" if end < len(self.images) else None,
            "previous": None,
            "results": self.images[start:end],
        }


class _Handler(BaseHTTPRequestHandler):
    archive: ArchiveServer

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.archive.asked.append(self.path)
        failure = self.archive.failures.pop(0) if self.archive.failures else None
        if isinstance(failure, int):
            self._answer(failure, b"", {"Retry-After": "3"} if failure == 429 else {})
        elif parts.path == f"{PATH}images/":
            body = json.dumps(self.archive.page(parse_qs(parts.query))).encode()
            self._answer(200, body, {}, is_cut=failure == "cut")
        elif parts.path.endswith(".parquet"):
            asked = self.headers.get("Range", "")
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
            self._answer(
                206 if asked else 200, self.archive.file[start:], {"ETag": '"1"'}, is_cut=failure == "cut"
            )
        else:
            self._answer(404, b"", {})

    def _answer(self, status: int, body: bytes, fields: dict[str, str], *, is_cut: bool = False) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **fields}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if is_cut else body)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@contextmanager
def running_archive() -> Iterator[ArchiveServer]:
    archive = ArchiveServer()
    handler = type("Handler", (_Handler,), {"archive": archive})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        archive.url = f"http://127.0.0.1:{server.server_port}{PATH}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield archive
        finally:
            server.shutdown()
            thread.join()


def image_object(isic_id: str, *, public: bool = True, **fields: Any) -> dict[str, Any]:
    """An image as the API gives it."""
    clinical = {"diagnosis_1": "Benign", **fields}
    return {
        "public": public,
        "isic_id": isic_id,
        "copyright_license": "CC-BY",
        "attribution": "The cohort",
        "files": {"full": {"url": f"https://example.org/{isic_id}.jpg", "size": 1}},
        "metadata": {
            "acquisition": {"pixels_x": 24, "pixels_y": 16, "image_type": "dermoscopic"},
            "clinical": clinical,
        },
    }
