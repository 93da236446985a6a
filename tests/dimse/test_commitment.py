"""Storage commitment (PS3.4 Annex J) with pynetdicom as its requestor."""

import pytest
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from app.dimse.peers import Peer
from tests.dimse.committing import Reports, asked, let_time_pass, owed, receiving, wait_until_told
from tests.factories import VL_PHOTOGRAPHIC, uid, write_instance
from tests.servers import free_port


@pytest.fixture
def reports():
    return Reports()


def test_the_report_comes_on_the_same_association(start_listener, reports, peer):
    listening = start_listener(peers=(peer,))
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
    wait_until_told(listening.listener.archive.catalog)  # nobody is told again


@pytest.fixture
def peer():
    """The entry of the requestor in the peers file."""
    return Peer(ae_title="PEER", host="127.0.0.1", port=free_port(), may=["commit", "store"])


def ask_and_go(listening):
    """Ask for a commitment, refuse its report on this association, and abort it."""
    ae = AE("PEER")
    ae.add_requested_context(StorageCommitmentPushModel)
    deaf = [(evt.EVT_N_EVENT_REPORT, lambda _: (0x0110, None))]
    association = ae.associate("127.0.0.1", listening.port, ae_title="DERMZOO", evt_handlers=deaf)
    status, _ = association.send_n_action(
        asked(uid("instance")), 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
    )
    assert status.Status == 0x0000
    association.abort()


def test_the_report_comes_on_an_association_of_ours_when_the_caller_is_gone(start_listener, reports, peer):
    listening = start_listener(peers=(peer,))
    listening.dcmtk("storescu", "-aet", "PEER", after=[write_instance(listening.folder / "a.dcm")])
    with receiving(peer.port, reports):
        ask_and_go(listening)
        assert reports.arrived.wait(20)
        assert reports.found[0] == 1
        wait_until_told(listening.listener.archive.catalog)


def test_the_report_comes_after_a_stop_and_a_start(start_listener, reports, peer):
    first = start_listener(peers=(peer,))
    ask_and_go(first)
    first.stop()
    assert owed(first.listener.archive.catalog) == 1
    let_time_pass(first.listener.archive.catalog)
    with receiving(peer.port, reports):
        second = start_listener(peers=(peer,))
        assert reports.arrived.wait(20)
        assert reports.found[0] == 2  # nothing was stored
        wait_until_told(second.listener.archive.catalog)


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
