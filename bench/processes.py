"""Servers as child processes: started, awaited, measured from /proc, ended by their ids."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from threading import Event, Thread
from typing import Self

START_S = 120
STOP_S = 40
SETTLE_S = 30
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@dataclass
class Server:
    """One server under measurement.

    `ready` is a path that it answers, not with 5xx, once it serves; of one without HTTP it is empty.
    """

    name: str
    command: Sequence[str]
    port: int
    ready: str
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    dicom_port: int = 0
    ae_title: str = ""

    def start(self) -> Self:
        """Start it and wait until it answers."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(self.environment) or None,
                start_new_session=True,  # Ctrl-C is ours to handle
            )
        wait_for(self._answers, f"{self.name} to answer (see {self.log})", START_S)
        return self

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} ended with {self.process.returncode}: see {self.log}")
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            if not self.ready:
                connection.connect()
                return True
            connection.request("GET", self.ready)
            return connection.getresponse().status < 500
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def stop(self) -> None:
        """End it, politely and then not; its children go with it."""
        if self.process is None:
            return
        pids = self.pids()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pid in pids[1:]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process = None

    def pids(self) -> list[int]:
        """Return its process and all below it."""
        assert self.process is not None
        found = [self.process.pid]
        for pid in found:
            found += _children(pid)
        return found

    def cpu_s(self) -> float:
        """Return the processor time of all its processes, ended and waited-for ones too."""
        return sum(_cpu_ticks(pid) for pid in self.pids()) / TICKS_PER_S

    def settle(self) -> None:
        """Wait until it rests: requests that wrk gave up at its end are not to slow its neighbour's turn."""
        for _ in range(SETTLE_S * 5):
            before = self.cpu_s()
            time.sleep(0.2)
            if self.cpu_s() - before < 0.02:
                return

    def memory_bytes(self, what: str = "Rss") -> int:
        """Return Rss or Pss of all its processes. Rss counts shared pages once for each."""
        return sum(_smaps(pid, what) for pid in self.pids())


def _children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []


def _cpu_ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(int(value) for value in fields[11:15])  # utime, stime, and those of waited-for children


def _smaps(pid: int, what: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{what}:"))


class Growth:
    """How far the anonymous memory of a server's processes grows within a `with`; then ask for `bytes`.

    Looked at every hundredth of a second. Anonymous memory is what a process holds for itself: pages of files
    that it reads through the page cache are not in it. A process that was not there before counts whole.
    """

    def __init__(self, server: Server) -> None:
        self.bytes = 0
        self._server = server
        self._before: dict[int, int] = {}
        self._ended = Event()
        self._watching = Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._before = {pid: _status(pid, "RssAnon") for pid in self._server.pids()}
        self._watching.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._watching.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.01):
            grown = sum(_status(pid, "RssAnon") - self._before.get(pid, 0) for pid in self._server.pids())
            self.bytes = max(self.bytes, grown)


def _status(pid: int, what: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{what}:")), 0)


def wait_for(condition: Callable[[], bool], what: str, seconds: float) -> None:
    """Wait until the condition holds; TimeoutError after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.05)
