"""Listener processes beside the web server: each its own, all on one port; one that dies is started again."""

import logging
import multiprocessing
import signal
import socket
import ssl
import threading
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Any

from app.archive.archive import Archive
from app.archive.commitment import Commitments
from app.dimse.listener import Listener
from app.dimse.peers import Peers, load_peers
from app.dimse.slots import Slots
from app.errors import SettingsError
from app.observability.associations import AssociationMetrics
from app.observability.logging import configure_logging
from app.settings import Settings
from app.throttle.budget import open_budget

START_S = 60.0

logger = logging.getLogger("dermzoo.dimse")


def listening_socket(settings: Settings) -> socket.socket:
    """Return a bound socket that other processes may share the port of; raises SettingsError."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listening.bind((settings.host, settings.dimse_port))
    except OSError as error:
        listening.close()
        raise SettingsError(
            f"DICOM cannot be listened for on {settings.host}:{settings.dimse_port}: {error.strerror}. "
            "Choose another DERMZOO_DIMSE_PORT, or serve with --no-dimse"
        ) from error
    return listening


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Return the server's side of TLS as PS3.15 B.9 has it (BCP 195); None without a certificate."""
    if settings.dimse_tls_certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM")
    try:
        context.load_cert_chain(settings.dimse_tls_certificate, settings.dimse_tls_key)
        if settings.dimse_tls_ca is not None:
            context.load_verify_locations(settings.dimse_tls_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"DERMZOO_DIMSE_TLS_… cannot be used: {error}") from error
    return context


def check_peers(settings: Settings) -> Peers:
    """Read the peers file that the settings name; raises SettingsError."""
    is_chosen = settings.peers_file != type(settings).model_fields["peers_file"].default
    return load_peers(
        settings.peers_file, is_required=is_chosen, anyone_may_store=settings.allow_anonymous_store
    )


def make_listener(settings: Settings) -> Listener:
    """Open what the settings name; raises SettingsError."""
    archive = Archive.open(settings)
    return Listener(
        archive=archive,
        budget=open_budget(settings) if settings.throttle == "on" else None,
        peers=check_peers(settings),
        slots=Slots(
            settings.data_dir / "associations",
            settings.dimse_associations,
            settings.dimse_associations_per_client,
        ),
        metrics=AssociationMetrics(),
        commitments=Commitments(archive),
    )


def run_listener(chosen: dict[str, Any], parent: Connection) -> None:
    """Be one listener process with these settings, until SIGTERM or until the parent is gone."""
    settings = Settings(**chosen)
    configure_logging(settings.log_level)
    listener = make_listener(settings)

    def stop(_number: int = 0, _frame: FrameType | None = None) -> None:
        listener.stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    threading.Thread(target=_watch, args=(parent, listener.stopping), daemon=True).start()
    listening = listening_socket(settings)
    listening.listen()
    parent.send("listening")
    listener.run(listening, tls_context(settings))
    listener.commitments.close()
    listener.archive.close()


def _watch(parent: Connection, stopping: threading.Event) -> None:
    wait([parent])  # readable only when its other end is closed
    stopping.set()


class Listeners:
    """The listener processes of a server; close() ends them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._context = multiprocessing.get_context("spawn")
        self._ours, self._theirs = self._context.Pipe()
        self._closing = threading.Event()
        self._processes = [self._start() for _ in range(settings.dimse_processes)]
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
            process.join(self._settings.shutdown_grace_s + 5)
            process.kill()

    def _start(self) -> multiprocessing.context.SpawnProcess:
        process = self._context.Process(
            target=run_listener, args=(self._settings.model_dump(), self._theirs), name="dermzoo dimse"
        )
        process.start()
        return process

    def _supervise(self) -> None:
        while not self._closing.is_set():
            wait([process.sentinel for process in self._processes], timeout=1)
            for number, process in enumerate(self._processes):
                if not process.is_alive() and not self._closing.is_set():
                    logger.error("a listener died", extra={"facts": {"exit_code": process.exitcode}})
                    self._closing.wait(1)
                    self._processes[number] = self._start()
