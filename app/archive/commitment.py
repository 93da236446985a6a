"""Storage commitment (PS3.4 Annex J, PS3.18 chapter 13), whichever door asks for it.

Whoever is told that an instance is committed may delete their own copy. So each file is read, and its
content compared with what was stored, before that is said; and a file that was indexed where it lies is
not committed: it may be the very copy that they delete.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from enum import IntEnum

from app.archive.archive import Archive
from app.archive.verify import content_digest
from app.catalog.commitments import (
    Assessed,
    Commitment,
    Kept,
    SopReference,
    add_commitment,
    complete_commitment,
    find_commitment,
    kept_instances,
)
from app.catalog.reports import add_report
from app.errors import DuplicateTransaction, InstanceUnavailable, InvalidQuery, NotFound

MOST_REFERENCES = 100_000


class FailureReason(IntEnum):
    """Why an instance is not committed (PS3.3 C.14.1.1)."""

    PROCESSING_FAILURE = 0x0110  # its file is damaged, or is not in our keeping
    NO_SUCH_INSTANCE = 0x0112
    CLASS_INSTANCE_CONFLICT = 0x0119


def request_commitment(
    archive: Archive,
    transaction_uid: str,
    references: Sequence[SopReference],
    requested_by: str,
    *,
    report_due: datetime | None = None,
) -> None:
    """Keep a request; its result is made by Commitments or assess().

    `report_due`: when its requestor is to be told of the result, if it is a peer that is told.
    Raises DuplicateTransaction, InvalidQuery or CatalogUnavailable.
    """
    if not 0 < len(references) <= MOST_REFERENCES:
        raise InvalidQuery(f"A request for storage commitment names 1 to {MOST_REFERENCES} instances.")
    with archive.catalog.write() as connection:
        if not add_commitment(connection, transaction_uid, references, requested_by, _now()):
            raise DuplicateTransaction(
                f"The Transaction UID {transaction_uid} names another request; take a new one."
            )
        if report_due is not None:
            add_report(connection, transaction_uid, requested_by, report_due)


def commitment_of(archive: Archive, transaction_uid: str) -> Commitment:
    """Return a request and its result, if there is one yet; raises NotFound."""
    with archive.catalog.read() as connection:
        found = find_commitment(connection, transaction_uid)
    if found is None:
        raise NotFound(f"There is no request for storage commitment with the UID {transaction_uid}.")
    return found


def assess(
    archive: Archive, references: Sequence[SopReference], is_stopping: Callable[[], bool] = lambda: False
) -> list[Assessed] | None:
    """Look at each instance, and read its file; None if it was stopped meanwhile."""
    with archive.catalog.read() as connection:
        kept = dict(kept_instances(connection, {each.sop_instance_uid for each in references}))
    assessed = []
    for reference in references:
        if is_stopping():
            return None
        reason = _failure(archive, reference, kept.get(reference.sop_instance_uid))
        assessed.append(Assessed(reference, reason))
    return assessed


class Commitments:
    """Makes results in the background, one after the other; to be closed before the archive.

    What a process leaves undone is taken up when it is asked for again.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._threads = ThreadPoolExecutor(1, "commitment")
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._under_way: dict[str, Future[None]] = {}

    def settle(self, transaction_uid: str) -> Future[None]:
        """Make the result of a kept request; the future is done when it can be looked up."""
        with self._lock:
            under_way = self._under_way.get(transaction_uid)
            if under_way is None:
                under_way = self._threads.submit(self._settle, transaction_uid)
                self._under_way[transaction_uid] = under_way
                under_way.add_done_callback(lambda _: self._forget(transaction_uid))
            return under_way

    def close(self) -> None:
        """Stop after the file that is being read."""
        self._stopping.set()
        self._threads.shutdown(cancel_futures=True)

    def _settle(self, transaction_uid: str) -> None:
        requested = commitment_of(self._archive, transaction_uid)
        if requested.result is not None:
            return
        result = assess(self._archive, requested.references, self._stopping.is_set)
        if result is not None:
            with self._archive.catalog.write() as connection:
                complete_commitment(connection, transaction_uid, result, _now())

    def _forget(self, transaction_uid: str) -> None:
        # Not under the lock: a future that is done already calls back within settle().
        self._under_way.pop(transaction_uid, None)


def _failure(archive: Archive, reference: SopReference, kept: Kept | None) -> FailureReason | None:
    if kept is None:
        return FailureReason.NO_SUCH_INSTANCE
    if kept.sop_class_uid != reference.sop_class_uid:
        return FailureReason.CLASS_INSTANCE_CONFLICT
    if kept.key is None:
        return FailureReason.PROCESSING_FAILURE
    try:
        with archive.storage.open(kept.key) as opened:
            is_whole = opened.size == kept.size and content_digest(opened) == kept.sha256
    except InstanceUnavailable:
        is_whole = False
    return None if is_whole else FailureReason.PROCESSING_FAILURE


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
