"""Protocol data units on a socket (PS3.8 9.3): read whole and within limits, written in one send.

A sender that leaves Nagle's algorithm on waits for an acknowledgement in the middle of every message; so each
receive is acknowledged at once, and each message goes out in one piece.
"""

import hashlib
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Sequence

from app.dimse.errors import Aborted, ProtocolError, Stopping, TimedOut

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ = 1, 2, 3
P_DATA_TF, RELEASE_RQ, RELEASE_RP, ABORT = 4, 5, 6, 7

HEADER_BYTES = 6
ASSOCIATE_BYTES = 64 * 1024  # 128 presentation contexts with ten transfer syntaxes each take 32 KiB
P_DATA_BYTES = 128 * 1024  # what we announce: DCMTK sends no longer ones
RELEASE_BYTES = 4
LONGEST = {
    ASSOCIATE_RQ: ASSOCIATE_BYTES,
    ASSOCIATE_AC: ASSOCIATE_BYTES,
    ASSOCIATE_RJ: RELEASE_BYTES,
    P_DATA_TF: P_DATA_BYTES,
    RELEASE_RQ: RELEASE_BYTES,
    RELEASE_RP: RELEASE_BYTES,
    ABORT: RELEASE_BYTES,
}
RELEASE_REQUEST = struct.pack(">BxIxxxx", RELEASE_RQ, RELEASE_BYTES)
RELEASE_REPLY = struct.pack(">BxIxxxx", RELEASE_RP, RELEASE_BYTES)

# PS3.8 Table 9-26: who aborts, and why.
SERVICE_USER, SERVICE_PROVIDER = 0, 2
NOT_SPECIFIED, UNRECOGNIZED, UNEXPECTED, INVALID_PARAMETER = 0, 1, 2, 6

_RECEIVE_BYTES = 256 * 1024
_SEND_BYTES = 1024 * 1024
_MOST_PIECES = 1000  # of one send: Linux takes 1,024
_LOOK_AROUND_S = 0.5

Data = bytes | bytearray | memoryview


def check_header(header: bytes | bytearray | memoryview) -> tuple[int, int]:
    """Return type and length of a PDU; raises ProtocolError before anything of that length is received."""
    kind, length = struct.unpack_from(">BxI", header)
    longest = LONGEST.get(kind)
    if longest is None:
        raise ProtocolError(f"there is no PDU of type {kind}", UNRECOGNIZED)
    if length > longest:
        raise ProtocolError(
            f"a PDU of type {kind} has {length} bytes, more than {longest}", INVALID_PARAMETER
        )
    return kind, length


def abort_pdu(source: int, reason: int) -> bytes:
    """Return an A-ABORT PDU (PS3.8 9.3.8)."""
    return struct.pack(">BxIxxBB", ABORT, 4, source, reason if source == SERVICE_PROVIDER else 0)


def abort_for(error: Exception) -> bytes:
    """Return the A-ABORT that an error of ours ends an association with."""
    if isinstance(error, ProtocolError):
        return abort_pdu(SERVICE_PROVIDER, error.reason)
    return abort_pdu(SERVICE_USER, NOT_SPECIFIED)


def reject_pdu(*, transient: bool, source: int, reason: int) -> bytes:
    """Return an A-ASSOCIATE-RJ PDU (PS3.8 9.3.4)."""
    return struct.pack(">BxIxBBB", ASSOCIATE_RJ, 4, 2 if transient else 1, source, reason)


class Wire:
    """A connected socket that speaks PDUs; every wait has an end.

    `pay` is told the size of what is about to be sent, and returns how much of it may be, once it may.
    Once `stopping` is set nobody is waited for who has nothing under way; once `over` is, nobody at all.
    """

    def __init__(
        self,
        connection: socket.socket,
        *,
        idle_s: float,
        pdu_s: float,
        pay: Callable[[int], int] = lambda size: size,
        stopping: threading.Event | None = None,
        over: threading.Event | None = None,
    ) -> None:
        self._socket = connection
        self._idle_s, self._pdu_s = idle_s, pdu_s
        self.pay = pay
        self.stopping = stopping or threading.Event()
        self.over = over or self.stopping
        self._is_cut = False  # in the middle of a PDU of ours
        self._buffer = bytearray(_RECEIVE_BYTES)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self.bytes_in = self.bytes_out = 0
        self._is_tcp = connection.family in {socket.AF_INET, socket.AF_INET6}
        self._is_plain = not isinstance(connection, ssl.SSLSocket)
        self._looking = select.poll()
        self._looking.register(connection, select.POLLIN)
        self._be_patient(min(_LOOK_AROUND_S, idle_s, pdu_s))
        if self._is_tcp:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _be_patient(self, seconds: float) -> None:
        """Let a send or receive end after so long; by the kernel, as Python itself would poll before each."""
        self._socket.settimeout(None if self._is_plain else seconds)
        if self._is_plain:
            patience = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, patience)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)

    def read(self, *, is_idle: bool = False) -> tuple[int, memoryview]:
        """Return type and body of the next PDU; the body is good until the next read.

        `is_idle`: nothing is under way. Raises Aborted when the peer closes, TimedOut, ProtocolError.
        """
        if self._end - self._start < HEADER_BYTES:
            self._fill(HEADER_BYTES, self._idle_s, "nothing was received", self.stopping if is_idle else None)
        kind, length = check_header(self._view[self._start : self._end])
        if self._end - self._start < HEADER_BYTES + length:
            self._fill(HEADER_BYTES + length, self._pdu_s, "a PDU was not received whole")
        body = self._view[self._start + HEADER_BYTES : self._start + HEADER_BYTES + length]
        self._start += HEADER_BYTES + length
        return kind, body

    def has_input(self) -> bool:
        """Whether the peer has said something that was not read yet."""
        if self._end > self._start:
            return True
        if getattr(self._socket, "pending", lambda: 0)():  # what TLS has decrypted already
            return True
        return bool(self._looking.poll(0))

    def write(self, *pieces: Data) -> None:
        """Send the pieces as one; raises Aborted, TimedOut or Stopping."""
        if self._is_cut:
            raise Aborted("a PDU was not sent whole: nothing can follow")
        size, paid = sum(map(len, pieces)), 0
        if size <= _SEND_BYTES and self._is_plain and len(pieces) <= _MOST_PIECES:
            paid = self.pay(size)
            if paid == size:
                self._send(pieces, size)
                return
        rest = memoryview(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        while rest:
            paid = paid or self.pay(min(len(rest), _SEND_BYTES))
            piece, rest = rest[:paid], rest[paid:]
            self._send((piece,), paid)
            self._is_cut, paid = bool(rest), 0

    def _send(self, pieces: Sequence[Data], size: int) -> None:
        """Send pieces as they are, as a rule in one call; what is left of them is put together."""
        ends = time.monotonic() + self._pdu_s
        left, is_begun = size, self._is_cut
        while left:
            sent = 0
            try:
                sent = self._socket.sendmsg(pieces) if self._is_plain else self._socket.send(pieces[0])
            except (TimeoutError, BlockingIOError):
                pass  # to look at the clock
            except OSError as error:
                raise Aborted(f"the connection broke: {error.strerror or error}") from None
            left -= sent
            self._is_cut = left > 0 and (is_begun or left < size)
            if left and self.over.is_set():
                raise Stopping("the listener stops")
            if left and time.monotonic() >= ends:
                raise TimedOut(f"the peer took too little within {self._pdu_s:g} s")
            if left and sent:
                whole = pieces[0] if len(pieces) == 1 else b"".join(pieces)
                pieces = (memoryview(whole)[sent:],)
        self.bytes_out += size

    def certificate_sha256(self) -> str | None:
        """Return the fingerprint of the certificate that the peer has shown, if it had to."""
        if not isinstance(self._socket, ssl.SSLSocket):
            return None
        certificate = self._socket.getpeercert(binary_form=True)
        return hashlib.sha256(certificate).hexdigest() if certificate else None

    def close(self) -> None:
        """Close; a second call does nothing."""
        self._socket.close()

    def linger(self, seconds: float) -> None:
        """Wait for the peer to close after our last word, so that it arrives."""
        try:
            self._socket.settimeout(seconds)
            self._socket.shutdown(socket.SHUT_WR)
            ends = time.monotonic() + seconds
            while time.monotonic() < ends and self._socket.recv_into(self._view):
                pass
        except OSError:
            pass

    def _fill(self, needed: int, seconds: float, what: str, stopping: threading.Event | None = None) -> None:
        """Receive until so many bytes are there, the first within `seconds`, all of them too."""
        if self._start + needed > len(self._buffer) or self._start == self._end:
            rest = bytes(self._view[self._start : self._end])
            self._view[: len(rest)] = rest
            self._start, self._end = 0, len(rest)
        ends = time.monotonic() + seconds
        while self._end - self._start < needed:
            if time.monotonic() >= ends:
                raise TimedOut(f"{what} within {seconds:g} s")
            if self.over.is_set() or (stopping and stopping.is_set() and self._start == self._end):
                raise Stopping("the listener stops")
            try:
                count = self._socket.recv_into(self._view[self._end :])
                if self._is_tcp:
                    self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            except (TimeoutError, BlockingIOError):
                continue
            except OSError as error:
                raise Aborted(f"the connection broke: {error.strerror or error}") from None
            if not count:
                raise Aborted("the peer closed the connection")
            self._end += count
            self.bytes_in += count
