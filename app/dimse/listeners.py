"""Listener processes beside the web server: each its own, all on one port; one that dies is started again."""

import logging
import multiprocessing
import threading
from collections.abc import Mapping
from multiprocessing.connection import Connection, wait
from typing import Any

from app.errors import SettingsError

START_S = 60.0

logger = logging.getLogger("dermzoo.dimse")


class Listeners:
    """The listener processes of a server; close() ends them."""

    def __init__(self, chosen: Mapping[str, Any]) -> None:
        """`chosen` is every setting, as plain data."""
        self._chosen = chosen
        self._context = multiprocessing.get_context("spawn")
        self._ours, self._theirs = self._context.Pipe()
        self._closing = threading.Event()
        self._processes = [self._start() for _ in range(chosen["dimse_processes"])]
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)
        self._supervisor.start()

    def wait_until_ready(self, seconds: float = START_S) -> None:
        """Wait until each has listened; raises SettingsError when one does not."""
        for _ in self._processes:
            if not self._ours.poll(seconds):
                self.close()
                raise SettingsError(
                    f"The DICOM listener did not start within {seconds:g} s: the log says why"
                )
            self._ours.recv()

    def close(self) -> None:
        """Stop them in good order."""
        self._closing.set()
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join(self._chosen["shutdown_grace_s"] + 5)
            process.kill()

    def _start(self) -> multiprocessing.context.SpawnProcess:
        process = self._context.Process(
            target=_be_listener, args=(dict(self._chosen), self._theirs), name="dermzoo dimse"
        )
        process.start()
        return process

    def _supervise(self) -> None:
        while not self._closing.is_set():
            # One that was told to stop, as all are by Ctrl-C in a terminal, has ended well and stays so.
            running = [process for process in self._processes if process.exitcode != 0]
            if not running:
                return
            wait([process.sentinel for process in running], timeout=1)
            for number, process in enumerate(self._processes):
                if process.exitcode and not self._closing.is_set():
                    logger.error("a listener died", extra={"facts": {"exit_code": process.exitcode}})
                    self._closing.wait(1)
                    self._processes[number] = self._start()


def _be_listener(chosen: dict[str, Any], parent: Connection) -> None:
    from app.dimse.process import run_listener  # noqa: PLC0415 the process that supervises needs nothing of it

    run_listener(chosen, parent)
