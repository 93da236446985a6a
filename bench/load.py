"""Asking and storing: wrk for steady load, plain sockets of our own where each request is a different one."""

import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

from bench.processes import Server

SCRIPT = Path(__file__).parent / "wrk.lua"
OUTSIDE_S = 30  # beyond its duration, before wrk is given up


class Answer(NamedTuple):
    """One whole answer."""

    status: int
    content_type: str
    body: bytes
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one server did in one round."""

    requests: int
    seconds: float
    megabytes: float  # of bodies and headers, 10**6 bytes
    p50_ms: float
    p95_ms: float
    p99_ms: float
    server_ms: float  # processor time of all its processes, per request
    errors: int

    @property
    def per_second(self) -> float:
        """Requests, or instances, a second."""
        return self.requests / self.seconds

    @property
    def megabytes_per_second(self) -> float:
        """Megabytes a second."""
        return self.megabytes / self.seconds


@dataclass(frozen=True, slots=True)
class Reading:
    """A load: these paths in turn, over so many connections, each asking again when it has its answer."""

    paths: Sequence[str]
    accept: str
    connections: int
    seconds: float

    def run(self, server: Server) -> Sample:
        """Put the load on a server."""
        with tempfile.NamedTemporaryFile("w", suffix=".paths") as listing:
            listing.write("\n".join(self.paths) + "\n")
            listing.flush()
            cpu_s = server.cpu_s()
            said = subprocess.run(
                [
                    "wrk",
                    "--threads=1",
                    f"--connections={self.connections}",
                    f"--duration={max(1, round(self.seconds))}s",
                    "--timeout=30s",
                    f"--script={SCRIPT}",
                    f"http://127.0.0.1:{server.port}",
                    "--",
                    listing.name,
                    self.accept,
                ],
                check=True,
                capture_output=True,
                text=True,
                timeout=self.seconds + OUTSIDE_S,
            ).stdout
            server.settle()
            cpu_s = server.cpu_s() - cpu_s
        told = json.loads(said.splitlines()[-1])
        requests = max(1, told["requests"])
        return Sample(
            told["requests"],
            told["us"] / 1e6,
            told["bytes"] / 1e6,
            told["p50_us"] / 1e3,
            told["p95_us"] / 1e3,
            told["p99_us"] / 1e3,
            cpu_s * 1e3 / requests,
            told["status"] + told["broken"],
        )


def ask(server: Server, path: str, accept: str) -> Answer:
    """Ask once."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=120)
    try:
        connection.request("GET", path, headers={"Accept": accept})
        answer = connection.getresponse()
        return Answer(
            answer.status,
            answer.getheader("Content-Type", ""),
            answer.read(),
            answer.getheader("Warning", ""),
        )
    finally:
        connection.close()


@dataclass(frozen=True, slots=True)
class Once:
    """A load where each path is asked for once, over one connection."""

    paths: Sequence[str]
    accept: str

    def run(self, server: Server) -> Sample:
        """Put the load on a server."""

        def get(connection: HTTPConnection, path: str) -> tuple[bool, int]:
            connection.request("GET", path, headers={"Accept": self.accept})
            answer = connection.getresponse()
            return answer.status == 200, len(answer.read())

        return _each(server, [self.paths], get)


@dataclass(frozen=True, slots=True)
class Posting:
    """A load of bodies to be stored, each once; `instances` says how many stand in each."""

    path: str
    content_type: str
    bodies: Sequence[bytes]
    instances: int
    connections: int

    def run(self, server: Server) -> Sample:
        """Put the load on a server; its rate is in instances."""

        def post(connection: HTTPConnection, body: bytes) -> tuple[bool, int]:
            headers = {"Content-Type": self.content_type, "Accept": "application/dicom+json"}
            connection.request("POST", self.path, body, headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status == 200, len(body)

        shares = [self.bodies[first :: self.connections] for first in range(self.connections)]
        sample = _each(server, shares, post)
        return Sample(
            sample.requests * self.instances,
            sample.seconds,
            sample.megabytes,
            sample.p50_ms,
            sample.p95_ms,
            sample.p99_ms,
            sample.server_ms / self.instances,
            sample.errors,
        )


Item = str | bytes


def _each(
    server: Server, shares: Sequence[Sequence[Item]], act: Callable[[HTTPConnection, Item], tuple[bool, int]]
) -> Sample:
    """Act on each item once, a connection for each share."""

    def work(share: Sequence[Item]) -> list[tuple[float, bool, int]]:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=120)
        connection.connect()
        done = []
        for item in share:
            started = time.perf_counter()
            ok, size = act(connection, item)
            done.append((time.perf_counter() - started, ok, size))
        connection.close()
        return done

    cpu_s = server.cpu_s()
    started = time.perf_counter()
    with ThreadPoolExecutor(len(shares)) as pool:
        done = [one for some in pool.map(work, shares) for one in some]
    seconds = time.perf_counter() - started
    cpu_s = server.cpu_s() - cpu_s
    times = sorted(took for took, _, _ in done)
    return Sample(
        len(done),
        seconds,
        sum(size for _, _, size in done) / 1e6,
        statistics.median(times) * 1e3,
        times[int(len(times) * 0.95)] * 1e3,
        times[int(len(times) * 0.99)] * 1e3,
        cpu_s * 1e3 / len(done),
        sum(not ok for _, ok, _ in done),
    )
