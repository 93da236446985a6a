"""Scenarios of the statuses of C-ECHO, C-STORE, C-FIND and storage commitment."""

import threading

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from app.archive.withdraw import withdraw_named
from app.dimse.commands import Element, Kind
from app.dimse.identifiers import MOST_KEYS
from app.errors import CatalogUnavailable, SearchTooBroad, StorageFailed, StorageFull
from tests.dimse.raw_peer import VERIFICATION
from tests.dimse.stage import (
    COMMITMENT,
    FIND,
    GET,
    MOVE,
    STUDY,
    cancel,
    comment,
    commitment_request,
    encoded,
    identifier,
    raising,
    reaches,
    status,
)
from tests.factories import make_instance, uid

# In every service


@reaches("C-ECHO", 0x0000)
def echo(stage):
    assert status(stage.ask(Kind.C_ECHO_RQ, VERIFICATION)) == 0x0000


@reaches("any other", 0x0211)
def an_operation_that_is_not_served(stage):
    assert status(stage.ask(0x0140, VERIFICATION)) == 0x0211  # N-CREATE
    assert status(stage.ask(Kind.N_EVENT_REPORT_RQ, COMMITMENT)) == 0x0211


@reaches("C-ECHO", 0x0122)
@reaches("C-STORE", 0x0122)
@reaches("C-FIND", 0x0122)
@reaches("C-GET", 0x0122)
@reaches("C-MOVE", 0x0122)
@reaches("N-ACTION", 0x0122)
def in_another_context(stage):
    served = (
        Kind.C_ECHO_RQ,
        Kind.C_STORE_RQ,
        Kind.C_FIND_RQ,
        Kind.C_GET_RQ,
        Kind.C_MOVE_RQ,
        Kind.N_ACTION_RQ,
    )
    for kind in served:
        context = FIND if kind != Kind.C_FIND_RQ else VERIFICATION
        assert status(stage.ask(kind, context, identifier(**STUDY))) == 0x0122


@reaches("C-STORE", 0x0124)
@reaches("C-FIND", 0x0124)
@reaches("C-GET", 0x0124)
@reaches("C-MOVE", 0x0124)
@reaches("N-ACTION", 0x0124)
def what_the_caller_may_not(stage):
    stage.may("echo")
    for ask in (stage.store, stage.find, stage.get, stage.move, stage.commit):
        assert status(ask()) == 0x0124


@reaches("C-STORE", 0xA700)
@reaches("C-FIND", 0xA700)
@reaches("C-GET", 0xA700)
@reaches("C-MOVE", 0xA700)
@reaches("N-ACTION", 0x0213)
def over_the_budget(stage):
    for ask in (stage.store, stage.find, stage.get, stage.move, stage.commit):
        stage.spend_the_budget()
        answers = ask()
        assert status(answers) == (0x0213 if ask == stage.commit else 0xA700)
        assert comment(answers).startswith("Your budget is used up; ask again in ")


@reaches("C-FIND", 0xA900)
@reaches("C-GET", 0xA900)
@reaches("C-MOVE", 0xA900)
def identifiers_that_do_not_fit(stage):
    item = Dataset()
    item.RequestedProcedureID = "1"
    for ask in (stage.find, stage.get, stage.move):
        assert status(ask(identifier("PATIENT", PatientID="1"))) == 0xA900  # not in Study Root
        assert status(ask(identifier("SERIES", SeriesInstanceUID="1.2"))) == 0xA900
    assert status(stage.find(identifier(RequestAttributesSequence=[item, item]))) == 0xA900
    for kind, context in ((Kind.C_FIND_RQ, FIND), (Kind.C_GET_RQ, GET), (Kind.C_MOVE_RQ, MOVE)):
        assert status(stage.ask(kind, context)) == 0xA900  # no identifier at all


@reaches("C-FIND", 0xC001)
@reaches("C-GET", 0xC001)
@reaches("C-MOVE", 0xC001)
def identifiers_that_cannot_be_read(stage):
    for ask in (stage.find, stage.get, stage.move):
        assert status(ask(b"this is no data set")) == 0xC001


# C-STORE


@reaches("C-STORE", 0x0000)
def stored(stage):
    assert status(stage.store()) == 0x0000
    assert status(stage.store()) == 0x0000  # the same data set again


@reaches("C-STORE", 0xA700)
def the_disk_is_full(stage):
    def full(*_):
        raise StorageFull("The disk has no room left.")

    stage.patch.setattr("app.storage.disk.Disk.check_room", full)
    answers = stage.store(make_instance("too much"))
    assert (status(answers), comment(answers)) == (0xA700, "The disk has no room left.")


@reaches("C-STORE", 0xA700)
def the_disk_fails_while_the_data_set_arrives(stage):
    from app.storage.staging import LocalStagedFile

    write = LocalStagedFile.write

    def failing(self, data):
        if self.size:
            raise StorageFailed("The disk refused (Input/output error); nothing was kept.")
        write(self, data)

    with stage.patch.context() as patch:
        patch.setattr(LocalStagedFile, "write", failing)
        assert status(stage.store(make_instance("cut off"))) == 0xA700
    assert status(stage.store(make_instance("cut off", study="new"))) == 0x0000


@reaches("C-STORE", 0xA900)
def the_data_set_is_of_another_instance(stage):
    assert status(stage.store(affected_sop_instance_uid="1.2.3")) == 0xA900
    assert (
        status(stage.store(make_instance("other class", SOPClassUID="1.2.840.10008.5.1.4.1.1.7"))) == 0xA900
    )


@reaches("C-STORE", 0xC000)
def the_data_set_cannot_be_read(stage):
    assert status(stage.store(data_set=b"this is no data set")) == 0xC000


@reaches("C-STORE", 0x0111)
def held_with_another_data_set(stage):
    assert status(stage.store(make_instance("instance 0", PatientName="Somebody^Else"))) == 0x0111


@reaches("C-STORE", 0x0117)
def the_instance_is_not_named_by_a_uid(stage):
    assert status(stage.store(affected_sop_instance_uid="../../etc")) == 0x0117


@reaches("C-STORE", 0x0122)
def the_sop_class_is_not_that_of_the_context(stage):
    assert status(stage.store(affected_sop_class_uid="1.2.840.10008.5.1.4.1.1.7")) == 0x0122


@reaches("C-STORE", 0x0124)
def withdrawn(stage):
    instance = make_instance("withdrawn", study="withdrawn")
    assert status(stage.store(instance)) == 0x0000
    withdraw_named(stage.archive, str(instance.SOPInstanceUID), "at the patient's wish", "a test")
    answers = stage.store(instance)
    assert status(answers) == 0x0124
    assert "withdrawn" in comment(answers) or comment(answers).startswith("The instance")


@reaches("C-STORE", 0x0212)
def there_is_no_data_set(stage):
    assert status(stage.store(data_set=b"")) == 0x0212


# C-FIND


@reaches("C-FIND", 0xFF00, 0x0000)
def found(stage):
    answers = stage.find(identifier(PatientID="", **STUDY))
    assert [command[Element.STATUS] for command, _ in answers] == [0xFF00, 0x0000]


@reaches("C-FIND", 0xFF01)
def found_without_the_keys_of_a_lower_level(stage):
    answers = stage.find(identifier(SeriesDescription="Arm", **STUDY))
    assert [command[Element.STATUS] for command, _ in answers] == [0xFF01, 0x0000]


@reaches("C-FIND", 0xFF01)
def found_without_a_key_of_bytes(stage):
    keys = {"SeriesInstanceUID": uid("series"), "ICCProfile": b"\0\0"}
    *found, last = [
        command[Element.STATUS] for command, _ in stage.find(identifier("IMAGE", **keys, **STUDY))
    ]
    assert (set(found), last) == ({0xFF01}, 0x0000)


@reaches("C-FIND", 0xC001)
def asked_for_more_than_anybody_needs(stage):
    asked = Dataset()
    asked.QueryRetrieveLevel, asked.StudyInstanceUID = "STUDY", ""
    for number in range(MOST_KEYS):
        asked.add_new(0x00111000 + number, "LO", "")
    answers = stage.find(encoded(asked))
    assert (status(answers), comment(answers)) == (0xC001, "the data set has more than 1024 elements")


@reaches("C-FIND", 0xFE00)
def a_query_is_cancelled_in_the_middle(stage):
    cancelled = threading.Event()

    def slowly(*_):
        for number in range(100):
            yield {"0020000D": {"vr": "UI", "Value": [f"1.2.{number}"]}}
            assert cancelled.wait(20)

    stage.patch.setattr("app.dimse.sources.search_attributes", slowly)
    with stage.peer(FIND) as peer:
        peer.ask(1, stage.command(Kind.C_FIND_RQ, FIND), identifier(StudyInstanceUID=""))
        command, _ = peer.message()
        assert command[Element.STATUS] == 0xFF00
        cancel(peer)
        cancelled.set()
        assert [command[Element.STATUS] for command, _ in peer.answers()] == [0xFE00]


@reaches("C-FIND", 0xA700)
def a_search_that_takes_too_long(stage):
    stage.patch.setattr("app.dimse.sources.search_attributes", raising(SearchTooBroad("Narrow it.")))
    answers = stage.find()
    assert (status(answers), comment(answers)) == (0xA700, "Narrow it.")


# Storage commitment


@reaches("N-ACTION", 0x0000, 0x0210)
def a_commitment_is_asked_for_twice(stage):
    request = commitment_request(TransactionUID=generate_uid())
    assert status(stage.commit(request)) == 0x0000
    assert status(stage.commit(request)) == 0x0210


@reaches("N-ACTION", 0x0112)
def not_the_well_known_instance(stage):
    assert status(stage.commit(requested_sop_instance_uid="1.2.3")) == 0x0112


@reaches("N-ACTION", 0x0115)
def a_request_for_commitment_that_cannot_be_read(stage):
    assert status(stage.commit(b"this is no data set")) == 0x0115
    assert status(stage.commit(commitment_request(TransactionUID=""))) == 0x0115


@reaches("N-ACTION", 0x0123)
def no_such_action(stage):
    assert status(stage.commit(action_type_id=2)) == 0x0123


@reaches("N-ACTION", 0x0212)
def a_request_for_commitment_of_nothing(stage):
    assert status(stage.commit(data_set=b"")) == 0x0212


@reaches("N-ACTION", 0x0213)
def the_catalogue_is_away_for_a_commitment(stage):
    away = raising(CatalogUnavailable("The catalogue is locked."))
    stage.patch.setattr("app.dimse.commitment.request_commitment", away)
    assert status(stage.commit()) == 0x0213
