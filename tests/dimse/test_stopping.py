"""A stop in the middle of a transfer: what is under way may end, for a while; then it is aborted."""

from threading import Event
from time import monotonic

import pytest

from app.dimse.commands import Element, Kind, encode_command
from app.dimse.pdu import ABORT
from app.dimse.status import SUCCESS
from tests.dimse.conftest import EVERYTHING
from tests.dimse.raw_peer import RawPeer, store_response
from tests.dimse.stage import GET, STUDY, Stage, counts, encoded, identifier, status
from tests.factories import VL_PHOTOGRAPHIC, make_instance, uid

WAIT_S = 20


@pytest.fixture
def stage(listening, monkeypatch):
    """A listener that holds three instances of a study."""
    stage = Stage(listening, monkeypatch)
    for number in range(3):
        assert status(stage.store(make_instance(f"instance {number}"))) == SUCCESS.code
    return stage


@pytest.fixture
def half_stored(stage):
    """A peer in the middle of a C-STORE, and the half of the data set that it has not sent."""
    instance = make_instance("new", study="new")
    whole = encoded(instance)
    command = stage.command(
        Kind.C_STORE_RQ, VL_PHOTOGRAPHIC, affected_sop_instance_uid=str(instance.SOPInstanceUID)
    )
    with stage.peer(VL_PHOTOGRAPHIC) as peer:
        peer.data(1, encode_command(command, has_data_set=True))
        peer.data(1, whole[:100], command=False, last=False)
        wait_for_staging(stage)
        yield peer, whole[100:]


def wait_for_staging(stage):
    """Until the listener has begun to write what arrives: before that nothing is under way."""
    deadline_s = monotonic() + WAIT_S
    while not any(
        path.name.isdigit() and path.is_file() and path.stat().st_size
        for path in stage.archive.settings.objects_dir.glob("tmp/*/*")
    ):
        assert monotonic() < deadline_s
        Event().wait(0.005)


def wait_for_end(stage):
    for thread in list(stage.listening.listener._threads):
        thread.join(WAIT_S)
        assert not thread.is_alive()


def held(stage):
    return len(list(stage.archive.storage.keys()))


def end_of_the_last(caplog):
    """What the log says of the association that ended last."""
    facts = [record.facts for record in caplog.records if record.message == "association"]
    return facts[-1]["result"], facts[-1]["reason"]


def test_whoever_has_nothing_under_way_is_told_at_once(stage, caplog):
    caplog.set_level("INFO", "dermzoo.dimse")
    with RawPeer(stage.listening.port) as peer:
        peer.associate()
        stage.listening.listener.stopping.set()
        assert peer.read()[0] == ABORT
        assert peer.read()[0] is None
    wait_for_end(stage)
    assert end_of_the_last(caplog) == ("aborted", "the listener stops")


def test_an_instance_that_is_arriving_is_stored_and_answered(stage, half_stored):
    peer, rest = half_stored
    stage.listening.listener.stopping.set()
    peer.data(1, rest, command=False)
    assert status([peer.message()]) == SUCCESS.code
    assert peer.read()[0] == ABORT
    wait_for_end(stage)
    assert held(stage) == 4


def test_one_that_takes_too_long_is_aborted_and_nothing_of_it_is_kept(stage, half_stored, caplog):
    caplog.set_level("INFO", "dermzoo.dimse")
    peer, rest = half_stored
    stage.listening.listener.stopping.set()
    peer.data(1, rest[:100], command=False, last=False)
    stage.listening.listener.over.set()
    assert peer.read()[0] == ABORT
    wait_for_end(stage)
    assert held(stage) == 3
    found = stage.archive.settings.objects_dir.rglob("*")
    staged = [path for path in found if path.name.isdigit() and path.stat().st_size]
    assert not [path for path in staged if path.is_file()]
    assert end_of_the_last(caplog) == ("aborted", "the listener stops")


def getting(stage, peer, at_first):
    """Get the study, doing something when the first instance has come."""
    peer.ask(1, stage.command(Kind.C_GET_RQ, GET), identifier(**STUDY))
    command, _ = peer.message()
    assert command[Element.COMMAND_FIELD] == Kind.C_STORE_RQ
    at_first()
    peer.ask(peer.stored_in, store_response(command, 0))


def test_a_retrieval_goes_on_to_its_end(stage):
    with stage.peer(GET) as peer:
        getting(stage, peer, stage.listening.listener.stopping.set)
        answers = peer.answers()
        assert (status(answers), counts(answers)) == (SUCCESS.code, (None, 3, 0, 0))
        assert peer.read()[0] == ABORT
    wait_for_end(stage)


def test_a_retrieval_that_takes_too_long_is_aborted(stage, caplog):
    caplog.set_level("INFO", "dermzoo.dimse")
    with stage.peer(GET) as peer:
        getting(stage, peer, stage.listening.listener.over.set)
        kind, _ = peer.read()
        while kind not in {ABORT, None}:
            kind, _ = peer.read()
        assert kind == ABORT
    wait_for_end(stage)
    assert end_of_the_last(caplog) == ("aborted", "the listener stops")


def test_what_is_moved_goes_on_to_its_end(stage):
    def stop(_):
        stage.listening.listener.stopping.set()
        return 0x0000

    with stage.destination(stop):
        stage.may(*EVERYTHING, peers=stage.listening.listener.peers.known)
        answers = stage.move()
    assert (status(answers), counts(answers)) == (SUCCESS.code, (None, 3, 0, 0))


def test_a_peer_that_takes_nothing_does_not_hold_up_the_end(stage):
    """It is not even told: there is no room for an A-ABORT behind half a PDU."""
    large = make_instance("large", rows=2000, columns=2000)
    assert status(stage.store(large)) == SUCCESS.code
    with stage.peer(GET) as peer:
        asked = identifier("IMAGE", **STUDY, SeriesInstanceUID=uid("series"), SOPInstanceUID=uid("large"))
        peer.ask(1, stage.command(Kind.C_GET_RQ, GET), asked)
        assert peer.socket.recv(1)  # it has begun
        stage.listening.listener.stopping.set()
        stage.listening.listener.over.set()
        wait_for_end(stage)
