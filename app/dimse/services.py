"""The one table of services: which command in which presentation context is answered by what."""

from collections.abc import Callable

from app.dimse import commitment
from app.dimse.association import Message
from app.dimse.commands import RESPONSE, Kind
from app.dimse.echo import echo
from app.dimse.errors import ProtocolError
from app.dimse.find import find
from app.dimse.pdu import UNEXPECTED
from app.dimse.retrieve import get, move
from app.dimse.session import Session
from app.dimse.sop_classes import QUERY_RETRIEVE, STORAGE_COMMITMENT, VERIFICATION, Service
from app.dimse.status import SOP_CLASS_NOT_SUPPORTED, UNRECOGNIZED_OPERATION
from app.dimse.store import store

SERVED = frozenset(
    {Kind.C_ECHO_RQ, Kind.C_STORE_RQ, Kind.C_FIND_RQ, Kind.C_GET_RQ, Kind.C_MOVE_RQ, Kind.N_ACTION_RQ}
)

Handler = Callable[[Session, Message], None]

_OF_QUERY_RETRIEVE = {
    Service.FIND: (Kind.C_FIND_RQ, find),
    Service.GET: (Kind.C_GET_RQ, get),
    Service.MOVE: (Kind.C_MOVE_RQ, move),
}


def handler_for(abstract_syntax: str) -> tuple[Kind, Handler]:
    """Return the one request that a presentation context is for, and what answers it."""
    if abstract_syntax == VERIFICATION:
        return Kind.C_ECHO_RQ, echo
    if abstract_syntax == STORAGE_COMMITMENT:
        return Kind.N_ACTION_RQ, commitment.request
    if abstract_syntax in QUERY_RETRIEVE:
        return _OF_QUERY_RETRIEVE[QUERY_RETRIEVE[abstract_syntax][1]]
    return Kind.C_STORE_RQ, store


def serve_message(session: Session, message: Message) -> None:
    """Answer one request."""
    if message.kind == Kind.C_CANCEL_RQ:
        return  # of something that is answered already
    if message.kind == Kind.N_EVENT_REPORT_RQ | RESPONSE:
        commitment.reported(session, message)
        return
    if message.kind & RESPONSE:
        raise ProtocolError("a response to nothing that was asked", UNEXPECTED)
    expected, handle = handler_for(message.context.abstract_syntax)
    is_known = message.kind in SERVED
    session.counts[Kind(message.kind).name.removesuffix("_RQ") if is_known else "unknown"] += 1
    if message.kind == expected and message.context.peer_asks:
        handle(session, message)
        return
    if message.has_data_set:
        session.association.receive_data_set(message, lambda _: None)
    status = SOP_CLASS_NOT_SUPPORTED if is_known else UNRECOGNIZED_OPERATION
    session.association.respond(message, status, comment="Not in this presentation context")
