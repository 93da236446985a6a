"""Asking others for an association (PS3.8 7.1.2): to send instances, to see whether they are there."""

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import PresentationContext

from app.dicom.media_types import BY_TRANSFER_SYNTAX
from app.dicom.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from app.dimse import pdu
from app.dimse.association import Association
from app.dimse.commands import RESPONSE, Element, Kind, number_of
from app.dimse.errors import AssociationEnded, ProtocolError, Stopping, TimedOut
from app.dimse.negotiation import ACCEPTED, APPLICATION_CONTEXT, Agreement, Context, user_information
from app.dimse.peers import Peer
from app.dimse.sop_classes import VERIFICATION

CONNECT_S = 10.0
IDLE_S = 60.0
PDU_S = 30.0
_MOST_CONTEXTS = 128  # their numbers are odd and end at 255 (PS3.8 9.3.2.2)

Proposal = tuple[str, tuple[str, ...]]  # abstract syntax, transfer syntaxes


class Unreachable(AssociationEnded):
    """There is no association with a peer; str() says why."""


def storage_proposals(instances: Iterable[tuple[str, str]]) -> list[Proposal]:
    """Return what to propose for instances of (SOP class, transfer syntax): as stored, and native.

    Where it is not known how they are stored, all that DICOMweb can send is proposed.
    """
    stored = dict.fromkeys(instances)
    compressed = [
        (sop_class, (syntax,))
        for sop_class, known in stored
        for syntax in ((known,) if known else BY_TRANSFER_SYNTAX)
        if syntax not in {EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN}
    ]
    native: list[Proposal] = [
        (sop_class, (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN))
        for sop_class in dict.fromkeys(sop_class for sop_class, _ in stored)
    ]
    return [*native, *compressed][:_MOST_CONTEXTS]


@contextmanager
def request_association(
    peer: Peer,
    ae_title: str,
    proposals: Iterable[Proposal],
    *,
    as_scp: bool = False,
    pay: Callable[[int], int] = lambda size: size,
    stopping: threading.Event | None = None,
) -> Iterator[Association]:
    """Open an association, release it at the end; raises Unreachable when there is none.

    `as_scp`: we keep the role of the SCP in what we propose (PS3.7 D.3.3.4), to report on it.
    """
    wire = _connect(peer, pay, stopping)
    try:
        proposed = list(proposals)
        roles = [_as_scp(abstract_syntax) for abstract_syntax, _ in proposed] if as_scp else []
        request = _request(peer, ae_title, proposed, roles)
        association = _associate(wire, peer, request, proposed)
        yield association
        with suppress(AssociationEnded):
            association.release()
    except (ProtocolError, Stopping, TimedOut) as error:
        with suppress(AssociationEnded):
            wire.write(pdu.abort_for(error))
        raise
    finally:
        wire.close()


def echo(peer: Peer, ae_title: str) -> None:
    """Send a C-ECHO to a peer; raises an AssociationEnded when it does not answer well."""
    with request_association(peer, ae_title, [(VERIFICATION, (IMPLICIT_VR_LITTLE_ENDIAN,))]) as association:
        context = next(iter(association.agreement.contexts.values()), None)
        if context is None:
            raise Unreachable(f"{peer.ae_title} does not accept Verification")
        association.send(
            context.context_id,
            {
                Element.COMMAND_FIELD: Kind.C_ECHO_RQ,
                Element.MESSAGE_ID: 1,
                Element.AFFECTED_SOP_CLASS_UID: VERIFICATION,
            },
        )
        answer = association.receive()
        if answer.kind != Kind.C_ECHO_RQ | RESPONSE or number_of(answer.command, Element.STATUS, 1):
            raise Unreachable(f"{peer.ae_title} answers C-ECHO with a failure")


def _connect(peer: Peer, pay: Callable[[int], int], stopping: threading.Event | None) -> pdu.Wire:
    try:
        connection = socket.create_connection((peer.host, peer.port), CONNECT_S)
        if context := peer.tls_context():
            connection = context.wrap_socket(connection, server_hostname=peer.host)
    except OSError as error:
        raise Unreachable(
            f"{peer.ae_title} at {peer.host}:{peer.port} cannot be reached: {error.strerror or error}"
        ) from error
    return pdu.Wire(connection, idle_s=IDLE_S, pdu_s=PDU_S, pay=pay, stopping=stopping)


def _as_scp(abstract_syntax: str) -> SCP_SCU_RoleSelectionNegotiation:
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid = abstract_syntax
    role.scu_role, role.scp_role = False, True
    return role


def _request(peer: Peer, ae_title: str, proposals: list[Proposal], roles: list[Any]) -> A_ASSOCIATE:
    request = A_ASSOCIATE()
    request.application_context_name = APPLICATION_CONTEXT
    request.calling_ae_title = ae_title
    request.called_ae_title = peer.ae_title
    contexts = []
    for number, (abstract_syntax, transfer_syntaxes) in enumerate(proposals):
        context = PresentationContext()
        context.context_id = 2 * number + 1
        context.abstract_syntax = abstract_syntax
        context.transfer_syntax = list(transfer_syntaxes)
        contexts.append(context)
    request.presentation_context_definition_list = contexts
    request.user_information = [*user_information(), *roles]
    return request


def _associate(wire: pdu.Wire, peer: Peer, request: A_ASSOCIATE, proposals: list[Proposal]) -> Association:
    wire.write(bytes(A_ASSOCIATE_RQ(request).encode()))
    kind, body = wire.read()
    whole = bytes([kind, 0]) + len(body).to_bytes(4, "big") + bytes(body)
    if kind == pdu.ASSOCIATE_RJ:
        raise Unreachable(f"{peer.ae_title} refuses the association: {_reason(whole)}")
    if kind != pdu.ASSOCIATE_AC:
        raise Unreachable(f"{peer.ae_title} aborts the association")
    return Association(wire, _agreement(whole, peer, request.calling_ae_title, proposals))


def _reason(whole: bytes) -> str:
    rejection = A_ASSOCIATE_RJ()
    rejection.decode(whole)
    try:
        return str(rejection.reason_str)
    except ValueError:
        return "it does not say why"


def _agreement(whole: bytes, peer: Peer, ae_title: str, proposals: list[Proposal]) -> Agreement:
    acceptance = A_ASSOCIATE_AC()
    try:
        acceptance.decode(whole)
        primitive = acceptance.to_primitive()
    except Exception as error:  # the library raises what it meets
        raise ProtocolError(f"the A-ASSOCIATE-AC cannot be read: {error}", pdu.INVALID_PARAMETER) from error
    asked = {2 * number + 1: abstract_syntax for number, (abstract_syntax, _) in enumerate(proposals)}
    contexts = {
        int(each.context_id or 0): Context(
            context_id=int(each.context_id or 0),
            abstract_syntax=asked[int(each.context_id or 0)],
            transfer_syntax=str(each.transfer_syntax[0]),
            peer_asks=False,
            we_ask=True,
        )
        for each in primitive.presentation_context_definition_results_list
        if each.result == ACCEPTED and each.context_id in asked
    }
    longest = next(
        (
            item.maximum_length_received
            for item in primitive.user_information
            if isinstance(item, MaximumLengthNotification)
        ),
        0,
    )
    return Agreement(
        ae_title, peer.ae_title, contexts, {}, min(longest or pdu.P_DATA_BYTES, pdu.P_DATA_BYTES), ""
    )
