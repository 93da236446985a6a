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

from app.dimse.commands import NO_DATA_SET, RESPONSE, Element, Kind, decode_command, encode_command

VERIFICATION = "1.2.840.10008.1.1"
PLAIN = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
LONGEST_FRAGMENT = 64 * 1024
PENDING = {0xFF00, 0xFF01}


def association_request(*abstract_syntaxes, called="DERMZOO", extra=(), transfer_syntaxes=None):
    """The bytes of an A-ASSOCIATE-RQ; presentation contexts are numbered 1, 3, 5.

    An abstract syntax may come with transfer syntaxes of its own: (UID, UIDs).
    """
    request = A_ASSOCIATE()
    request.application_context_name = "1.2.840.10008.3.1.1.1"
    request.calling_ae_title, request.called_ae_title = "RAW", called
    contexts = []
    for number, proposed in enumerate(abstract_syntaxes or (VERIFICATION,)):
        uid, syntaxes = proposed if isinstance(proposed, tuple) else (proposed, transfer_syntaxes or PLAIN)
        context = build_context(uid, list(syntaxes))
        context.context_id = 2 * number + 1
        contexts.append(context)
    request.presentation_context_definition_list = contexts
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received = 16384
    implementation.implementation_class_uid = "1.2.3"
    request.user_information = [length, implementation, *extra]
    return A_ASSOCIATE_RQ(request).encode()


def store_response(request, status):
    """The command set that answers a C-STORE."""
    return {
        Element.COMMAND_FIELD: Kind.C_STORE_RQ | RESPONSE,
        Element.MESSAGE_ID_BEING_RESPONDED_TO: request[Element.MESSAGE_ID],
        Element.STATUS: status,
        Element.AFFECTED_SOP_CLASS_UID: request[Element.AFFECTED_SOP_CLASS_UID],
        Element.AFFECTED_SOP_INSTANCE_UID: request[Element.AFFECTED_SOP_INSTANCE_UID],
    }


class RawPeer:
    """A connected socket; used in a `with` statement."""

    def __init__(self, port, timeout_s=20, source="127.0.0.1"):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout_s, (source, 0))
        self._fragments = []
        self.stored = []  # data sets that came in C-STORE requests
        self.stored_in = 0  # the presentation context of the last message

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

    def ask(self, context_id, elements, data_set=None):
        """Send a request, its command set and its data set."""
        self.data(context_id, encode_command(elements, has_data_set=data_set is not None))
        for start in range(0, len(data_set or b""), LONGEST_FRAGMENT):
            end = start + LONGEST_FRAGMENT
            self.data(context_id, data_set[start:end], command=False, last=end >= len(data_set))

    def message(self):
        """The next message: its command set and the bytes of its data set, None if it has none."""
        command = decode_command(self._stream(is_command=True))
        has_data_set = command[Element.COMMAND_DATA_SET_TYPE] != NO_DATA_SET
        return command, self._stream(is_command=False) if has_data_set else None

    def answers(self, store=lambda _: 0):
        """The messages up to the last response; `store` says what a C-STORE request is answered with."""
        found = []
        while True:
            command, data_set = self.message()
            if command[Element.COMMAND_FIELD] == Kind.C_STORE_RQ:
                self.stored.append(data_set)
                self.ask(self.stored_in, store_response(command, store(command)))
                continue
            found.append((command, data_set))
            if command[Element.STATUS] not in PENDING:
                return found

    def _stream(self, *, is_command):
        """All the fragments of a command set or data set."""
        whole = b""
        while True:
            if not self._fragments:
                kind, body = self.read()
                assert kind == 4, f"a PDU of type {kind}: {body!r}"
                while body:
                    length, context_id, control = struct.unpack_from(">IBB", body)
                    self._fragments.append((context_id, control, body[6 : length + 4]))
                    body = body[length + 4 :]
            context_id, control, data = self._fragments.pop(0)
            assert bool(control & 1) == is_command
            self.stored_in = context_id
            whole += data
            if control & 2:
                return whole

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
