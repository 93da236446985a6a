"""A server between the proxy and an upstream that notes what passes."""

import http.client
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class Recording:
    """What was asked: method and target, with the header fields in lower case."""

    url: str
    requests: list[tuple[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    # What goes wrong with a target: `reset`, `cut` in the middle, a status, `hold` until the event is set, or
    # another target's answer.
    misbehave: Callable[[str], str] = lambda _: ""
    let_go: threading.Event = field(default_factory=threading.Event)

    def taken(self) -> list[tuple[str, str]]:
        """What was asked since the last call."""
        found, self.requests[:] = list(self.requests), []
        return found


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: the proxy may hang up."""


@contextmanager
def recorded(upstream: str) -> Iterator[Recording]:
    """Yield a recording of an upstream's root."""
    target = urlsplit(upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            recording.requests.append((self.command, self.path))
            recording.headers.append({name.lower(): value for name, value in self.headers.items()})
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            fault = recording.misbehave(self.path)
            if fault == "hold":
                recording.let_go.wait(60)
            if fault == "reset":
                self.close_connection = True
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            if fault.startswith("/"):
                self.path = fault
            if fault.isdigit():
                self.send_response_only(int(fault))
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            onward = http.client.HTTPConnection(str(target.hostname), target.port, timeout=30)
            try:
                onward.request(self.command, self.path, body or None, dict(self.headers))
                answer = onward.getresponse()
                content = answer.read()
            finally:
                onward.close()
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in {"transfer-encoding", "connection", "content-length"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with suppress(ConnectionError):
                self.wfile.write(content[: len(content) // 2] if fault == "cut" else content)
            self.close_connection = self.close_connection or fault == "cut"

        do_POST = do_GET  # noqa: N815 the library's name

        def log_message(self, *arguments: object) -> None:
            pass

    with _Server(("127.0.0.1", 0), Handler) as server:
        recording = Recording(f"http://127.0.0.1:{server.server_port}{target.path}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield recording
        finally:
            server.shutdown()
            thread.join()
