"""Storage commitment, push model (PS3.4 Annex J): asked for by N-ACTION, reported by N-EVENT-REPORT."""

from dataclasses import astuple

from app.archive.commitment import request_commitment
from app.catalog.commitments import SopReference
from app.catalog.reports import Report
from app.dicom.elements import Walk
from app.dicom.encoding import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from app.dicom.json_model import Attribute
from app.dicom.uids import IMPLICIT_VR_LITTLE_ENDIAN, is_valid_uid
from app.dimse.association import Message
from app.dimse.commands import Element, number_of, text_of
from app.dimse.errors import Stopping
from app.dimse.event_report import REFERENCED_SOP, SOP_CLASS, SOP_INSTANCE, TRANSACTION_UID, send_report
from app.dimse.negotiation import Context
from app.dimse.reports import hand_over, note_delivered, settled
from app.dimse.session import Session
from app.dimse.sop_classes import STORAGE_COMMITMENT_INSTANCE
from app.dimse.status import (
    COMMITMENT,
    INVALID_ARGUMENT,
    MISTYPED_ARGUMENT,
    NO_SUCH_ACTION,
    NO_SUCH_INSTANCE,
    NOT_AUTHORIZED,
    PROCESSING_FAILURE,
    RESOURCE_LIMITATION,
    SUCCESS,
    Status,
    status_of,
)
from app.dimse.toll import comment_on
from app.errors import ArchiveError, InvalidQuery

REQUEST = 1  # Action Type ID (PS3.4 J.3.2)


def request(session: Session, message: Message) -> None:
    """Take a request, answer it, and report when every file has been read."""
    association, courier = session.association, session.courier
    requestor = association.agreement.calling_ae_title
    due = courier.claimed_until() if courier.peers.destination(requestor) else None
    data = association.receive_identifier(message)
    status, comment = _refusal(session, message)
    if status == SUCCESS:
        try:
            transaction_uid, references = _read(data, message.context.transfer_syntax)
            request_commitment(session.archive, transaction_uid, references, requestor, report_due=due)
        except ArchiveError as error:
            status, comment = status_of(error, COMMITMENT, INVALID_ARGUMENT), str(error)
    association.respond(message, status, comment=comment)
    if status == SUCCESS:
        _report_here_or_later(session, message.context, Report(transaction_uid, requestor, attempts=0))


def reported(session: Session, message: Message) -> None:
    """Take the answer to a report on this association."""
    number = number_of(message.command, Element.MESSAGE_ID_BEING_RESPONDED_TO)
    claimed = session.reports.pop(number, None)
    if claimed is None:
        return
    if number_of(message.command, Element.STATUS, PROCESSING_FAILURE.code) == SUCCESS.code:
        note_delivered(session.courier, claimed)
    else:
        hand_over(session.courier, claimed)


def _refusal(session: Session, message: Message) -> tuple[Status, str]:
    if not message.has_data_set:
        return MISTYPED_ARGUMENT, "There is no data set that names instances"
    if "commit" not in session.may:
        return NOT_AUTHORIZED, "You may not do this here: ask for an entry in the peers file"
    if text_of(message.command, Element.REQUESTED_SOP_INSTANCE_UID) != STORAGE_COMMITMENT_INSTANCE:
        return NO_SUCH_INSTANCE, "Not the well-known SOP Instance"
    if number_of(message.command, Element.ACTION_TYPE_ID) != REQUEST:
        return NO_SUCH_ACTION, "Action Type ID is not 1"
    if refusal := session.toll.refusal():
        return RESOURCE_LIMITATION, comment_on(refusal)
    return SUCCESS, ""


def _read(data: bytes, transfer_syntax_uid: str) -> tuple[str, list[SopReference]]:
    encoding = IMPLICIT_LITTLE if transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN else EXPLICIT_LITTLE
    attributes = Walk(data, addressable=False).root(encoding, 0, len(data))
    items = attributes.get(REFERENCED_SOP, {}).get("Value", ())
    references = [SopReference(_first(item, SOP_CLASS), _first(item, SOP_INSTANCE)) for item in items]
    transaction_uid = _first(attributes, TRANSACTION_UID)
    if not all(map(is_valid_uid, (transaction_uid, *(uid for each in references for uid in astuple(each))))):
        raise InvalidQuery("A UID of the request is missing or not valid")
    return transaction_uid, references


def _first(attributes: dict[str, Attribute], tag: str) -> str:
    return str(next(iter(attributes.get(tag, {}).get("Value", ())), "") or "")


def _report_here_or_later(session: Session, context: Context, claimed: Report) -> None:
    """Report on the same association if the caller is still there when all is read; else on one of ours."""
    if session.association.wire.has_input():  # it goes on, most likely to release
        hand_over(session.courier, claimed)
        return
    try:
        found = settled(session.courier, claimed)
    except (Stopping, ArchiveError):
        hand_over(session.courier, claimed)
        return
    number = max(session.reports, default=0) + 1
    session.reports[number] = claimed
    send_report(session.association, context, found, number)
