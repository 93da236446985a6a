"""The N-EVENT-REPORT of storage commitment (PS3.4 J.3.3): what it says, and one on an association of ours."""

import threading
from collections.abc import Sequence

from app.catalog.commitments import Assessed, Commitment
from app.dicom.json_model import Attribute
from app.dicom.uids import IMPLICIT_VR_LITTLE_ENDIAN
from app.dimse.association import Association
from app.dimse.commands import RESPONSE, Element, Kind, Value, number_of
from app.dimse.identifiers import write
from app.dimse.negotiation import Context
from app.dimse.peers import Peer
from app.dimse.requestor import Unreachable, request_association
from app.dimse.sop_classes import PLAIN, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
from app.dimse.status import PROCESSING_FAILURE

COMMITTED, FAILURES_EXIST = 1, 2  # Event Type ID (PS3.4 J.3.3)

TRANSACTION_UID, REFERENCED_SOP, FAILED_SOP = "00081195", "00081199", "00081198"
SOP_CLASS, SOP_INSTANCE, FAILURE_REASON = "00081150", "00081155", "00081197"


def send_report(association: Association, context: Context, found: Commitment, number: int) -> None:
    """Send an N-EVENT-REPORT with this Message ID (PS3.4 J.3.3)."""
    result: Sequence[Assessed] = found.result or ()
    failed = [each for each in result if each.failure_reason is not None]
    command: dict[Element, Value] = {
        Element.COMMAND_FIELD: Kind.N_EVENT_REPORT_RQ,
        Element.MESSAGE_ID: number,
        Element.AFFECTED_SOP_CLASS_UID: STORAGE_COMMITMENT,
        Element.AFFECTED_SOP_INSTANCE_UID: STORAGE_COMMITMENT_INSTANCE,
        Element.EVENT_TYPE_ID: FAILURES_EXIST if failed else COMMITTED,
    }
    attributes: dict[str, Attribute] = {TRANSACTION_UID: {"vr": "UI", "Value": [found.transaction_uid]}}
    kept = [_item(each) for each in result if each.failure_reason is None]
    if kept:
        attributes[REFERENCED_SOP] = {"vr": "SQ", "Value": kept}
    if failed:
        attributes[FAILED_SOP] = {"vr": "SQ", "Value": [_item(each) for each in failed]}
    implicit = context.transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN
    association.send(context.context_id, command, (write(attributes, (), implicit=implicit),))


def _item(assessed: Assessed) -> dict[str, Attribute]:
    item: dict[str, Attribute] = {
        SOP_CLASS: {"vr": "UI", "Value": [assessed.reference.sop_class_uid]},
        SOP_INSTANCE: {"vr": "UI", "Value": [assessed.reference.sop_instance_uid]},
    }
    if assessed.failure_reason is not None:
        item[FAILURE_REASON] = {"vr": "US", "Value": [int(assessed.failure_reason)]}
    return item


def report_to(peer: Peer, ae_title: str, found: Commitment, stopping: threading.Event) -> int:
    """Report to a peer on an association of our own; return the Status of its answer."""
    with request_association(
        peer, ae_title, [(STORAGE_COMMITMENT, PLAIN)], as_scp=True, stopping=stopping
    ) as association:
        context = next(iter(association.agreement.contexts.values()), None)
        if context is None:
            raise Unreachable(f"{peer.ae_title} does not take reports of storage commitment")
        send_report(association, context, found, 1)
        answer = association.receive()
        if answer.kind != Kind.N_EVENT_REPORT_RQ | RESPONSE:
            raise Unreachable(f"{peer.ae_title} does not answer the report")
        return number_of(answer.command, Element.STATUS, PROCESSING_FAILURE.code)
