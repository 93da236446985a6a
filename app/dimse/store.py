"""C-STORE (PS3.4 Annex B): from the wire to the file, undecoded; answered when it is durable."""

from contextlib import ExitStack

from app.archive.store import read_staged, store_received, taking_in
from app.dicom.part10 import PREAMBLE, file_meta
from app.dicom.uids import is_valid_uid
from app.dimse.association import Message
from app.dimse.commands import Element, text_of
from app.dimse.session import Session
from app.dimse.status import (
    CANNOT_UNDERSTAND,
    DATA_SET_MISMATCH,
    INVALID_OBJECT_INSTANCE,
    MISTYPED_ARGUMENT,
    NOT_AUTHORIZED,
    OUT_OF_RESOURCES,
    SOP_CLASS_NOT_SUPPORTED,
    STORE,
    SUCCESS,
    Status,
    status_of,
)
from app.dimse.toll import comment_on
from app.errors import ArchiveError
from app.storage.interface import StagedFile, Staging

Outcome = tuple[Status, str]


def store(session: Session, message: Message) -> None:
    """Receive and keep one instance; answer with what became of it."""
    if not message.has_data_set:
        _answer(session, message, (MISTYPED_ARGUMENT, "There is no data set to store"))
    elif refusal := _refusal(session, message):
        session.association.receive_data_set(message, lambda _: None)
        _answer(session, message, refusal)
    else:
        # The peer need not wait until what follows on the commit is done: the file has its place then.
        with ExitStack() as leaving:
            _answer(session, message, _receive_and_keep(session, message, leaving))


def _answer(session: Session, message: Message, outcome: Outcome) -> None:
    status, comment = outcome
    session.counts["stored" if status == SUCCESS else "refused"] += 1
    session.association.respond(message, status, comment=comment)


def _refusal(session: Session, message: Message) -> Outcome | None:
    """Return why the data set is not even kept while it arrives."""
    if "store" not in session.may:
        return NOT_AUTHORIZED, "You may not store here: ask for an entry in the peers file"
    if text_of(message.command, Element.AFFECTED_SOP_CLASS_UID) != message.context.abstract_syntax:
        return SOP_CLASS_NOT_SUPPORTED, "Affected SOP Class UID is not that of the context"
    if not is_valid_uid(text_of(message.command, Element.AFFECTED_SOP_INSTANCE_UID)):
        return INVALID_OBJECT_INSTANCE, "Affected SOP Instance UID is not a UID"
    if refusal := session.toll.refusal():
        return OUT_OF_RESOURCES, comment_on(refusal)
    return None


def _receive_and_keep(session: Session, message: Message, leaving: ExitStack) -> Outcome:
    """Write the data set behind a File Meta Information, and keep the file; `leaving` ends the staging."""
    try:
        try:
            staging = leaving.enter_context(taking_in(session.archive))
            staged = staging.new()
        except ArchiveError:
            session.association.receive_data_set(message, lambda _: None)
            raise
        _receive(session, message, staged)
        return _keep(session, message, staging, staged)
    except ArchiveError as error:
        return status_of(error, STORE, CANNOT_UNDERSTAND), str(error)


def _receive(session: Session, message: Message, staged: StagedFile) -> None:
    meta = file_meta(
        text_of(message.command, Element.AFFECTED_SOP_CLASS_UID),
        text_of(message.command, Element.AFFECTED_SOP_INSTANCE_UID),
        message.context.transfer_syntax,
    )
    failed: list[ArchiveError] = []

    def write(data: bytes | memoryview) -> None:
        # What arrives after the disk has failed still has to be taken off the wire.
        if not failed:
            try:
                staged.write(data)
            except ArchiveError as error:
                failed.append(error)

    write(PREAMBLE + meta)
    session.association.receive_data_set(message, write)
    if failed:
        raise failed[0]
    staged.finish()


def _keep(session: Session, message: Message, staging: Staging, staged: StagedFile) -> Outcome:
    received = read_staged(session.archive, staging, staged)
    if received.entry is not None:
        entry = received.entry
        if entry.sop_instance_uid != text_of(message.command, Element.AFFECTED_SOP_INSTANCE_UID):
            return DATA_SET_MISMATCH, "The SOP Instance UID is not that of the request"
        if entry.instance["sop_class_uid"] != message.context.abstract_syntax:
            return DATA_SET_MISMATCH, "The SOP Class UID is not that of the request"
    (result,) = store_received(session.archive, staging, [received], is_followed=True)
    if result.error is not None:
        raise result.error
    return SUCCESS, ""
