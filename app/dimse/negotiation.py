"""Agreeing on what an association is for (PS3.8 9.3.2, PS3.7 Annex D): who may ask what, written how."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pynetdicom import _config
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    AsynchronousOperationsWindowNegotiation,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
    SOPClassExtendedNegotiation,
)
from pynetdicom.presentation import PresentationContext

from app.dicom.uids import EXPLICIT_VR_BIG_ENDIAN, IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from app.dimse.errors import ProtocolError
from app.dimse.pdu import INVALID_PARAMETER, P_DATA_BYTES
from app.dimse.sop_classes import (
    PLAIN,
    QUERY_RETRIEVE,
    STORAGE_COMMITMENT,
    TRANSFER_SYNTAXES,
    VERIFICATION,
    Service,
    is_storage,
)

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
ACCEPTED, NO_REASON, ABSTRACT_SYNTAX_UNKNOWN, TRANSFER_SYNTAXES_UNKNOWN = 0, 2, 3, 4
SMALLEST_PDU = 128  # a peer that takes less would have each message cut to shreds

_config.ENFORCE_UID_CONFORMANCE = True


@dataclass(frozen=True, slots=True)
class Context:
    """An accepted presentation context: what may be said in it, how, and by whom."""

    context_id: int
    abstract_syntax: str
    transfer_syntax: str
    peer_asks: bool  # the peer is SCU: it may send us requests
    we_ask: bool  # the peer is SCP: we may send it instances


@dataclass(frozen=True, slots=True)
class Extended:
    """What was agreed of a query or retrieve SOP class beyond its baseline (PS3.4 C.5.1)."""

    relational: bool = False
    combined_time: bool = False
    fuzzy: bool = False


@dataclass(frozen=True, slots=True)
class Agreement:
    """What both sides agreed on."""

    calling_ae_title: str
    called_ae_title: str
    contexts: dict[int, Context]
    extended: dict[str, Extended]
    longest_pdu: int  # that the peer takes, in bytes of its variable field
    implementation: str  # the peer's, as it calls itself


@dataclass(frozen=True, slots=True)
class Refused:
    """An A-ASSOCIATE-RJ (PS3.8 Table 9-21), and what the log says of it."""

    source: int
    reason: int
    message: str
    is_transient: bool = False


def read_request(body: bytes) -> A_ASSOCIATE:
    """Read the variable field of an A-ASSOCIATE-RQ; raises ProtocolError whatever is wrong with it."""
    request = A_ASSOCIATE_RQ()
    try:
        request.decode(b"\x01\x00" + len(body).to_bytes(4, "big") + body)
        primitive = request.to_primitive()
    except Exception as error:  # the library raises what it meets
        raise ProtocolError(f"the A-ASSOCIATE-RQ cannot be read: {error}", INVALID_PARAMETER) from error
    if not primitive.presentation_context_definition_list:
        raise ProtocolError("the A-ASSOCIATE-RQ proposes no presentation context", INVALID_PARAMETER)
    numbers = [int(each.context_id or 0) for each in primitive.presentation_context_definition_list]
    if len(set(numbers)) < len(numbers) or not all(number % 2 for number in numbers):  # PS3.8 9.3.2.2
        raise ProtocolError("presentation contexts have an odd number each", INVALID_PARAMETER)
    return primitive


def refused_at_sight(body: bytes, request: A_ASSOCIATE) -> Refused | None:
    """Return why a request is none that we can serve: its version, its application context (PS3.8 9.3.2)."""
    if not body[1] & 1:
        return Refused(2, 2, "protocol version 1 is not proposed")
    if request.application_context_name != APPLICATION_CONTEXT:
        return Refused(1, 2, f"the application context is {str(request.application_context_name)!r}")
    if (longest := _longest(_items(request))) < SMALLEST_PDU:
        return Refused(1, 1, f"it takes no PDU of more than {longest} bytes")
    return None


def agree(request: A_ASSOCIATE, *, private_too: bool) -> tuple[Agreement, bytes]:
    """Accept what we can of a request; return what was agreed and the A-ASSOCIATE-AC that says so."""
    items = _items(request)
    roles = {
        str(item.sop_class_uid): item for item in items if isinstance(item, SCP_SCU_RoleSelectionNegotiation)
    }
    proposed = request.presentation_context_definition_list
    results = [_answer(context, private_too=private_too) for context in proposed]
    contexts = {
        int(result.context_id or 0): _context(result, roles)
        for result in results
        if result.result == ACCEPTED
    }
    accepted = {context.abstract_syntax for context in contexts.values()}
    extended = {
        str(item.sop_class_uid): _extended(
            str(item.sop_class_uid), item.service_class_application_information or b""
        )
        for item in items
        if isinstance(item, SOPClassExtendedNegotiation)
        and str(item.sop_class_uid) in accepted & set(QUERY_RETRIEVE)
    }
    agreement = Agreement(
        calling_ae_title=request.calling_ae_title.strip(),
        called_ae_title=request.called_ae_title.strip(),
        contexts=contexts,
        extended=extended,
        longest_pdu=_longest(items),
        implementation=_implementation(items),
    )
    information = [*user_information(), *_role_answers(roles, accepted), *_extended_answers(extended)]
    if any(isinstance(item, AsynchronousOperationsWindowNegotiation) for item in items):
        information.append(_one_at_a_time())
    return agreement, _accept(request, results, information)


def user_information() -> list[Any]:
    """Return what we always say of ourselves."""
    length = MaximumLengthNotification()
    length.maximum_length_received = P_DATA_BYTES
    implementation = ImplementationClassUIDNotification()
    implementation.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    version = ImplementationVersionNameNotification()
    version.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    return [length, implementation, version]


def _items(request: A_ASSOCIATE) -> list[Any]:
    return list(request.user_information)


def _answer(proposed: PresentationContext, *, private_too: bool) -> PresentationContext:
    """Take the first proposed transfer syntax that we know; Big Endian only if there is no other."""
    syntaxes = [str(uid) for uid in proposed.transfer_syntax]
    abstract = str(proposed.abstract_syntax)
    answer = PresentationContext()
    answer.context_id = proposed.context_id
    answer.abstract_syntax = proposed.abstract_syntax
    known = _known_syntaxes(abstract, private_too=private_too)
    chosen = sorted((uid for uid in syntaxes if uid in known), key=lambda uid: uid == EXPLICIT_VR_BIG_ENDIAN)
    if not known:
        answer.result = ABSTRACT_SYNTAX_UNKNOWN
    elif not chosen:
        answer.result = TRANSFER_SYNTAXES_UNKNOWN
    else:
        answer.result = ACCEPTED
    answer.transfer_syntax = [(chosen or syntaxes)[0]]
    return answer


def _known_syntaxes(abstract_syntax: str, *, private_too: bool) -> Sequence[str] | frozenset[str]:
    if abstract_syntax in {VERIFICATION, STORAGE_COMMITMENT} or abstract_syntax in QUERY_RETRIEVE:
        return PLAIN
    return TRANSFER_SYNTAXES if is_storage(abstract_syntax, private_too=private_too) else ()


def _context(result: PresentationContext, roles: dict[str, Any]) -> Context:
    """Note who asks: the requestor, unless it chose other roles for the SOP class (PS3.7 D.3.3.4)."""
    abstract = str(result.abstract_syntax)
    role = roles.get(abstract) if _has_roles(abstract) else None
    return Context(
        context_id=int(result.context_id or 0),
        abstract_syntax=abstract,
        transfer_syntax=str(result.transfer_syntax[0]),
        peer_asks=True if role is None else bool(role.scu_role),
        we_ask=False if role is None else bool(role.scp_role),
    )


def _role_answers(roles: dict[str, Any], accepted: set[str]) -> Iterable[Any]:
    """Take every role that a peer proposes for what we accepted and can be both sides of."""
    for uid, role in roles.items():
        if uid in accepted and _has_roles(uid):
            answer = SCP_SCU_RoleSelectionNegotiation()
            answer.sop_class_uid = uid
            answer.scu_role, answer.scp_role = bool(role.scu_role), bool(role.scp_role)
            yield answer


def _has_roles(abstract_syntax: str) -> bool:
    """Whether roles are negotiated: we ask nobody who is connected to echo or to search."""
    return abstract_syntax != VERIFICATION and abstract_syntax not in QUERY_RETRIEVE


def _extended(sop_class_uid: str, information: bytes) -> Extended:
    """Read Service Class Application Information (PS3.4 Tables C.5-1, C.5-2); all is granted."""
    fields = [byte == 1 for byte in information[:3]] + [False] * 3
    if QUERY_RETRIEVE[sop_class_uid][1] is Service.FIND:
        return Extended(*fields[:3])
    return Extended(relational=fields[0])


def _extended_answers(extended: dict[str, Extended]) -> Iterable[Any]:
    for uid, agreed in extended.items():
        answer = SOPClassExtendedNegotiation()
        answer.sop_class_uid = uid
        fields = [agreed.relational]
        if QUERY_RETRIEVE[uid][1] is Service.FIND:
            fields += [agreed.combined_time, agreed.fuzzy]
        answer.service_class_application_information = bytes(fields)
        yield answer


def _one_at_a_time() -> AsynchronousOperationsWindowNegotiation:
    window = AsynchronousOperationsWindowNegotiation()
    window.maximum_number_operations_invoked = 1
    window.maximum_number_operations_performed = 1
    return window


def _longest(items: Iterable[Any]) -> int:
    declared = next(
        (item.maximum_length_received for item in items if isinstance(item, MaximumLengthNotification)), 0
    )
    return min(declared or P_DATA_BYTES, P_DATA_BYTES)  # 0 is no limit (PS3.8 D.1)


def _implementation(items: Iterable[Any]) -> str:
    for item in items:
        if isinstance(item, ImplementationVersionNameNotification):
            return str(item.implementation_version_name or "")
    return ""


def _accept(request: A_ASSOCIATE, results: list[PresentationContext], information: list[Any]) -> bytes:
    primitive = A_ASSOCIATE()
    primitive.application_context_name = APPLICATION_CONTEXT
    primitive.calling_ae_title = request.calling_ae_title
    primitive.called_ae_title = request.called_ae_title
    primitive.result, primitive.result_source = 0, 1
    primitive.presentation_context_definition_results_list = results
    primitive.user_information = information
    return bytes(A_ASSOCIATE_AC(primitive).encode())
