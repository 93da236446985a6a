"""Storage commitment, push model (PS3.4 Annex J): asked for by N-ACTION, reported by N-EVENT-REPORT."""

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import astuple

from app.archive.commitment import Commitments, commitment_of, request_commitment
from app.catalog.commitments import Assessed, Commitment, SopReference
from app.dicom.elements import Walk
from app.dicom.encoding import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from app.dicom.json_model import Attribute
from app.dicom.uids import IMPLICIT_VR_LITTLE_ENDIAN, is_valid_uid
from app.dimse.association import Association, Message
from app.dimse.commands import RESPONSE, Element, Kind, Value, number_of, text_of
from app.dimse.errors import AssociationEnded
from app.dimse.identifiers import write
from app.dimse.negotiation import Context
from app.dimse.peers import Peer
from app.dimse.requestor import Unreachable, request_association
from app.dimse.session import Session
from app.dimse.sop_classes import PLAIN, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
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

REQUEST, COMMITTED, FAILURES_EXIST = 1, 1, 2  # Action Type ID; Event Type IDs (PS3.4 J.3.2, J.3.3)
RETRY_AFTER_S = (5.0, 30.0, 120.0, 600.0)

_TRANSACTION_UID, _REFERENCED_SOP, _FAILED_SOP = "00081195", "00081199", "00081198"
_SOP_CLASS, _SOP_INSTANCE, _FAILURE_REASON = "00081150", "00081155", "00081197"

logger = logging.getLogger("dermzoo.dimse")


def request(session: Session, message: Message) -> None:
    """Take a request, answer it, and report when every file has been read."""
    association = session.association
    data = association.receive_identifier(message)
    status, comment = _refusal(session, message)
    if status == SUCCESS:
        try:
            transaction_uid, references = _read(data, message.context.transfer_syntax)
            request_commitment(
                session.archive, transaction_uid, references, association.agreement.calling_ae_title
            )
        except ArchiveError as error:
            status, comment = status_of(error, COMMITMENT, INVALID_ARGUMENT), str(error)
    association.respond(message, status, comment=comment)
    if status == SUCCESS:
        _report_here_or_later(session, message.context, transaction_uid)


def reported(session: Session, message: Message) -> None:
    """Take the answer to a report on this association."""
    session.reports.pop(number_of(message.command, Element.MESSAGE_ID_BEING_RESPONDED_TO), None)


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
    items = attributes.get(_REFERENCED_SOP, {}).get("Value", ())
    references = [SopReference(_first(item, _SOP_CLASS), _first(item, _SOP_INSTANCE)) for item in items]
    transaction_uid = _first(attributes, _TRANSACTION_UID)
    if not all(map(is_valid_uid, (transaction_uid, *(uid for each in references for uid in astuple(each))))):
        raise InvalidQuery("A UID of the request is missing or not valid")
    return transaction_uid, references


def _first(attributes: dict[str, Attribute], tag: str) -> str:
    return str(next(iter(attributes.get(tag, {}).get("Value", ())), "") or "")


def _report_here_or_later(session: Session, context: Context, transaction_uid: str) -> None:
    """Report on the same association if the caller is still there when all is read; else on one of ours."""
    peer = session.peers.destination(session.association.agreement.calling_ae_title)
    reporter = Reporter(session, peer, transaction_uid)
    if session.association.wire.has_input():  # it goes on, most likely to release
        reporter.start()
        return
    found = _settled(session.commitments, session, transaction_uid)
    if found is None:
        return
    number = len(session.reports) + 1
    session.reports[number] = reporter
    _send(session.association, context, found, number)


def _settled(commitments: Commitments, session: Session, transaction_uid: str) -> Commitment | None:
    settled: Future[None] = commitments.settle(transaction_uid)
    settled.result()
    found = commitment_of(session.archive, transaction_uid)
    return found if found.result is not None else None


def _send(association: Association, context: Context, found: Commitment, number: int) -> None:
    result: Sequence[Assessed] = found.result or ()
    failed = [each for each in result if each.failure_reason is not None]
    command: dict[Element, Value] = {
        Element.COMMAND_FIELD: Kind.N_EVENT_REPORT_RQ,
        Element.MESSAGE_ID: number,
        Element.AFFECTED_SOP_CLASS_UID: STORAGE_COMMITMENT,
        Element.AFFECTED_SOP_INSTANCE_UID: STORAGE_COMMITMENT_INSTANCE,
        Element.EVENT_TYPE_ID: FAILURES_EXIST if failed else COMMITTED,
    }
    attributes: dict[str, Attribute] = {_TRANSACTION_UID: {"vr": "UI", "Value": [found.transaction_uid]}}
    kept = [_item(each) for each in result if each.failure_reason is None]
    if kept:
        attributes[_REFERENCED_SOP] = {"vr": "SQ", "Value": kept}
    if failed:
        attributes[_FAILED_SOP] = {"vr": "SQ", "Value": [_item(each) for each in failed]}
    implicit = context.transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN
    association.send(context.context_id, command, (write(attributes, (), implicit=implicit),))


def _item(assessed: Assessed) -> dict[str, Attribute]:
    item: dict[str, Attribute] = {
        _SOP_CLASS: {"vr": "UI", "Value": [assessed.reference.sop_class_uid]},
        _SOP_INSTANCE: {"vr": "UI", "Value": [assessed.reference.sop_instance_uid]},
    }
    if assessed.failure_reason is not None:
        item[_FAILURE_REASON] = {"vr": "US", "Value": [int(assessed.failure_reason)]}
    return item


class Reporter:
    """Delivers one result on an association of our own, trying again for a while."""

    def __init__(self, session: Session, peer: Peer | None, transaction_uid: str) -> None:
        self._session, self._peer, self._transaction_uid = session, peer, transaction_uid

    def start(self) -> None:
        """Begin, in the background; without an entry in the peers file nobody can be told."""
        if self._peer is None:
            logger.warning(
                "a storage commitment cannot be reported: its requestor is not in the peers file",
                extra={"facts": {"transaction_uid": self._transaction_uid}},
            )
            return
        threading.Thread(target=self._run, args=(self._peer,), daemon=True).start()

    def _run(self, peer: Peer) -> None:
        stopping = self._session.association.stopping
        for wait_s in (0.0, *RETRY_AFTER_S):
            if stopping.wait(wait_s):
                return
            try:
                found = _settled(self._session.commitments, self._session, self._transaction_uid)
                if found is not None:
                    self._deliver(peer, found)
            except (AssociationEnded, ArchiveError) as error:
                logger.warning(
                    "a storage commitment was not reported",
                    extra={"facts": {"transaction_uid": self._transaction_uid, "reason": str(error)}},
                )
            else:
                return

    def _deliver(self, peer: Peer, found: Commitment) -> None:
        proposals = [(STORAGE_COMMITMENT, PLAIN)]
        with request_association(
            peer,
            self._session.title.ae_title,
            proposals,
            as_scp=True,
            stopping=self._session.association.stopping,
        ) as association:
            context = next(iter(association.agreement.contexts.values()), None)
            if context is None:
                raise Unreachable(f"{peer.ae_title} does not take reports of storage commitment")
            _send(association, context, found, 1)
            answer = association.receive()
            if answer.kind != Kind.N_EVENT_REPORT_RQ | RESPONSE:
                raise Unreachable(f"{peer.ae_title} does not answer the report")
            if number_of(answer.command, Element.STATUS, PROCESSING_FAILURE.code):
                raise Unreachable(f"{peer.ae_title} refuses the report")
