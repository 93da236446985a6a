"""C-STORE requests of ours, as SCU: the next instance is made ready while the one before is answered."""

from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple

from app.dimse.association import Association, Message
from app.dimse.commands import RESPONSE, Command, Element, Kind, Value, number_of
from app.dimse.errors import AssociationEnded, Cancelled, ProtocolError
from app.dimse.negotiation import Context
from app.dimse.pdu import UNEXPECTED
from app.dimse.sources import IsCancelled, Selected, Source
from app.dimse.status import NOT_LICENSED, PROCESSING_FAILURE, SOP_CLASS_NOT_SUPPORTED, SUCCESS, Status
from app.errors import ArchiveError, NotLicensed
from app.storage.interface import StoredFile

PIECE_BYTES = 1024 * 1024 - 64 * 1024  # with the headers of its PDUs it is one send
_MESSAGE_IDS = 0xFFFF


@dataclass(frozen=True)
class Destination:
    """Where instances are sent to: the caller itself, or somebody on an association of ours.

    `more` is what each request says besides. `response_to` is shown what comes before a response, and says
    whether it was expected.
    """

    association: Association
    is_callers: bool
    more: Command = field(default_factory=dict)
    response_to: Callable[[Message], bool] = lambda _: False
    contexts: dict[str, dict[str, Context]] = field(init=False)  # by SOP class and transfer syntax

    def __post_init__(self) -> None:
        contexts: dict[str, dict[str, Context]] = defaultdict(dict)
        for context in self.association.agreement.contexts.values():
            if context.we_ask:
                contexts[context.abstract_syntax][context.transfer_syntax] = context
        object.__setattr__(self, "contexts", dict(contexts))

    def needs_conversion(self, selected: Selected) -> bool:
        """Whether an instance can be sent, and not as it is stored."""
        contexts = self.contexts.get(selected.sop_class_uid, {})
        stored = selected.transfer_syntax_uid
        return bool(contexts) and bool(stored) and stored not in contexts


class Ready(NamedTuple):
    """An instance to be sent: its first piece read, and its file open where there is more of it."""

    context_id: int
    first: bytes
    file: StoredFile | None
    position: int  # of what follows

    def pieces(self) -> Iterator[bytes]:
        """Yield the data set; the file is closed behind it."""
        yield self.first
        if self.file is not None:
            with self.file as file:
                for offset in range(self.position, file.size, PIECE_BYTES):
                    yield file.read(offset, min(PIECE_BYTES, file.size - offset))

    def close(self) -> None:
        """Give up what will not be sent."""
        if self.file is not None:
            self.file.close()


def make_ready(
    source: Source, destination: Destination, selected: Selected, is_cancelled: IsCancelled
) -> Ready | Status | None:
    """Open an instance; return why it cannot be sent, or None if the caller cancelled meanwhile."""
    contexts = destination.contexts.get(selected.sop_class_uid)
    if not contexts:
        return SOP_CLASS_NOT_SUPPORTED
    try:
        file, start, syntax = source.open(selected, contexts, is_cancelled)
    except Cancelled:
        return None
    except NotLicensed:
        return NOT_LICENSED
    except ArchiveError as error:
        return PROCESSING_FAILURE._replace(meaning=str(error))
    size = min(PIECE_BYTES, file.size - start)
    try:
        first = file.read(start, size)
    except ArchiveError as error:
        file.close()
        return PROCESSING_FAILURE._replace(meaning=str(error))
    if start + size < file.size:
        return Ready(contexts[syntax].context_id, first, file, start + size)
    file.close()
    return Ready(contexts[syntax].context_id, first, None, file.size)


def send_each(
    source: Source, destination: Destination, selection: Sequence[Selected], is_cancelled: IsCancelled
) -> Generator[Status]:
    """Send instances in their order and yield what is answered to each; end when the caller cancels.

    When an association of ours ends, the one under way has failed, and each that follows.
    """
    ahead: Ready | Status | None = None
    is_gone = False
    try:
        for number, selected in enumerate(selection):
            if is_cancelled():
                return
            if is_gone:
                yield PROCESSING_FAILURE
                continue
            outcome, ahead = ahead or make_ready(source, destination, selected, is_cancelled), None
            if isinstance(outcome, Ready):
                message_id = number % _MESSAGE_IDS + 1
                try:
                    _send(destination, selected, outcome, message_id)
                    if number + 1 < len(selection):
                        ahead = make_ready(source, destination, selection[number + 1], is_cancelled)
                    outcome = _response(destination, message_id)
                except AssociationEnded:
                    if destination.is_callers:
                        raise
                    is_gone, outcome = True, PROCESSING_FAILURE
            if outcome is None:
                return
            yield outcome
    finally:
        if isinstance(ahead, Ready):
            ahead.close()


def _send(destination: Destination, selected: Selected, ready: Ready, message_id: int) -> None:
    """Send an instance."""
    command: dict[Element, Value] = {
        Element.COMMAND_FIELD: Kind.C_STORE_RQ,
        Element.MESSAGE_ID: message_id,
        Element.PRIORITY: 0,
        Element.AFFECTED_SOP_CLASS_UID: selected.sop_class_uid,
        Element.AFFECTED_SOP_INSTANCE_UID: str(selected.reference.sop_instance_uid),
        **destination.more,
    }
    with closing(ready):
        destination.association.send(ready.context_id, command, ready.pieces())


def _response(destination: Destination, message_id: int) -> Status:
    """Return the status that the peer answers."""
    while True:
        received = destination.association.receive(is_under_way=True)
        if received.kind == Kind.C_STORE_RQ | RESPONSE:
            if number_of(received.command, Element.MESSAGE_ID_BEING_RESPONDED_TO) != message_id:
                raise ProtocolError("a response to what was not asked", UNEXPECTED)
            code = number_of(received.command, Element.STATUS, PROCESSING_FAILURE.code)
            return SUCCESS if code == 0 else Status(code, "as the peer says")
        if not destination.response_to(received):
            raise ProtocolError("something else than a response", UNEXPECTED)
