"""One caged process as its parent sees it: started when there is work, ended and replaced when it fails."""

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.cage.channel import Channel
from app.cage.messages import Answer, Arguments, Kind, pack_request, unpack_answers
from app.errors import CagedFailure

# The child sees the same modules and nothing else: no environment (it may hold secrets), no user site.
_START = (
    "import json, sys; handle, memory_bytes, cpu_s, path = json.loads(sys.argv[1]); sys.path[:] = path; "
    "from app.cage.inside import serve; serve(handle, memory_bytes, cpu_s)"
)
# One task at a time needs no threads of a numeric library, each with a buffer of its own, and one heap.
_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one task may use."""

    memory_bytes: int
    cpu_s: int
    wall_s: float


class ChildLost(Exception):
    """The process ended, or had to be ended, before it answered; the message says how."""


class Child:
    """A process and the pipe to it; used by one thread at a time, but `kill` may come from any."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.idle_since = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._lock = threading.Lock()

    @property
    def process_id(self) -> int | None:
        """The running process, if there is one."""
        process = self._process
        return process.pid if process else None

    def send(self, function: Callable[..., Any], batch: Sequence[Arguments]) -> None:
        """Start on a batch, whose answers are then received one by one.

        Raises CagedFailure when no process can be started.
        """
        message = pack_request(function, batch)
        for _ in range(2):
            channel = self._channel or self._start()
            try:
                channel.send(message)
            except OSError:  # it was ended while idle, by somebody else: a fresh one takes the task
                self.end()
            else:
                return
        raise CagedFailure("no process would take the file to read it")

    def receive(self, most: int) -> list[Answer]:
        """Wait for the next answers to a batch, of which `most` are due.

        Raises ChildLost if the process is gone instead. After Kind.EXHAUSTED it is gone too.
        """
        if self._channel is None:
            raise ChildLost("its process was ended")
        try:
            answers = unpack_answers(self._channel.receive(self.limits.memory_bytes))
        except BlockingIOError:
            self.end()
            raise ChildLost(f"it took longer than {self.limits.wall_s:g} s") from None
        except (EOFError, OSError):
            raise ChildLost(self._how_it_ended(self.end())) from None
        except Exception:  # noqa: BLE001 - bytes of a process that lost its mind: any error may follow
            answers = []
        if not 1 <= len(answers) <= most:
            self.end()
            raise ChildLost("its process gave an answer that is none")
        if answers[-1].kind == Kind.EXHAUSTED:
            self.end()
        return answers

    def kill(self) -> None:
        """End the process now, from any thread; whoever waits for its answer gets a failure."""
        with self._lock:
            if self._process and self._process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)

    def end(self) -> int | None:
        """End the process, wait until it is gone and return how it ended (None: there was none)."""
        with self._lock:
            process, channel = self._process, self._channel
            self._process = self._channel = None
        if channel:
            channel.close()
        if process is None:
            return None
        with contextlib.suppress(ProcessLookupError):  # one that ended by itself keeps its own status
            os.killpg(process.pid, signal.SIGKILL)
        return process.wait()

    def _start(self) -> Channel:
        ours, theirs = socket.socketpair()
        seconds, fraction = divmod(self.limits.wall_s, 1)
        # The patience of every read and write of ours: cheaper than to poll before each.
        patience = struct.pack("ll", int(seconds), int(fraction * 1e6))
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, patience)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)
        here = str(Path.cwd())
        start = [
            theirs.fileno(),
            self.limits.memory_bytes,
            self.limits.cpu_s,
            [part or here for part in sys.path],
        ]
        with theirs, self._lock:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, our own words
                    [sys.executable, "-I", "-X", "utf8", "-c", _START, json.dumps(start)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env=_ENVIRONMENT,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # Ctrl-C goes to the parent; we are killed as a group
                )
            except OSError as error:
                ours.close()
                raise CagedFailure(f"no process could be started to read it: {error.strerror}") from error
            self._channel = Channel(ours.detach())
        return self._channel

    def _how_it_ended(self, status: int | None) -> str:
        if status == -signal.SIGXCPU:
            return f"it took more than {self.limits.cpu_s} s of processor time"
        if status == -signal.SIGKILL:
            return "its process was killed (signal 9)"
        if status is not None and status < 0:
            return f"its decoder crashed (signal {-status})"
        return f"its process ended by itself (status {status})"
