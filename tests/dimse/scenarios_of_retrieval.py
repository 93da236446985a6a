"""Scenarios of the statuses of C-GET and C-MOVE."""

import threading

from app.archive.withdraw import restore, withdraw_named
from app.dimse.commands import Element, Kind
from app.dimse.peers import Peer
from app.errors import CatalogUnavailable
from tests.dimse.conftest import EVERYTHING
from tests.dimse.stage import (
    GET,
    MOVE,
    STUDY,
    cancel,
    comment,
    counts,
    failed_list,
    identifier,
    raising,
    reaches,
    status,
)
from tests.factories import make_instance, uid
from tests.servers import free_port


@reaches("C-GET", 0xA701)
@reaches("C-MOVE", 0xA701)
def the_catalogue_is_away(stage):
    away = raising(CatalogUnavailable("The catalogue is locked."))
    stage.patch.setattr("app.dimse.sources.locate_instances", away)
    assert status(stage.get()) == 0xA701
    assert status(stage.move()) == 0xA701


def told_of_three(answers):
    """Check what is said of three sub-operations, all of them well: of the first, perhaps of the second."""
    *pending, last = [counts([each]) for each in answers]
    assert pending in ([(2, 1, 0, 0)], [(2, 1, 0, 0), (1, 2, 0, 0)])
    assert last == (None, 3, 0, 0)
    assert [command[Element.STATUS] for command, _ in answers] == [0xFF00] * len(pending) + [0x0000]


@reaches("C-GET", 0xFF00, 0x0000)
def everything_is_got(stage):
    answers = stage.get()
    told_of_three(answers)
    assert answers[-1][1] is None
    assert counts(stage.get(identifier(StudyInstanceUID="1.2.3"))) == (None, 0, 0, 0)


@reaches("C-GET", 0xB000)
def the_caller_refuses_one(stage):
    refused = uid("instance 1")
    answers = stage.get(
        store=lambda command: 0xA700 if command[Element.AFFECTED_SOP_INSTANCE_UID] == refused else 0
    )
    assert (status(answers), counts(answers)) == (0xB000, (None, 2, 1, 0))
    assert failed_list(answers) == {refused}


@reaches("C-GET", 0xB000)
def the_caller_warns(stage):
    answers = stage.get(store=lambda _: 0xB007)
    assert (status(answers), counts(answers)) == (0xB000, (None, 0, 0, 3))


@reaches("C-GET", 0xB000)
def an_instance_is_withdrawn_meanwhile(stage):
    instance = uid("instance 2")

    def withdraw_another(command):
        if command[Element.AFFECTED_SOP_INSTANCE_UID] == uid("instance 0"):
            withdraw_named(stage.archive, str(instance), "at the patient's wish", "a test")
        return 0

    try:
        answers = stage.get(store=withdraw_another)
        assert (status(answers), counts(answers)) == (0xB000, (None, 2, 1, 0))
        assert failed_list(answers) == {instance}
    finally:
        restore(stage.archive, str(instance))
        assert status(stage.store(make_instance("instance 2"))) == 0x0000


@reaches("C-GET", 0xFE00)
def a_retrieval_is_cancelled_in_the_middle(stage):
    with stage.peer(GET) as peer:
        peer.ask(1, stage.command(Kind.C_GET_RQ, GET), identifier(**STUDY))

        def store(_):
            cancel(peer)
            return 0

        answers = peer.answers(store)
    # all were told of the first, and of no other
    assert (status(answers), counts(answers)) == (0xFE00, (2, 1, 0, 0))


@reaches("C-GET", 0xA702)
def the_caller_refuses_all(stage):
    answers = stage.get(store=lambda _: 0xA700)
    assert (status(answers), counts(answers)) == (0xA702, (None, 0, 3, 0))
    assert failed_list(answers) == {uid(f"instance {number}") for number in range(3)}


@reaches("C-MOVE", 0xFF00, 0x0000)
def everything_is_moved(stage):
    with stage.destination():
        answers = stage.move()
    told_of_three(answers)


@reaches("C-MOVE", 0xB000)
def the_destination_dies_midway(stage):
    def handle(event):
        if event.request.AffectedSOPInstanceUID == uid("instance 1"):
            event.assoc.abort()
        return 0x0000

    with stage.destination(handle):
        answers = stage.move()
    assert (status(answers), counts(answers)) == (0xB000, (None, 1, 2, 0))
    assert failed_list(answers) == {uid("instance 1"), uid("instance 2")}


@reaches("C-MOVE", 0xFE00)
def a_move_is_cancelled_in_the_middle(stage):
    cancelled = threading.Event()

    def handle(event):
        if event.request.AffectedSOPInstanceUID == uid("instance 1"):
            assert cancelled.wait(20)
        return 0x0000

    with stage.destination(handle), stage.peer(MOVE) as peer:
        peer.ask(1, stage.command(Kind.C_MOVE_RQ, MOVE, move_destination="DEST"), identifier(**STUDY))
        command, _ = peer.message()  # it is told of the first while the second is under way
        assert (command[Element.STATUS], counts([(command, None)])) == (0xFF00, (2, 1, 0, 0))
        cancel(peer)
        cancelled.set()
        answers = peer.answers()
    # noticed before the second was sent, or after
    assert (status(answers), counts(answers)) in [(0xFE00, (2, 1, 0, 0)), (0xFE00, (1, 2, 0, 0))]


@reaches("C-MOVE", 0xA702)
def the_destination_cannot_be_reached(stage):
    stage.may(*EVERYTHING, peers=[Peer(ae_title="DEST", host="127.0.0.1", port=free_port())])
    answers = stage.move()
    assert (status(answers), counts(answers)) == (0xA702, (None, 0, 3, 0))
    assert comment(answers).startswith("DEST at 127.0.0.1:")
    assert failed_list(answers) == {uid(f"instance {number}") for number in range(3)}


@reaches("C-MOVE", 0xA702)
def the_destination_refuses_all(stage):
    with stage.destination(lambda _: 0xA700):
        answers = stage.move()
    assert (status(answers), counts(answers)) == (0xA702, (None, 0, 3, 0))


@reaches("C-MOVE", 0xA801)
def the_destination_is_not_known(stage):
    assert status(stage.move(destination="NOBODY")) == 0xA801
