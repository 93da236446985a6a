"""C-STORE sub-operations of C-GET and C-MOVE (PS3.4 C.4.2, C.4.3): what is sent, and what becomes of it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from app.catalog.documents import Attributes
from app.catalog.holdings import Reference
from app.dicom.matching import Level, Query, parse_match
from app.dicom.uids import IMPLICIT_VR_LITTLE_ENDIAN
from app.dimse.association import Association, Message
from app.dimse.commands import RESPONSE, Command, Element, Kind, Value, number_of
from app.dimse.errors import Cancelled, ProtocolError
from app.dimse.identifiers import (
    FAILED_SOP_INSTANCE_UIDS,
    SERIES_INSTANCE_UID,
    SOP_INSTANCE_UID,
    STUDY_INSTANCE_UID,
    UNIQUE_KEYS,
    Identifier,
    write,
)
from app.dimse.pdu import UNEXPECTED
from app.dimse.session import Session
from app.dimse.sources import IsCancelled, Selected, Source
from app.dimse.status import (
    CANCEL,
    OUT_OF_RESOURCES_SUBOPERATIONS,
    PENDING,
    PROCESSING_FAILURE,
    SOP_CLASS_NOT_SUPPORTED,
    SUCCESS,
    WARNING_SUBOPERATIONS,
    Status,
)
from app.errors import ArchiveError, InvalidQuery
from app.storage.interface import StoredFile

SOP_CLASS_UID = "00080016"
AVAILABLE_TRANSFER_SYNTAX_UID = "00083002"
_PIECE_BYTES = 1024 * 1024
_WARNINGS = range(0xB000, 0xC000)
_MESSAGE_IDS = 0xFFFF


@dataclass
class Progress:
    """The sub-operations of one retrieval so far."""

    remaining: int
    completed: int = 0
    warned: int = 0
    failed: list[str] = field(default_factory=list)  # SOP Instance UIDs

    def note(self, selected: Selected, status: Status) -> None:
        """Count one sub-operation."""
        self.remaining -= 1
        if status == SUCCESS:
            self.completed += 1
        elif status.code in _WARNINGS:
            self.warned += 1
        else:
            self.failed.append(str(selected.reference.sop_instance_uid))

    def counts(self, *, with_remaining: bool) -> dict[Element, Value]:
        """Return the elements that say so; the last response has no remaining ones (PS3.7 9.1.3.1)."""
        counts: dict[Element, Value] = {
            Element.COMPLETED_SUBOPERATIONS: self.completed,
            Element.FAILED_SUBOPERATIONS: len(self.failed),
            Element.WARNING_SUBOPERATIONS: self.warned,
        }
        return counts | ({Element.REMAINING_SUBOPERATIONS: self.remaining} if with_remaining else {})

    def status(self) -> Status:
        """Return the last response's status (PS3.4 Tables C.4-2, C.4-3)."""
        if not self.failed:
            return SUCCESS if not self.warned else WARNING_SUBOPERATIONS
        if self.completed or self.warned:
            return WARNING_SUBOPERATIONS
        return OUT_OF_RESOURCES_SUBOPERATIONS


def select(source: Source, identifier: Identifier, is_cancelled: IsCancelled) -> list[Selected]:
    """Return the instances that an identifier addresses; raises InvalidQuery.

    At its level it has one unique key or a list of them, and nothing is matched but unique keys (C.4.2.2.1).
    """
    if not identifier.unique_values(identifier.level):
        raise InvalidQuery(f"{identifier.level} needs its unique key")
    matches = tuple(
        (UNIQUE_KEYS[level], parse_match(UNIQUE_KEYS[level], "\\".join(values)))
        for level in UNIQUE_KEYS
        if (values := identifier.unique_values(level))
    )
    include = frozenset({SOP_CLASS_UID, AVAILABLE_TRANSFER_SYNTAX_UID})
    query = Query(Level.INSTANCE, matches, include)
    return [_selected(found) for found in source.search(query, is_cancelled)]


def _selected(found: Attributes) -> Selected:
    study, series, instance, sop_class, syntax = (
        str(next(iter(found.get(tag, {}).get("Value", ())), None) or "")
        for tag in (
            STUDY_INSTANCE_UID,
            SERIES_INSTANCE_UID,
            SOP_INSTANCE_UID,
            SOP_CLASS_UID,
            AVAILABLE_TRANSFER_SYNTAX_UID,
        )
    )
    return Selected(Reference(study, series, instance), sop_class, syntax)


def send_selected(
    session: Session,
    message: Message,
    selection: Sequence[Selected],
    deliver: Callable[[Selected, int], Status],
    is_cancelled: IsCancelled,
    *,
    together: bool = False,
) -> None:
    """Send each instance and tell the caller after each; answer the request when all are through.

    `together`: instances go out on the same association, so that one and what is told before it are one send.
    """
    progress = Progress(len(selection))
    for number, selected in enumerate(selection):
        if is_cancelled():
            break
        try:
            status = deliver(selected, number % _MESSAGE_IDS + 1)
        except Cancelled:
            break
        progress.note(selected, status)
        session.counts["sent" if status == SUCCESS else "not sent"] += 1
        if progress.remaining:
            session.association.respond(
                message, PENDING, more=progress.counts(with_remaining=True), later=together
            )
    finish(session, message, progress)


def finish(session: Session, message: Message, progress: Progress, comment: str = "") -> None:
    """Send the last response, with the list of what failed if anything did."""
    identifier = None
    if progress.failed:
        failed = {FAILED_SOP_INSTANCE_UIDS: {"vr": "UI", "Value": progress.failed}}
        identifier = write(failed, (), implicit=message.context.transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN)
    is_whole = progress.remaining == 0
    session.association.respond(
        message,
        progress.status() if is_whole else CANCEL,
        comment=comment,
        more=progress.counts(with_remaining=not is_whole),
        identifier=identifier,
    )


def store_remotely(
    source: Source,
    association: Association,
    selected: Selected,
    message_id: int,
    is_cancelled: IsCancelled,
    *,
    more: Command | None = None,
    response_to: Callable[[Message], bool] = lambda _: False,
) -> Status:
    """Send one instance on an association where we are SCU; return the status that the peer answers.

    `response_to` is shown what comes in between, and says whether it was expected.
    """
    contexts = {
        context.transfer_syntax: context
        for context in association.agreement.contexts.values()
        if context.we_ask and context.abstract_syntax == selected.sop_class_uid
    }
    if not contexts:
        return SOP_CLASS_NOT_SUPPORTED
    try:
        file, start, syntax = source.open(selected, contexts, is_cancelled)
    except ArchiveError:
        return PROCESSING_FAILURE
    with file:
        command = {**_request(selected, message_id), **(more or {})}
        association.send(contexts[syntax].context_id, command, _pieces(file, start))
    return _response(association, message_id, response_to)


def _request(selected: Selected, message_id: int) -> dict[Element, Value]:
    return {
        Element.COMMAND_FIELD: Kind.C_STORE_RQ,
        Element.MESSAGE_ID: message_id,
        Element.PRIORITY: 0,
        Element.AFFECTED_SOP_CLASS_UID: selected.sop_class_uid,
        Element.AFFECTED_SOP_INSTANCE_UID: str(selected.reference.sop_instance_uid),
    }


def _pieces(file: StoredFile, start: int) -> Iterator[bytes]:
    for offset in range(start, file.size, _PIECE_BYTES):
        yield file.read(offset, min(_PIECE_BYTES, file.size - offset))


def _response(association: Association, message_id: int, response_to: Callable[[Message], bool]) -> Status:
    while True:
        received = association.receive()
        if received.kind == Kind.C_STORE_RQ | RESPONSE:
            if number_of(received.command, Element.MESSAGE_ID_BEING_RESPONDED_TO) != message_id:
                raise ProtocolError("a response to what was not asked", UNEXPECTED)
            code = number_of(received.command, Element.STATUS, PROCESSING_FAILURE.code)
            return SUCCESS if code == 0 else Status(code, "as the peer says")
        if not response_to(received):
            raise ProtocolError("something else than a response", UNEXPECTED)
