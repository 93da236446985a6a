"""A server between the proxy and an upstream that notes what passes."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class Recording:
    """What was asked: method and target, with the header fields in lower case."""

    url: str
    requests: list[tuple[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def taken(self) -> list[tuple[str, str]]:
        """What was asked since the last call."""
        found, self.requests[:] = list(self.requests), []
        return found


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
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815 the library's name

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        recording = Recording(f"http://127.0.0.1:{server.server_port}{target.path}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield recording
        finally:
            server.shutdown()
            thread.join()
