"""T14: how long an honest client waits while a thousand slow ones sit on the server, and while nobody does.

The slow ones are silent, send a head or a body byte by byte, do not read, or keep a connection for nothing,
each from an address of its own; one that the server ends comes again at once.
"""

import selectors
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import Process, get_context
from multiprocessing.synchronize import Event

from bench.load import Reading, Sample
from bench.measure import Contender, compare
from bench.processes import Server
from bench.report import Report
from bench.stage import Stage

SLOW_CLIENTS = 1000
DRIP_S = 1.0
OPENED_S = 60
SEARCH = "/dicom-web/studies?limit=10"
KINDS = {
    "silent": b"",
    "head": b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
    "body": b"POST /dicom-web/studies HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/related\r\n"
    b"Content-Length: 1000000\r\n\r\n",
    "reader": b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n",  # more than the kernel takes
    "idle": b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


def measure_patience(stage: Stage, report: Report) -> None:
    """Measure T14."""
    with stage.empty_dermzoo() as server:
        good = Reading([SEARCH], "application/dicom+json", 1, stage.seconds)
        contenders = {
            "beside": Contender(server, lambda _: _Crowded(good)),
            "alone": Contender(server, lambda _: good),
        }
        scenario = compare(f"p99 beside {SLOW_CLIENTS:,} slow clients", "p99_ms", contenders, stage.rounds)
        report.compared(scenario, "beside", "alone")


@dataclass(frozen=True)
class _Crowded:
    """A load, put on while the slow clients are there."""

    load: Reading

    def run(self, server: Server) -> Sample:
        """Put the load on a server."""
        with _slow_clients(server.port):
            server.settle()  # what they asked for is made before, and is not what is measured
            return self.load.run(server)


@contextmanager
def _slow_clients(port: int) -> Iterator[None]:
    context = get_context("fork")
    opened, over = context.Event(), context.Event()
    process: Process = context.Process(target=_sit, args=(port, opened, over))  # type: ignore[assignment]
    process.start()
    try:
        if not opened.wait(OPENED_S):
            raise TimeoutError("the slow clients are not connected")
        yield
    finally:
        over.set()
        process.join()


def _sit(port: int, opened: Event, over: Event) -> None:
    """Be all of them, until it is over."""
    kinds = [*KINDS]
    selector = selectors.DefaultSelector()
    for number in range(SLOW_CLIENTS):
        _connect(selector, port, number, kinds[number % len(kinds)])
    opened.set()
    while not over.wait(DRIP_S):
        for key in list(selector.get_map().values()):
            number, kind = key.data
            if _has_ended(key.fileobj, kind):
                selector.unregister(key.fileobj)
                key.fileobj.close()
                _connect(selector, port, number, kind)


def _connect(selector: selectors.BaseSelector, port: int, number: int, kind: str) -> None:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**12)
    client.bind((f"127.{10 + number // 250}.{number % 250}.1", 0))
    client.connect(("127.0.0.1", port))
    client.sendall(KINDS[kind])
    client.settimeout(0)
    selector.register(client, selectors.EVENT_READ, (number, kind))


def _has_ended(client: socket.socket, kind: str) -> bool:
    """Send a byte, read a little if the kind does, and say whether the server has ended it."""
    try:
        if kind in {"head", "body"}:
            client.send(b"x")
        return kind != "reader" and client.recv(4096) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
