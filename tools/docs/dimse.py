"""The tables of the DICOM network, from the code that answers there."""

from pydantic.fields import FieldInfo
from pydicom.uid import UID

from app.dimse import (
    association,
    commands,
    gate,
    identifiers,
    listener,
    negotiation,
    pdu,
    reports,
    requestor,
)
from app.dimse.peers import Peer
from app.dimse.sop_classes import QUERY_RETRIEVE, STORAGE, STORAGE_COMMITMENT, TRANSFER_SYNTAXES, VERIFICATION
from app.dimse.status import STATUSES
from app.observability.associations import AssociationMetrics
from app.settings import Settings
from tools.docs.tables import code, table


def services_table() -> str:
    """Return one row for each SOP class, and who asks whom for it."""
    answers = [
        (UID(VERIFICATION).name, code(VERIFICATION), "C-ECHO", "`dermzoo echo`"),
        *((UID(uid).name, code(uid), service.value, "") for uid, (_, service) in QUERY_RETRIEVE.items()),
        (
            UID(STORAGE_COMMITMENT).name,
            code(STORAGE_COMMITMENT),
            "N-ACTION",
            "N-EVENT-REPORT, as SCP, on an association of ours where the caller's has ended",
        ),
        (
            f"the {len(STORAGE)} storage SOP classes [below](#storage-sop-classes)",
            "",
            "C-STORE; with C-GET also the other way, by role selection",
            "C-STORE to the destination of a C-MOVE",
        ),
    ]
    return table(("SOP class", "UID", "answered, as SCP", "asked, as SCU"), answers)


def statuses_table() -> str:
    """Return one row for each status of each service."""
    return table(
        ("request", "status", "meaning", "when"),
        (
            (service, code(f"{status.code:04X}"), status.meaning, when)
            for service, rows in STATUSES.items()
            for status, when in rows
        ),
    )


def transfer_syntaxes_table() -> str:
    """Return one row for each transfer syntax that instances are stored in."""
    return _named("transfer syntax", TRANSFER_SYNTAXES)


def storage_table() -> str:
    """Return one row for each storage SOP class."""
    return _named("SOP class", STORAGE)


def _named(what: str, uids: frozenset[str]) -> str:
    ordered = sorted(uids, key=lambda uid: [int(part) for part in uid.split(".")])
    return table((what, "UID"), ((UID(uid).name, code(uid)) for uid in ordered))


def limits_table() -> str:
    """Return what an association may take, and what happens then."""
    return table(
        ("what", "bound", "beyond it"),
        (
            (
                "connections of one address without an A-ASSOCIATE-RQ",
                f"{gate.WAITING_PER_CLIENT} in each process",
                "the oldest is closed",
            ),
            ("such connections of all", f"{gate.WAITING} in each process", "the oldest is closed"),
            ("until the A-ASSOCIATE-RQ is whole", f"{gate.FIRST_PDU_S:g} s", "closed"),
            ("an A-ASSOCIATE-RQ", f"{pdu.ASSOCIATE_BYTES >> 10} KiB", "A-ABORT, before it is received"),
            (
                "associations of one address",
                f"`DERMZOO_DIMSE_ASSOCIATIONS_PER_CLIENT`, {_default('dimse_associations_per_client')}",
                "rejected as transient: local limit exceeded",
            ),
            (
                "associations of all",
                f"`DERMZOO_DIMSE_ASSOCIATIONS`, {_default('dimse_associations')}",
                "rejected as transient: local limit exceeded",
            ),
            ("a P-DATA-TF, either way", f"{pdu.P_DATA_BYTES >> 10} KiB", "A-ABORT, before it is received"),
            ("a P-DATA-TF that the peer takes", f"{negotiation.SMALLEST_PDU} bytes at least", "rejected"),
            ("a command set", f"{commands.LONGEST_COMMAND >> 10} KiB", "A-ABORT"),
            ("an identifier", f"{association.LONGEST_IDENTIFIER >> 10} KiB", "A-ABORT"),
            ("keys of an identifier, with those in sequences", f"{identifiers.MOST_KEYS:,}", "C001"),
            ("silence between PDUs", f"{listener.IDLE_S:g} s", "A-ABORT"),
            ("receiving one PDU, or sending one", f"{listener.PDU_S:g} s", "A-ABORT"),
            (
                "operations at a time on one association",
                "1",
                "A-ABORT for another request than C-CANCEL; the window is negotiated as 1",
            ),
            (
                "connecting to a destination, and its silence",
                f"{requestor.CONNECT_S:g} s, {requestor.IDLE_S:g} s",
                "the sub-operations fail",
            ),
            (
                "reporting a storage commitment",
                _retries(),
                "given up, with a line in the log; `GET /commitment-requests/{transaction}` has the result",
            ),
            (
                "operations under way when the server stops",
                f"`DERMZOO_SHUTDOWN_GRACE_S`, {_default('shutdown_grace_s')} s",
                "A-ABORT; of an instance half received nothing is kept",
            ),
        ),
    )


def _retries() -> str:
    waits = ", ".join(f"{wait_s:g}" for wait_s in reports.RETRY_AFTER_S)
    return f"again after {waits} s, and {reports.CLAIM_S:g} s after a process began that was killed"


def _default(name: str) -> str:
    return f"{Settings.model_fields[name].default:g}"


def peers_table() -> str:
    """Return one row for each key of an entry of the peers file."""
    return table(
        ("key", "default", "what it is"),
        ((code(name), _default_of(each), each.description or "") for name, each in Peer.model_fields.items()),
    )


def _default_of(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.default
    if isinstance(default, frozenset):
        return ", ".join(code(f'"{word}"') for word in sorted(default))
    return "" if default is None else code(str(default).lower())


def metrics_table() -> str:
    """Return one row for each metric of associations."""
    return table(
        ("metric", "what it counts"),
        (
            (code(f"{metric.name}_total"), metric.documentation)
            for metric in AssociationMetrics().registry.collect()
        ),
    )
