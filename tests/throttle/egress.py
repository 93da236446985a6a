"""Clients that take all they can get, over HTTP and on the DICOM network, and count it at their sockets."""

import socket
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress

from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation

from app.dimse.commands import Element, Kind
from tests.dimse.raw_peer import RawPeer
from tests.dimse.stage import GET, identifier

PIECE_BYTES = 64 * 1024
PATIENCE_S = 30
VL_PHOTOGRAPHIC = "1.2.840.10008.5.1.4.1.1.77.1.4"


def address(number):
    """An address of this host, each in a network of its own."""
    return f"127.{1 + number // 250}.{number % 250}.1"


class Egress:
    """Greedy clients, each a thread; all of them end at the same moment."""

    def __init__(self, seconds, pause_s=0.0):
        """After an answer that is none, each waits so long before it asks again."""
        self.bytes = Counter()  # by client
        self._pause_s, self._ended = pause_s, threading.Event()
        self._sockets = set()
        self.statuses = Counter()
        self._ends = time.monotonic() + seconds
        self._threads = []
        self.began = self._last = time.monotonic()
        self.elapsed_s = 0.0

    @property
    def total(self):
        return sum(self.bytes.values())

    def _goes_on(self):
        return time.monotonic() < self._ends

    def add_http(self, number, port, path, connections=1):
        for _ in range(connections):
            self._add(self._ask_http, number, port, path)

    def add_dimse(self, number, port, study_uid):
        self._add(self._ask_dimse, number, port, study_uid)

    def _add(self, target, number, *arguments):
        self._threads.append(threading.Thread(target=target, args=(address(number), *arguments)))

    def run(self):
        for thread in self._threads:
            thread.start()
        self._ended.wait(self._ends - time.monotonic())
        self._ended.set()
        for opened in tuple(self._sockets):
            with suppress(OSError):  # who waits for an answer waits no more
                opened.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self.elapsed_s = self._last - self.began  # to the last byte that was counted
        return self

    @contextmanager
    def connected(self, source, port):
        """A connection from an address, that ends with the clients at the latest."""
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S, (source, 0)) as peer:
            self._sockets.add(peer)
            try:
                yield peer
            finally:
                self._sockets.discard(peer)

    def count(self, source, size):
        self.bytes[source] += size
        self._last = time.monotonic()

    def _ask_http(self, source, port, path):
        request = f"GET {path} HTTP/1.1\r\nHost: 127.1.1.1\r\nConnection: close\r\n\r\n".encode()
        while self._goes_on():
            head = b""
            with suppress(OSError), self.connected(source, port) as peer:
                peer.sendall(request)
                head = self._count(source, peer)
                self.statuses[head[9:12]] += 1
                while self._goes_on() and self._count(source, peer):
                    pass
            if head[9:12] != b"200":
                self._ended.wait(self._pause_s)

    def _count(self, source, peer):
        piece = peer.recv(PIECE_BYTES)
        self.count(source, len(piece))
        return piece

    def _ask_dimse(self, source, port, study_uid):
        while self._goes_on():
            with (
                suppress(OSError, AssertionError),
                self.connected(source, port) as connection,
                CountingPeer(self, source, connection) as peer,
            ):
                peer.associate(GET, VL_PHOTOGRAPHIC, extra=[peer.role()])
                command = {
                    Element.COMMAND_FIELD: Kind.C_GET_RQ,
                    Element.MESSAGE_ID: 7,
                    Element.PRIORITY: 0,
                    Element.AFFECTED_SOP_CLASS_UID: GET,
                }
                while self._goes_on():
                    peer.ask(1, command, identifier(StudyInstanceUID=study_uid))
                    peer.answers()
            self._ended.wait(self._pause_s)


class CountingPeer(RawPeer):
    """A raw peer of the DICOM network from an address of its own, that is counted too."""

    def __init__(self, egress, source, connection):
        self.socket = connection
        self._fragments, self.stored, self.stored_in = [], [], 0
        self._egress, self._source = egress, source

    def role(self):
        role = SCP_SCU_RoleSelectionNegotiation()
        role.sop_class_uid, role.scu_role, role.scp_role = VL_PHOTOGRAPHIC, False, True
        return role

    def _exactly(self, size):
        received = super()._exactly(size)
        self._egress.count(self._source, len(received))
        if not self._egress._goes_on():
            raise ConnectionAbortedError
        return received
