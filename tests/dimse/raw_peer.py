"""A peer that says whatever bytes a test wants, and reads what comes back."""

import socket
import struct

from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    MaximumLengthNotification,
)
from pynetdicom.presentation import build_context

VERIFICATION = "1.2.840.10008.1.1"


def association_request(*abstract_syntaxes, called="DERMZOO", extra=(), transfer_syntaxes=None):
    """The bytes of an A-ASSOCIATE-RQ; presentation contexts are numbered 1, 3, 5."""
    request = A_ASSOCIATE()
    request.application_context_name = "1.2.840.10008.3.1.1.1"
    request.calling_ae_title, request.called_ae_title = "RAW", called
    contexts = []
    for number, uid in enumerate(abstract_syntaxes or (VERIFICATION,)):
        context = build_context(uid, transfer_syntaxes or ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"])
        context.context_id = 2 * number + 1
        contexts.append(context)
    request.presentation_context_definition_list = contexts
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received = 16384
    implementation.implementation_class_uid = "1.2.3"
    request.user_information = [length, implementation, *extra]
    return A_ASSOCIATE_RQ(request).encode()


class RawPeer:
    """A connected socket; used in a `with` statement."""

    def __init__(self, port, timeout_s=20):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout_s)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def read(self):
        """Type and body of the next PDU; (None, b"") when the listener has closed."""
        header = self._exactly(6)
        if len(header) < 6:
            return None, b""
        kind, length = struct.unpack(">BxI", header)
        return kind, self._exactly(length)

    def associate(self, *abstract_syntaxes, **options):
        self.send(association_request(*abstract_syntaxes, **options))
        kind, _ = self.read()
        assert kind == 2, f"a PDU of type {kind}"

    def data(self, context_id, content, *, command=True, last=True):
        """Send one P-DATA-TF with one fragment."""
        control = (1 if command else 0) | (2 if last else 0)
        fragment = struct.pack(">IBB", len(content) + 2, context_id, control) + content
        self.send(struct.pack(">BxI", 4, len(fragment)) + fragment)

    def _exactly(self, size):
        received = b""
        while len(received) < size:
            try:
                piece = self.socket.recv(size - len(received))
            except ConnectionResetError:
                return received
            if not piece:
                return received
            received += piece
        return received
