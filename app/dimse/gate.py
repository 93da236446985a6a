"""The gate before associations: who connects says what it wants, soon and within limits, or goes.

One thread waits for the first PDU of every new connection; only a whole A-ASSOCIATE-RQ gets further. So a
thousand silent connections cost some memory and no thread, and nobody's turn.

A proxy of ours must say first for whom it speaks (proxy_header.py). Nobody else may: such a header is no PDU.
"""

import logging
import selectors
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from app.dimse import pdu, proxy_header
from app.dimse.errors import ProtocolError
from app.settings import Network
from app.throttle.clients import is_within, parse_address

FIRST_PDU_S = 10.0
WAITING = 256
WAITING_PER_CLIENT = 32
_LOOK_AROUND_S = 0.5
_BACKLOG = 512

logger = logging.getLogger("dermzoo.dimse")

Admit = Callable[[socket.socket, str, bytes], None]


@dataclass(slots=True)
class _Newcomer:
    connection: socket.socket
    address: str
    ends: float
    received: bytearray = field(default_factory=bytearray)
    needed: int = pdu.HEADER_BYTES
    speaks_for_another: bool = False
    shakes_hands: bool = False


class Gate:
    """Takes connections and hands on those that begin well."""

    def __init__(
        self,
        listener: socket.socket,
        admit: Admit,
        tls: ssl.SSLContext | None = None,
        trusted_proxies: tuple[Network, ...] = (),
    ) -> None:
        self._listener, self._admit, self._tls = listener, admit, tls
        self._proxies = trusted_proxies
        self._selector = selectors.DefaultSelector()
        self._newcomers: dict[socket.socket, _Newcomer] = {}
        self._clients: Counter[str] = Counter()

    def run(self, stopping: threading.Event) -> None:
        """Serve until the event is set; then close what has not begun."""
        self._listener.settimeout(0)
        self._listener.listen(_BACKLOG)
        self._selector.register(self._listener, selectors.EVENT_READ)
        while not stopping.is_set():
            for key, _ in self._selector.select(_LOOK_AROUND_S):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.data.connection in self._newcomers:  # not dropped for another a moment ago
                    self._advance(key.data)
            self._end_late_ones()
        self._listener.close()
        for newcomer in list(self._newcomers.values()):
            self._drop(newcomer)
        self._selector.close()

    def _accept(self) -> None:
        with suppress(
            OSError
        ):  # it may have gone again; out of descriptors, the next one may have better luck
            connection, address = self._listener.accept()
            client = parse_address(str(address[0]))
            newcomer = _Newcomer(connection, str(client or address[0]), time.monotonic() + FIRST_PDU_S)
            self._make_room(newcomer.address)
            connection.settimeout(0)
            if client is not None and is_within(client, self._proxies):
                newcomer.speaks_for_another = True
                newcomer.needed = proxy_header.HEADER_BYTES
            else:
                self._begin_tls(newcomer)
            self._remember(newcomer)

    def _begin_tls(self, newcomer: _Newcomer) -> None:
        if self._tls is not None:
            newcomer.connection = self._tls.wrap_socket(
                newcomer.connection, server_side=True, do_handshake_on_connect=False
            )
            newcomer.shakes_hands = True

    def _remember(self, newcomer: _Newcomer) -> None:
        self._newcomers[newcomer.connection] = newcomer
        self._clients[newcomer.address] += 1
        self._selector.register(newcomer.connection, selectors.EVENT_READ, newcomer)

    def _make_room(self, client: str) -> None:
        """Drop who has waited longest: of this client if it has too many, else of all."""
        waiting = list(self._newcomers.values())  # in the order they came
        if self._clients[client] >= WAITING_PER_CLIENT:
            self._drop(next(one for one in waiting if one.address == client), "too many that say nothing")
        elif len(waiting) >= WAITING:
            self._drop(waiting[0], "too many that say nothing")

    def _advance(self, newcomer: _Newcomer) -> None:
        """Take what has arrived; hand the connection on when its first PDU is whole."""
        try:
            while len(newcomer.received) < newcomer.needed:
                if newcomer.shakes_hands:
                    newcomer.connection.do_handshake()  # type: ignore[attr-defined]
                    newcomer.shakes_hands = False
                piece = newcomer.connection.recv(newcomer.needed - len(newcomer.received))
                if not piece:
                    self._drop(newcomer)
                    return
                newcomer.received += piece
                self._look(newcomer)
        except (BlockingIOError, ssl.SSLWantReadError):
            self._wait_for(newcomer, selectors.EVENT_READ)
        except ssl.SSLWantWriteError:
            self._wait_for(newcomer, selectors.EVENT_WRITE)
        except ProtocolError as error:
            with suppress(OSError):
                newcomer.connection.send(pdu.abort_pdu(pdu.SERVICE_PROVIDER, error.reason))
            self._drop(newcomer, str(error))
        except OSError as error:
            self._drop(newcomer, str(error))
        else:
            self._forget(newcomer)
            newcomer.connection.settimeout(None)
            self._admit(newcomer.connection, newcomer.address, bytes(newcomer.received))

    def _look(self, newcomer: _Newcomer) -> None:
        if newcomer.speaks_for_another:
            if newcomer.needed == proxy_header.HEADER_BYTES == len(newcomer.received):
                newcomer.needed += proxy_header.following_bytes(newcomer.received)
            if newcomer.needed == len(newcomer.received):
                self._introduce(newcomer)
        elif newcomer.needed == pdu.HEADER_BYTES == len(newcomer.received):
            kind, length = pdu.check_header(newcomer.received)
            if kind != pdu.ASSOCIATE_RQ:
                raise ProtocolError(f"the first PDU is of type {kind}, not an A-ASSOCIATE-RQ", pdu.UNEXPECTED)
            newcomer.needed += length

    def _introduce(self, newcomer: _Newcomer) -> None:
        """Go on with the client of a proxy, whose own first PDU follows."""
        address = proxy_header.client_address(newcomer.received) or newcomer.address
        self._forget(newcomer)
        newcomer.address, newcomer.speaks_for_another = address, False
        newcomer.received, newcomer.needed = bytearray(), pdu.HEADER_BYTES
        self._make_room(newcomer.address)
        self._begin_tls(newcomer)
        self._remember(newcomer)

    def _wait_for(self, newcomer: _Newcomer, event: int) -> None:
        self._selector.modify(newcomer.connection, event, newcomer)

    def _end_late_ones(self) -> None:
        now = time.monotonic()
        for newcomer in [one for one in self._newcomers.values() if one.ends <= now]:
            self._drop(newcomer, f"no A-ASSOCIATE-RQ within {FIRST_PDU_S:g} s")

    def _drop(self, newcomer: _Newcomer, why: str = "") -> None:
        self._forget(newcomer)
        newcomer.connection.close()
        if why:
            logger.info("connection dropped", extra={"facts": {"client": newcomer.address, "reason": why}})

    def _forget(self, newcomer: _Newcomer) -> None:
        if self._newcomers.pop(newcomer.connection, None) is None:
            return
        self._selector.unregister(newcomer.connection)
        self._clients[newcomer.address] -= 1
        if not self._clients[newcomer.address]:
            del self._clients[newcomer.address]
