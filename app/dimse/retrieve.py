"""C-GET and C-MOVE (PS3.4 C.4.2, C.4.3): one retrieval, to the caller itself or to a peer that is known."""

from app.dimse.association import Message
from app.dimse.cancelling import Cancellation
from app.dimse.commands import Command, Element, text_of
from app.dimse.errors import Cancelled
from app.dimse.find import require_keys
from app.dimse.identifiers import Identifier, read_identifier
from app.dimse.negotiation import Extended
from app.dimse.peers import Peer
from app.dimse.requestor import Unreachable, request_association, storage_proposals
from app.dimse.sending import Destination
from app.dimse.session import Session
from app.dimse.sop_classes import QUERY_RETRIEVE
from app.dimse.sources import Selected
from app.dimse.status import (
    CANCEL,
    DESTINATION_UNKNOWN,
    NOT_AUTHORIZED,
    OUT_OF_RESOURCES,
    RETRIEVE,
    UNABLE_TO_PROCESS,
    Status,
    status_of,
)
from app.dimse.suboperations import Progress, finish, select, send_selected
from app.dimse.toll import comment_on
from app.errors import ArchiveError


def get(session: Session, message: Message) -> None:
    """Send what is asked for back on the same association."""
    is_cancelled = Cancellation(session.association, message)
    selection = _selection(session, message, "get", is_cancelled)
    if selection is None:
        return
    destination = Destination(session.association, is_callers=True, response_to=is_cancelled.take)
    send_selected(session, message, selection, destination, is_cancelled)


def move(session: Session, message: Message) -> None:
    """Send what is asked for to a peer on an association of our own."""
    is_cancelled = Cancellation(session.association, message)
    selection = _selection(session, message, "move", is_cancelled)
    if selection is None:
        return
    title = text_of(message.command, Element.MOVE_DESTINATION)
    peer = session.peers.destination(title)
    if peer is None:
        session.association.respond(
            message, DESTINATION_UNKNOWN, comment="The destination is not in the peers file"
        )
        return
    if not selection:
        finish(session, message, Progress(0))
        return
    try:
        _move_to(session, message, peer, selection, is_cancelled)
    except Unreachable as error:
        failed = [str(one.reference.sop_instance_uid) for one in selection]
        finish(session, message, Progress(0, failed=failed), str(error))


def _move_to(
    session: Session,
    message: Message,
    peer: Peer,
    selection: list[Selected],
    is_cancelled: Cancellation,
) -> None:
    proposals = storage_proposals((one.sop_class_uid, one.transfer_syntax_uid) for one in selection)
    originator: Command = {
        Element.MOVE_ORIGINATOR_AE_TITLE: session.association.agreement.calling_ae_title,
        Element.MOVE_ORIGINATOR_MESSAGE_ID: message.message_id,
    }
    with request_association(
        peer,
        session.title.ae_title,
        proposals,
        pay=session.toll.pay,
        stopping=session.association.over,
    ) as remote:
        destination = Destination(remote, is_callers=False, more=originator)
        send_selected(session, message, selection, destination, is_cancelled)


def _selection(
    session: Session, message: Message, service: str, is_cancelled: Cancellation
) -> list[Selected] | None:
    """Return what a request addresses; None if it was refused, and answered."""
    association = session.association
    data = association.receive_identifier(message)
    refused = _refusal(session, service)
    if refused is None:
        try:
            return select(session.title.source, _identifier(session, message, data), is_cancelled)
        except Cancelled:
            refused = CANCEL, ""
        except ArchiveError as error:
            refused = status_of(error, RETRIEVE, UNABLE_TO_PROCESS), str(error)
    association.respond(message, refused[0], comment=refused[1])
    return None


def _refusal(session: Session, service: str) -> tuple[Status, str] | None:
    if service not in session.may:
        return NOT_AUTHORIZED, "You may not do this here: ask for an entry in the peers file"
    if refusal := session.toll.refusal():
        return OUT_OF_RESOURCES, comment_on(refusal)
    return None


def _identifier(session: Session, message: Message, data: bytes) -> Identifier:
    identifier = read_identifier(data, message.context.transfer_syntax)
    root, _ = QUERY_RETRIEVE[message.context.abstract_syntax]
    extended = session.association.agreement.extended.get(message.context.abstract_syntax, Extended())
    require_keys(identifier, root, relational=extended.relational)
    return identifier
