"""C-FIND (PS3.4 C.4.1): the Query of QIDO-RS, asked in another language."""

from collections.abc import Iterator, Mapping
from functools import partial

from app.archive.query import search_patients
from app.catalog.attributes import matched_from
from app.dicom.json_model import Attribute
from app.dicom.matching import Level, Match, Query, Semantics, UIDList, parse_match
from app.dicom.private_block import CREATOR_TAG
from app.dicom.uids import IMPLICIT_VR_LITTLE_ENDIAN
from app.dimse.association import Message
from app.dimse.cancelling import Cancellation
from app.dimse.errors import Cancelled
from app.dimse.identifiers import (
    SERIES_INSTANCE_UID,
    STUDY_INSTANCE_UID,
    UNIQUE_KEYS,
    Identifier,
    answer,
    read_identifier,
)
from app.dimse.negotiation import Extended
from app.dimse.session import Session
from app.dimse.sop_classes import LEVELS, PATIENT_LEVEL, QUERY_RETRIEVE, Root
from app.dimse.sources import IsCancelled
from app.dimse.status import (
    CANCEL,
    NOT_AUTHORIZED,
    OUT_OF_RESOURCES,
    PENDING,
    PENDING_UNSUPPORTED_KEYS,
    QUERY,
    SUCCESS,
    UNABLE_TO_PROCESS,
    status_of,
)
from app.dimse.toll import comment_on
from app.errors import ArchiveError, InvalidQuery

_TOGETHER = 32  # answers that go out in one send, after the first


def find(session: Session, message: Message) -> None:
    """Answer a query with all that matches, one pending response each."""
    association = session.association
    data = association.receive_identifier(message)
    if "find" not in session.may:
        association.respond(message, NOT_AUTHORIZED, comment="You may not query here")
        return
    if refusal := session.toll.refusal("search"):
        association.respond(message, OUT_OF_RESOURCES, comment=comment_on(refusal))
        return
    try:
        identifier = read_identifier(data, message.context.transfer_syntax)
        is_complete = _answer_all(session, message, identifier)
    except Cancelled:
        is_complete = False
    except ArchiveError as error:
        association.respond(message, status_of(error, QUERY, UNABLE_TO_PROCESS), comment=str(error))
        return
    association.respond(message, SUCCESS if is_complete else CANCEL)


def _answer_all(session: Session, message: Message, identifier: Identifier) -> bool:
    """Send the pending responses; return False if the caller cancelled."""
    implicit = message.context.transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN
    is_doubtful = _has_unsupported_keys(identifier) or identifier.has_bytes()
    doubtful = set() if session.title.source.matches_every_key else _matched_tags(identifier)
    is_cancelled = Cancellation(session.association, message)
    for number, found in enumerate(_results(session, message, identifier, is_cancelled)):
        if is_cancelled():
            return False
        session.association.respond(
            message,
            PENDING_UNSUPPORTED_KEYS if is_doubtful or doubtful - found.keys() else PENDING,
            identifier=answer(identifier, found, session.title.ae_title, implicit=implicit),
            later=number % _TOGETHER != 0,
        )
        session.counts["found"] += 1
    return True


def _results(
    session: Session, message: Message, identifier: Identifier, is_cancelled: IsCancelled
) -> Iterator[Mapping[str, Attribute]]:
    root, _ = QUERY_RETRIEVE[message.context.abstract_syntax]
    extended = session.association.agreement.extended.get(message.context.abstract_syntax, Extended())
    require_keys(identifier, root, relational=extended.relational)
    query = query_of(identifier, extended)
    search = partial(session.title.source.search, is_cancelled=is_cancelled)
    return search_patients(search, query) if identifier.level == PATIENT_LEVEL else search(query)


def _has_unsupported_keys(identifier: Identifier) -> bool:
    """Whether a key is of a level below: it is returned empty, and nothing is matched with it (C.4.1.1.4)."""
    level = LEVELS.get(identifier.level, Level.STUDY)
    return any(
        text and matched_from(path[:8]) > level and path != CREATOR_TAG  # which says whose the others are
        for path, text in identifier.matching_keys()
    )


def _matched_tags(identifier: Identifier) -> set[str]:
    """Return the attributes that are matched: without one of them an answer is none of that match."""
    return {path[:8] for path, text in identifier.matching_keys() if text.strip("* ")}


def query_of(identifier: Identifier, extended: Extended) -> Query:
    """Build the query of an identifier; raises InvalidQuery for a value that its VR does not allow."""
    keys = list(identifier.matching_keys())
    semantics = Semantics(fuzzy=extended.fuzzy, combined_times=extended.combined_time)
    level = LEVELS.get(identifier.level, Level.STUDY)
    matches = {path: parse_match(path, text, semantics) for path, text in keys if text.strip("* ")}
    study = _take_parent(matches, STUDY_INSTANCE_UID) if level > Level.STUDY else None
    series = _take_parent(matches, SERIES_INSTANCE_UID) if level > Level.SERIES else None
    return Query(
        level=level,
        matches=tuple(matches.items()),
        include=frozenset(path[:8] for path, _ in keys),
        study_instance_uid=study,
        series_instance_uid=series,
    )


def _take_parent(matches: dict[str, Match], tag: str) -> str | None:
    """Take the unique key of a level above out of the keys: what is asked of there alone is then read."""
    match = matches.get(tag)
    if not isinstance(match, UIDList) or len(match.values) != 1:
        return None
    del matches[tag]
    return match.values[0]


def require_keys(identifier: Identifier, root: Root, *, relational: bool) -> None:
    """Check the levels against the model, and that each level above has its one unique key (C.4.1.2.1)."""
    levels = (
        list(UNIQUE_KEYS)
        if root is Root.PATIENT
        else [level for level in UNIQUE_KEYS if level != PATIENT_LEVEL]
    )
    if identifier.level not in levels:
        raise InvalidQuery(f"There is no level {identifier.level} in {root.value}")
    if relational:
        return
    for level in levels[: levels.index(identifier.level)]:
        values = identifier.unique_values(level)
        if len(values) != 1 or "*" in values[0] or "?" in values[0]:
            raise InvalidQuery(f"{identifier.level} needs the unique key of {level}, or relational queries")
