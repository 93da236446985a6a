"""A listener that a scenario asks, as a raw peer does, and what the answers say."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pynetdicom import AE, evt
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation

from app.dimse.commands import Element, Kind
from app.dimse.peers import Peer, Peers
from app.throttle.budget import Budget
from app.throttle.policy import Allowance, Holding, PerClient, Policy
from app.throttle.stores import MemoryStore
from tests.dimse.conftest import EVERYTHING
from tests.dimse.raw_peer import RawPeer
from tests.factories import VL_PHOTOGRAPHIC, make_instance, uid
from tests.servers import free_port

FIND, MOVE, GET = (f"1.2.840.10008.5.1.4.1.2.2.{number}" for number in (1, 2, 3))
COMMITMENT, WELL_KNOWN = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
SCENARIOS = {}


def reaches(service, *codes):
    """Say which rows a scenario is for."""

    def note(scenario):
        for code in codes:
            SCENARIOS.setdefault((service, code), []).append(scenario)
        return scenario

    return note


def encoded(data_set):
    """The bytes of a data set in Explicit VR Little Endian."""
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, False
    write_dataset(out, data_set)
    return out.getvalue()


def identifier(level="STUDY", **keys):
    made = Dataset()
    made.QueryRetrieveLevel = level
    for name, value in keys.items():
        setattr(made, name, value)
    return encoded(made)


STUDY = {"StudyInstanceUID": uid("study")}


class Stage:
    """A listener whose archive holds one study, and a raw peer's ways to ask it."""

    def __init__(self, listening, monkeypatch):
        self.listening, self.patch = listening, monkeypatch
        self.archive = listening.listener.archive

    def ask(self, kind, abstract_syntax, data_set=None, store=lambda _: 0, **more):
        """All the responses to one request."""
        with self.peer(abstract_syntax) as peer:
            peer.ask(1, self.command(kind, abstract_syntax, **more), data_set)
            return peer.answers(store)

    @contextmanager
    def peer(self, abstract_syntax):
        role = SCP_SCU_RoleSelectionNegotiation()
        role.sop_class_uid, role.scu_role, role.scp_role = VL_PHOTOGRAPHIC, False, True
        with RawPeer(self.listening.port) as peer:
            if abstract_syntax == GET:
                peer.associate(GET, VL_PHOTOGRAPHIC, extra=[role])
            else:
                peer.associate(abstract_syntax)
            yield peer

    def command(self, kind, abstract_syntax, **more):
        elements = {Element.COMMAND_FIELD: kind, Element.MESSAGE_ID: 7, Element.PRIORITY: 0}
        if kind == Kind.N_ACTION_RQ:
            elements[Element.REQUESTED_SOP_CLASS_UID] = abstract_syntax
        else:
            elements[Element.AFFECTED_SOP_CLASS_UID] = abstract_syntax
        return elements | {Element[name.upper()]: value for name, value in more.items()}

    def find(self, data_set=None, **more):
        return self.ask(Kind.C_FIND_RQ, FIND, data_set or identifier(**STUDY), **more)

    def get(self, data_set=None, **more):
        return self.ask(Kind.C_GET_RQ, GET, data_set or identifier(**STUDY), **more)

    def move(self, data_set=None, destination="DEST", **more):
        return self.ask(
            Kind.C_MOVE_RQ, MOVE, data_set or identifier(**STUDY), move_destination=destination, **more
        )

    def store(self, instance=None, data_set=None, **more):
        instance = instance or make_instance("new", study="new")
        chosen = {
            "affected_sop_class_uid": VL_PHOTOGRAPHIC,
            "affected_sop_instance_uid": instance.SOPInstanceUID,
        } | more
        if data_set is None:
            data_set = encoded(instance)
        return self.ask(Kind.C_STORE_RQ, VL_PHOTOGRAPHIC, data_set or None, **chosen)

    def commit(self, data_set=None, **more):
        chosen = {"requested_sop_instance_uid": WELL_KNOWN, "action_type_id": 1} | more
        if data_set is None:
            data_set = commitment_request()
        return self.ask(Kind.N_ACTION_RQ, COMMITMENT, data_set or None, **chosen)

    def may(self, *what, peers=()):
        self.patch.setattr(self.listening.listener, "peers", Peers(tuple(peers), frozenset(what)))

    def spend_the_budget(self):
        """Leave the caller one request: that of its association."""
        client = PerClient(requests=Allowance(per_second=0.001, burst=1))
        budget = Budget(Policy(client=client, hold=Holding(longest_s=0)), MemoryStore())
        self.patch.setattr(self.listening.listener, "budget", budget)

    @contextmanager
    def destination(self, handle=lambda _: 0x0000) -> Iterator[None]:
        """A storage SCP at the title DEST."""
        port, ae = free_port(), AE("DEST")
        ae.add_supported_context(VL_PHOTOGRAPHIC)
        server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, handle)])
        self.may(*EVERYTHING, peers=[Peer(ae_title="DEST", host="127.0.0.1", port=port)])
        try:
            yield
        finally:
            server.shutdown()


def commitment_request(**more):
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = VL_PHOTOGRAPHIC, "1.2.3"
    made = Dataset()
    made.TransactionUID = uid("transaction")
    made.ReferencedSOPSequence = [item]
    for name, value in more.items():
        setattr(made, name, value)
    return encoded(made)


def status(answers):
    return answers[-1][0][Element.STATUS]


def comment(answers):
    return answers[-1][0].get(Element.ERROR_COMMENT, "")


def counts(answers):
    """Remaining (None in a last response), completed, failed, with warning."""
    command = answers[-1][0]
    return tuple(
        command.get(element)
        for element in (
            Element.REMAINING_SUBOPERATIONS,
            Element.COMPLETED_SUBOPERATIONS,
            Element.FAILED_SUBOPERATIONS,
            Element.WARNING_SUBOPERATIONS,
        )
    )


def failed_list(answers):
    """Failed SOP Instance UID List (0008,0058) of the last response."""
    found = read_dataset(BytesIO(answers[-1][1]), is_implicit_VR=False, is_little_endian=True)
    value = found.FailedSOPInstanceUIDList
    return {value} if isinstance(value, str) else set(value)


def cancel(peer):
    peer.ask(1, {Element.COMMAND_FIELD: Kind.C_CANCEL_RQ, Element.MESSAGE_ID_BEING_RESPONDED_TO: 7})


def raising(error):
    def function(*_, **__):
        raise error

    return function
