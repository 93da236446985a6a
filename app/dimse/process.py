"""One listener process: its socket, its TLS, its peers; its own archive."""

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
from app.dimse.titles import make_titles
from app.dimse.upstreams import OpenUpstreams
from app.errors import SettingsError
from app.observability.associations import AssociationMetrics
from app.observability.logging import configure_logging
from app.settings import Settings
from app.throttle.opening import open_budget, watch_policy


def listening_socket(settings: Settings, *, is_shared: bool = True) -> socket.socket:
    """Return a bound socket that other processes may share the port of; raises SettingsError.

    If it is not shared, nobody may listen there yet: another server's processes would take turns with ours.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(is_shared))
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
    budget = open_budget(settings) if settings.throttle == "on" else None
    upstreams = OpenUpstreams(settings, archive, budget)
    return Listener(
        archive=archive,
        budget=budget,
        peers=check_peers(settings),
        slots=Slots(
            settings.data_dir / "associations",
            settings.dimse_associations,
            settings.dimse_associations_per_client,
        ),
        metrics=AssociationMetrics(),
        commitments=Commitments(archive),
        titles=make_titles(settings, archive, upstreams.titles),
        upstreams=upstreams,
    )


def run_listener(chosen: dict[str, Any], parent: Connection) -> None:
    """Be one listener process with these settings, until SIGTERM or until the parent is gone."""
    settings = Settings(**chosen)
    configure_logging(settings.log_level)
    listener = make_listener(settings)
    if listener.budget is not None:
        watch_policy(listener.budget, settings)

    def stop(_number: int = 0, _frame: FrameType | None = None) -> None:
        listener.stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    threading.Thread(target=_watch, args=(parent, listener.stopping), daemon=True).start()
    listening = listening_socket(settings)
    listening.listen()
    parent.send("listening")
    listener.run(listening, tls_context(settings))
    listener.upstreams.close()
    listener.archive.close()
    if listener.budget is not None:
        listener.budget.close()


def _watch(parent: Connection, stopping: threading.Event) -> None:
    wait([parent])  # readable only when its other end is closed
    stopping.set()
