"""Storage commitment (PS3.4 Annex J) with pynetdicom as its requestor."""

import threading

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from app.dimse.peers import Peer
from tests.factories import VL_PHOTOGRAPHIC, uid, write_instance
from tests.servers import free_port


def asked(*instances):
    data_set = Dataset()
    data_set.TransactionUID = generate_uid()
    data_set.ReferencedSOPSequence = []
    for instance in instances:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = VL_PHOTOGRAPHIC, instance
        data_set.ReferencedSOPSequence.append(item)
    return data_set


class Reports:
    """What was reported, and when."""

    def __init__(self):
        self.arrived = threading.Event()
        self.found = None

    def handle(self, event):
        self.found = event.event_type, event.event_information
        self.arrived.set()
        return 0x0000, None


@pytest.fixture
def reports():
    return Reports()


def test_the_report_comes_on_the_same_association(listening, reports):
    listening.dcmtk("storescu", after=[write_instance(listening.folder / "a.dcm")])
    ae = AE("PEER")
    ae.add_requested_context(StorageCommitmentPushModel)
    association = ae.associate(
        "127.0.0.1",
        listening.port,
        ae_title="DERMZOO",
        evt_handlers=[(evt.EVT_N_EVENT_REPORT, reports.handle)],
    )
    assert association.is_established
    request = asked(uid("instance"), "1.2.3")
    status, _ = association.send_n_action(
        request, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
    )
    assert status.Status == 0x0000
    assert reports.arrived.wait(20)
    kind, information = reports.found
    assert kind == 2  # failures exist
    assert information.TransactionUID == request.TransactionUID
    assert [each.ReferencedSOPInstanceUID for each in information.ReferencedSOPSequence] == [uid("instance")]
    (failed,) = information.FailedSOPSequence
    assert (failed.ReferencedSOPInstanceUID, failed.FailureReason) == ("1.2.3", 0x0112)
    status, _ = association.send_n_action(
        request, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
    )
    assert status.Status == 0x0210  # the same transaction again
    status, _ = association.send_n_action(
        asked(uid("instance")), 2, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
    )
    assert status.Status == 0x0123
    status, _ = association.send_n_action(asked(uid("instance")), 1, StorageCommitmentPushModel, "1.2.3")
    assert status.Status == 0x0112
    status, _ = association.send_n_action(
        asked(), 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
    )
    assert status.Status == 0x0115
    association.release()


def test_the_report_comes_on_an_association_of_ours_when_the_caller_is_gone(start_listener, reports):
    port = free_port()
    listening = start_listener(
        peers=(Peer(ae_title="PEER", host="127.0.0.1", port=port, may=["commit", "store"]),)
    )
    listening.dcmtk("storescu", "-aet", "PEER", after=[write_instance(listening.folder / "a.dcm")])
    ae = AE("PEER")
    ae.add_requested_context(StorageCommitmentPushModel)
    ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    server = ae.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, reports.handle)]
    )
    try:
        deaf = [(evt.EVT_N_EVENT_REPORT, lambda _: (0x0110, None))]
        association = ae.associate("127.0.0.1", listening.port, ae_title="DERMZOO", evt_handlers=deaf)
        status, _ = association.send_n_action(
            asked(uid("instance")), 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
        assert status.Status == 0x0000
        association.abort()
        assert reports.arrived.wait(20)
        assert reports.found[0] == 1
    finally:
        server.shutdown()


def test_who_may_not(start_listener):
    listening = start_listener(may=frozenset({"echo", "find", "get"}))
    ae = AE("PEER")
    ae.add_requested_context(StorageCommitmentPushModel)
    association = ae.associate("127.0.0.1", listening.port, ae_title="DERMZOO")
    status, _ = association.send_n_action(
        asked("1.2.3"), 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
    )
    assert status.Status == 0x0124
    association.release()


def test_pynetdicom_roles_are_understood(listening):
    ae = AE("PEER")
    ae.add_requested_context(VL_PHOTOGRAPHIC)
    association = ae.associate(
        "127.0.0.1", listening.port, ae_title="DERMZOO", ext_neg=[build_role(VL_PHOTOGRAPHIC, scp_role=True)]
    )
    assert association.is_established
    assert association.accepted_contexts[0].as_scp
    association.release()
