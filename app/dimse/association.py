"""One association: messages in and out (PS3.7 6.3, PS3.8 Annex E), whichever side asked for it."""

import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from app.dimse import pdu
from app.dimse.commands import (
    LONGEST_COMMAND,
    NO_DATA_SET,
    RESPONSE,
    Command,
    Element,
    Kind,
    Value,
    decode_command,
    encode_command,
    number_of,
)
from app.dimse.errors import Aborted, ProtocolError, Released, Stopping
from app.dimse.negotiation import Agreement, Context
from app.dimse.status import CANCEL, PENDING, PENDING_UNSUPPORTED_KEYS, SUCCESS, Status

_IS_COMMAND, _IS_LAST = 1, 2
_PDV_HEADER = struct.Struct(">IBB")
_HEADERS = struct.Struct(">BxIIBB")  # of a P-DATA-TF and of its one fragment
_PDV_OVERHEAD = _PDV_HEADER.size

# What a response calls affected, a request for an action calls requested (PS3.7 10.1.4).
_AFFECTED = {
    Element.AFFECTED_SOP_CLASS_UID: Element.REQUESTED_SOP_CLASS_UID,
    Element.AFFECTED_SOP_INSTANCE_UID: Element.REQUESTED_SOP_INSTANCE_UID,
}

LONGEST_IDENTIFIER = 1024 * 1024
_IN_ORDER = frozenset({SUCCESS, PENDING, PENDING_UNSUPPORTED_KEYS, CANCEL})
_MOST_REASONS, _LONGEST_REASON = 10, 200  # of what the log tells


class Fragment(NamedTuple):
    """A presentation data value (PS3.8 9.3.5.1)."""

    context_id: int
    is_command: bool
    is_last: bool
    data: memoryview


@dataclass(frozen=True, slots=True)
class Message:
    """A command that was received; its data set, if it has one, is still on the wire."""

    context: Context
    command: Command

    @property
    def kind(self) -> int:
        """Command Field (0000,0100)."""
        return number_of(self.command, Element.COMMAND_FIELD)

    @property
    def message_id(self) -> int:
        """Message ID (0000,0110), which the response names."""
        return number_of(self.command, Element.MESSAGE_ID)

    @property
    def has_data_set(self) -> bool:
        """Whether a data set follows."""
        return number_of(self.command, Element.COMMAND_DATA_SET_TYPE, NO_DATA_SET) != NO_DATA_SET


class Association:
    """An established association; used by one thread."""

    def __init__(self, wire: pdu.Wire, agreement: Agreement) -> None:
        self.agreement = agreement
        self.wire = wire
        self.stopping, self.over = wire.stopping, wire.over
        self.refused: Counter[str] = Counter()  # for the log: statuses with the reason
        self._is_idle = False
        self._fragments = self._received()
        self._capacity = (agreement.longest_pdu - _PDV_OVERHEAD) & ~1  # even, as all that is encoded
        self._pending: list[bytes | memoryview] = []
        self._response: Message | None = None  # that came while we looked for a C-CANCEL

    def receive(self, *, is_under_way: bool = False) -> Message:
        """Return the next command; raises an AssociationEnded, Stopping where no operation is under way."""
        if (self.over if is_under_way else self.stopping).is_set():
            raise Stopping("the listener stops")
        self._is_idle = not is_under_way
        received, self._response = self._response or self._receive(), None
        return received

    def _receive(self) -> Message:
        parts = bytearray()
        while True:
            fragment = next(self._fragments)
            self._is_idle = False
            if not fragment.is_command:
                raise ProtocolError("a data set without its command", pdu.UNEXPECTED)
            parts += fragment.data
            if len(parts) > LONGEST_COMMAND:
                raise ProtocolError("a command set is too long", pdu.INVALID_PARAMETER)
            if fragment.is_last:
                context = self.agreement.contexts.get(fragment.context_id)
                if context is None:
                    raise ProtocolError(
                        f"the presentation context {fragment.context_id} was not accepted",
                        pdu.INVALID_PARAMETER,
                    )
                return Message(context, decode_command(parts))

    def receive_data_set(self, message: Message, write: Callable[[memoryview], object]) -> int:
        """Hand the data set of a message over, piece by piece; return its length in bytes."""
        size = 0
        while True:
            fragment = next(self._fragments)
            if fragment.is_command or fragment.context_id != message.context.context_id:
                raise ProtocolError("a command in the middle of a data set", pdu.UNEXPECTED)
            size += len(fragment.data)
            write(fragment.data)
            if fragment.is_last:
                return size

    def receive_identifier(self, message: Message) -> bytes:
        """Return a data set, empty if there is none; raises ProtocolError for one that is long."""
        parts = bytearray()
        if not message.has_data_set:
            return b""

        def keep(data: memoryview) -> None:
            parts.extend(data)
            if len(parts) > LONGEST_IDENTIFIER:
                raise ProtocolError(f"an identifier is longer than {LONGEST_IDENTIFIER} bytes")

        self.receive_data_set(message, keep)
        return bytes(parts)

    def is_cancelled(self, message: Message) -> bool:
        """Whether the peer has cancelled a request meanwhile (PS3.7 9.3.2.3)."""
        if self.over.is_set():
            raise Stopping("the listener stops")
        if not self.wire.has_input():
            return False
        received = self._receive()
        if received.kind & RESPONSE and self._response is None:
            self._response = received  # to the instance that was sent last
            return False
        return self.is_cancel(received, message)

    def is_cancel(self, received: Message, message: Message) -> bool:
        """Whether what was received cancels a request; nothing else may come now."""
        if received.kind != Kind.C_CANCEL_RQ:
            raise ProtocolError("a request while another is answered", pdu.UNEXPECTED)
        return number_of(received.command, Element.MESSAGE_ID_BEING_RESPONDED_TO) == message.message_id

    def respond(
        self,
        message: Message,
        status: Status,
        *,
        comment: str = "",
        more: Command | None = None,
        identifier: bytes | None = None,
        later: bool = False,
    ) -> None:
        """Answer a request; `later` lets a pending answer wait for the next message, to go out with it."""
        command: dict[Element, Value] = {
            Element.COMMAND_FIELD: message.kind | RESPONSE,
            Element.MESSAGE_ID_BEING_RESPONDED_TO: message.message_id,
            Element.STATUS: status.code,
        }
        for element, requested in _AFFECTED.items():
            named = message.command.get(element, message.command.get(requested))
            if named is not None:
                command[element] = named
        if Element.ACTION_TYPE_ID in message.command:
            command[Element.ACTION_TYPE_ID] = message.command[Element.ACTION_TYPE_ID]
        if comment and status not in {PENDING, PENDING_UNSUPPORTED_KEYS}:
            command[Element.ERROR_COMMENT] = comment
        if status not in _IN_ORDER:
            self.note(status, comment)
        command |= more or {}
        pieces = () if identifier is None else (identifier,)
        self.send(message.context.context_id, command, pieces, later=later)

    def note(self, status: Status, why: str = "") -> None:
        """Remember what was refused or has failed, and why: the log tells it, of ten reasons at most."""
        reason = f"{status.code:04X} {why or status.meaning}"[:_LONGEST_REASON]
        is_one_more = reason not in self.refused and len(self.refused) >= _MOST_REASONS
        self.refused["others" if is_one_more else reason] += 1

    def send(
        self, context_id: int, command: Command, data_set: Iterable[bytes] = (), *, later: bool = False
    ) -> None:
        """Send one message; the data set comes in pieces, and goes out as it comes."""
        pieces = iter(data_set)
        first = next(pieces, None)
        encoded = encode_command(command, has_data_set=first is not None)
        self._pending += self._cut(context_id, _IS_COMMAND, encoded, is_end=True)
        while first is not None:
            following = next(pieces, None)
            self._pending += self._cut(context_id, 0, first, is_end=following is None)
            if following is not None:
                self._flush()
            first = following
        if not later:
            self._flush()

    def release(self) -> None:
        """Release the association that we asked for, in good order."""
        self.wire.write(pdu.RELEASE_REQUEST)
        kind, _ = self.wire.read()
        if kind != pdu.RELEASE_RP:
            raise ProtocolError("the release was not answered", pdu.UNEXPECTED)

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        self.wire.write(*pending)

    def _cut(self, context_id: int, control: int, data: bytes, *, is_end: bool) -> list[bytes | memoryview]:
        """Cut into PDUs that the peer takes, each of one fragment."""
        pieces: list[bytes | memoryview] = []
        view = memoryview(data)
        for start in range(0, len(view) or 1, self._capacity):
            part = view[start : start + self._capacity]
            last = is_end and start + self._capacity >= len(view)
            pieces += (
                _HEADERS.pack(
                    pdu.P_DATA_TF,
                    len(part) + _PDV_OVERHEAD,
                    len(part) + 2,
                    context_id,
                    control | (_IS_LAST if last else 0),
                ),
                part,
            )
        return pieces

    def _received(self) -> Iterator[Fragment]:
        """Yield fragments until the association ends."""
        while True:
            kind, body = self.wire.read(is_idle=self._is_idle)
            if kind == pdu.P_DATA_TF:
                yield from _fragments_of(body)
            elif kind == pdu.RELEASE_RQ:
                self.wire.write(pdu.RELEASE_REPLY)
                raise Released
            elif kind == pdu.ABORT:
                raise Aborted("the peer aborted")
            else:
                raise ProtocolError(f"a PDU of type {kind} does not belong here", pdu.UNEXPECTED)


def _fragments_of(body: memoryview) -> Iterator[Fragment]:
    position = 0
    while position < len(body):
        if len(body) - position < _PDV_HEADER.size:
            raise ProtocolError("a P-DATA-TF ends within the header of a fragment", pdu.INVALID_PARAMETER)
        length, context_id, control = _PDV_HEADER.unpack_from(body, position)
        if length < 2 or length > len(body) - position - 4:
            raise ProtocolError("a fragment is longer than its P-DATA-TF", pdu.INVALID_PARAMETER)
        stop = position + 4 + length
        data = body[position + _PDV_HEADER.size : stop]
        yield Fragment(context_id, bool(control & _IS_COMMAND), bool(control & _IS_LAST), data)
        position = stop
