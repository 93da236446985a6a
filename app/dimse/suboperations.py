"""Sub-operations of C-GET and C-MOVE (PS3.4 C.4.2, C.4.3): which there are, and what becomes of them."""

import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field

from app.dicom.matching import Level, Match, Query, parse_match
from app.dicom.private_block import (
    COMMERCIAL_USE,
    CREATOR,
    CREATOR_TAG,
    LICENCE_ID,
    tag_of_element,
    values_of,
)
from app.dicom.uids import IMPLICIT_VR_LITTLE_ENDIAN
from app.dimse.association import Message
from app.dimse.commands import Element, Value
from app.dimse.identifiers import FAILED_SOP_INSTANCE_UIDS, UNIQUE_KEYS, Identifier, write
from app.dimse.sending import Destination, send_each
from app.dimse.session import Session
from app.dimse.sources import (
    AVAILABLE_TRANSFER_SYNTAX_UID,
    SOP_CLASS_UID,
    IsCancelled,
    Selected,
    Source,
)
from app.dimse.status import (
    CANCEL,
    NOT_LICENSED,
    OUT_OF_RESOURCES,
    OUT_OF_RESOURCES_SUBOPERATIONS,
    PENDING,
    SUCCESS,
    WARNING_SUBOPERATIONS,
    Status,
)
from app.dimse.toll import comment_on
from app.errors import InvalidQuery

# Pending responses are optional (PS3.4 C.4.2.3.1, C.4.3.3.1): often enough for somebody who watches. One for
# each sub-operation costs as much as a small instance does, on both sides.
PENDING_EVERY_S = 0.02
SPENT = "The budget of all callers is used up; ask for the rest later"
_TERMS = (LICENCE_ID, COMMERCIAL_USE)
_WARNINGS = range(0xB000, 0xC000)


@dataclass
class Progress:
    """The sub-operations of one retrieval so far."""

    remaining: int
    completed: int = 0
    warned: int = 0
    failed: list[str] = field(default_factory=list)  # SOP Instance UIDs
    unlicensed: int = 0  # of those that failed

    def note(self, selected: Selected, status: Status) -> None:
        """Count one sub-operation."""
        self.remaining -= 1
        self.unlicensed += status is NOT_LICENSED
        if status == SUCCESS:
            self.completed += 1
        elif status.code in _WARNINGS:
            self.warned += 1
        else:
            self.failed.append(str(selected.reference.sop_instance_uid))

    def give_up(self, rest: Sequence[Selected]) -> None:
        """Count what is not going to be sent."""
        self.failed += [str(one.reference.sop_instance_uid) for one in rest]
        self.remaining = 0

    def counts(self, *, with_remaining: bool) -> dict[Element, Value]:
        """Return the elements that say so; the last response has no remaining ones (PS3.7 9.1.3.1)."""
        counts: dict[Element, Value] = {
            Element.COMPLETED_SUBOPERATIONS: self.completed,
            Element.FAILED_SUBOPERATIONS: len(self.failed),
            Element.WARNING_SUBOPERATIONS: self.warned,
        }
        return counts | ({Element.REMAINING_SUBOPERATIONS: self.remaining} if with_remaining else {})

    def status(self) -> Status:
        """Return the last response's status (PS3.4 Tables C.4-2, C.4-3)."""
        if not self.failed:
            return SUCCESS if not self.warned else WARNING_SUBOPERATIONS
        if self.completed or self.warned:
            return WARNING_SUBOPERATIONS
        return OUT_OF_RESOURCES_SUBOPERATIONS


def select(source: Source, identifier: Identifier, is_cancelled: IsCancelled) -> list[Selected]:
    """Return the instances that an identifier addresses; raises InvalidQuery.

    At its level it has one unique key or a list of them, and nothing is matched but unique keys (C.4.2.2.1);
    beside them, as an extension, the terms of images.
    """
    if not identifier.unique_values(identifier.level):
        raise InvalidQuery(f"{identifier.level} needs its unique key")
    if any({"*", "?"} & set(value) for level in UNIQUE_KEYS for value in identifier.unique_values(level)):
        raise InvalidQuery("A unique key of a retrieval has no wild card")
    matches = tuple(
        (UNIQUE_KEYS[level], parse_match(UNIQUE_KEYS[level], "\\".join(values)))
        for level in UNIQUE_KEYS
        if (values := identifier.unique_values(level))
    )
    include = frozenset({SOP_CLASS_UID, AVAILABLE_TRANSFER_SYNTAX_UID})
    of_terms = _of_terms(identifier)
    if of_terms and not source.matches_every_key:
        raise InvalidQuery("License ID and Commercial Use are no keys of a retrieval here")
    return source.select(Query(Level.INSTANCE, (*matches, *of_terms), include), is_cancelled)


def _of_terms(identifier: Identifier) -> tuple[tuple[str, Match], ...]:
    """Return the keys that say on which terms an image is published: nobody is to get what he refuses."""
    attributes = dict(identifier.attributes)
    if not any(tag.startswith(CREATOR_TAG[:6]) for tag in attributes):  # nobody else's then, as in a search
        attributes[CREATOR_TAG] = {"vr": "LO", "Value": [CREATOR]}
    if any("InlineBinary" in attributes.get(tag_of_element(number), {}) for number in _TERMS):
        raise InvalidQuery(f"License ID and Commercial Use need their private creator {CREATOR}")
    texts = {tag_of_element(number): "\\".join(map(str, values_of(attributes, number))) for number in _TERMS}
    return tuple((tag, parse_match(tag, text)) for tag, text in texts.items() if text.strip("* "))


def send_selected(
    session: Session,
    message: Message,
    selection: Sequence[Selected],
    destination: Destination,
    is_cancelled: IsCancelled,
) -> None:
    """Send each instance, tell the caller now and then, and answer the request when all are through.

    If any must be converted, the retrieval counts as a conversion, as it does over HTTP.
    """
    if any(map(destination.needs_conversion, selection)) and (
        refusal := session.toll.refusal_of("transcode")
    ):
        session.association.respond(message, OUT_OF_RESOURCES, comment=comment_on(refusal))
        return
    progress, told_at, why = Progress(len(selection)), -math.inf, ""
    with closing(send_each(session.title.source, destination, selection, is_cancelled)) as outcomes:
        for selected, outcome in zip(selection, outcomes, strict=False):
            progress.note(selected, outcome)
            session.counts["sent" if outcome == SUCCESS else "not sent"] += 1
            if outcome != SUCCESS:
                session.association.note(outcome)
            if session.toll.had_its_time:
                why = SPENT
                progress.give_up(selection[len(selection) - progress.remaining :])
                break
            if progress.remaining and session.clock() - told_at >= PENDING_EVERY_S:
                told_at = session.clock()
                # Where instances go out on the same association, this waits for the next and goes with it.
                more = progress.counts(with_remaining=True)
                session.association.respond(message, PENDING, more=more, later=destination.is_callers)
    if progress.unlicensed:
        why = f"{progress.unlicensed} withheld: licence or attribution is not known"
    finish(session, message, progress, why)


def finish(session: Session, message: Message, progress: Progress, comment: str = "") -> None:
    """Send the last response, with the list of what failed if anything did."""
    identifier = None
    if progress.failed:
        failed = {FAILED_SOP_INSTANCE_UIDS: {"vr": "UI", "Value": progress.failed}}
        identifier = write(failed, (), implicit=message.context.transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN)
    is_whole = progress.remaining == 0
    session.association.respond(
        message,
        progress.status() if is_whole else CANCEL,
        comment=comment,
        more=progress.counts(with_remaining=not is_whole),
        identifier=identifier,
    )
