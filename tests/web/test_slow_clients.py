"""T14: many slow sockets, and one good client whose requests go on; each slow one is let go of in time.

SOAK_SOCKETS says how many; `make soak` takes a thousand.
"""

import http.client
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial

import pytest
import uvicorn

from app.web import protocol
from app.web.protocol import BoundedHttpProtocol

SOCKETS = int(os.environ.get("SOAK_SOCKETS", "200"))
WINDOW_S = 3.0  # longer than a busy machine needs to open them all
DEADLINES = replace(
    protocol.DEADLINES, head_s=WINDOW_S, body_s=WINDOW_S, reader_s=WINDOW_S, idle_s=WINDOW_S, look_s=0.1
)
PATIENCE_S = 60
LARGE = bytes(2**22)

# What is sent at once; the rest comes byte by byte.
SLOW = {
    "silent": b"",
    "head": b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ",
    "body": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n",
    "reader": b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n",
    "idle": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
}


async def app(scope, receive, send):
    while (message := await receive()).get("more_body"):
        pass
    body = LARGE if scope["path"] == "/large" else b"ok"
    if message["type"] == "http.request":
        length = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        for start in range(0, len(body), 2**16):
            more = start + 2**16 < len(body)
            piece = body[start : start + 2**16]
            await send({"type": "http.response.body", "body": piece, "more_body": more})


@pytest.fixture
def served() -> Iterator[tuple[int, uvicorn.Server]]:
    """A port, and the server behind it, with short deadlines."""
    config = uvicorn.Config(
        app,
        http=partial(BoundedHttpProtocol, deadlines=DEADLINES),
        loop="uvloop",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**14)  # or the kernel takes it all
        listening.bind(("127.0.0.1", 0))
        listening.listen(1024)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield listening.getsockname()[1], server
        server.should_exit = True
        thread.join(PATIENCE_S)


class Slow:
    """One slow socket."""

    def __init__(self, port: int, kind: str) -> None:
        self.kind = kind
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**12)
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(SLOW[kind])
        self.socket.setblocking(False)

    def has_ended(self) -> bool:
        """Send a byte, read one, and say whether the server has ended the connection."""
        if self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return True
        try:
            if self.kind in {"head", "body"}:
                self.socket.send(b"x")
            return self.socket.recv(1 if self.kind == "reader" else 4096) == b""
        except BlockingIOError:
            return False
        except (ConnectionResetError, BrokenPipeError):
            return True


def ask(port: int) -> None:
    """What a good client does."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)) as client:
        client.request("GET", "/")
        assert client.getresponse().read() == b"ok"


def test_slow_clients_are_let_go_of_and_a_good_one_is_served(served) -> None:
    port, server = served
    kinds = list(SLOW)
    with ExitStack() as opened:
        slow = [Slow(port, kinds[number % len(kinds)]) for number in range(SOCKETS)]
        for one in slow:
            opened.enter_context(one.socket)
        ask(port)
        assert len(server.server_state.connections) >= SOCKETS * 0.75  # some came to their end already
        ends = time.monotonic() + PATIENCE_S
        while slow and time.monotonic() < ends:
            ask(port)
            slow = [one for one in slow if not one.has_ended()]
        assert not {one.kind for one in slow}
    ask(port)
    assert len(server.server_state.connections) <= 1
