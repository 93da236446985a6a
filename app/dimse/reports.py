"""Reports of storage commitment on associations of our own: one thread of a listener delivers what is due.

What is to be reported stands in the catalogue from the request on, so that a report outlives the process.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from app.archive.archive import Archive
from app.archive.commitment import Commitments, commitment_of
from app.catalog.commitments import Commitment
from app.catalog.reports import (
    Report,
    claim_others,
    claim_report,
    forget_report,
    give_up,
    next_due,
    put_off,
)
from app.dimse.errors import AssociationEnded, Stopping
from app.dimse.event_report import report_to
from app.dimse.peers import Peers
from app.dimse.requestor import CONNECT_S, IDLE_S, PDU_S
from app.dimse.status import SUCCESS
from app.errors import ArchiveError

RETRY_AFTER_S = (5.0, 30.0, 120.0, 600.0)
CLAIM_S = CONNECT_S + 2 * IDLE_S + 2 * PDU_S  # longer than a delivery takes
LOOK_S = 10.0  # for what another process has left

logger = logging.getLogger("dermzoo.dimse")


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Courier:
    """What delivering takes; `wake` is set when there may be something to do, or when it is over."""

    archive: Archive
    commitments: Commitments
    peers: Peers
    stopping: threading.Event
    retry_after_s: Sequence[float] = RETRY_AFTER_S
    now: Callable[[], datetime] = _now
    wake: threading.Event = field(default_factory=threading.Event)

    def claimed_until(self) -> datetime:
        """Return when a claim that is made now ends."""
        return self.now() + timedelta(seconds=CLAIM_S)


def run_courier(courier: Courier) -> None:
    """Deliver what is due, and wait for what will be, until `stopping` and then `wake` are set."""
    while True:
        courier.wake.clear()
        if courier.stopping.is_set():
            return
        try:
            wait_s = deliver_next(courier)
        except Exception:  # whatever it is, the next reports are still to be delivered
            logger.exception("reports of storage commitment have to wait")
            wait_s = LOOK_S
        courier.wake.wait(wait_s)


def deliver_next(courier: Courier) -> float:
    """Deliver the report that is due longest; return for how many seconds none will be, as far as we know."""
    with courier.archive.catalog.read() as connection:
        due = next_due(connection)
    wait_s = LOOK_S if due is None else (due - courier.now()).total_seconds()
    if wait_s > 0:
        return min(wait_s, LOOK_S)
    with courier.archive.catalog.write() as connection:
        claimed = claim_report(connection, courier.now(), courier.claimed_until())
    if claimed is not None:
        _attempt(courier, claimed)
    return 0.0


def settled(courier: Courier, claimed: Report) -> Commitment:
    """Wait for the result of a request, keeping the claim; raises Stopping when it is not made any more."""
    while (found := commitment_of(courier.archive, claimed.transaction_uid)).result is None:
        if courier.stopping.is_set():
            raise Stopping("the listener stops")
        made = courier.commitments.settle(claimed.transaction_uid)
        while wait([made], CLAIM_S / 2).not_done:
            with courier.archive.catalog.write() as connection:
                put_off(connection, claimed, courier.claimed_until())
        made.result()
    return found


def hand_over(courier: Courier, claimed: Report) -> None:
    """Let a report that cannot go out on its own association go out on one of ours."""
    if courier.peers.destination(claimed.ae_title) is None:
        _tell(logging.WARNING, "a storage commitment cannot be reported", claimed, _UNKNOWN)
        return
    with _or_when_the_claim_ends(claimed), courier.archive.catalog.write() as connection:
        put_off(connection, claimed, courier.now())
    courier.wake.set()


def note_delivered(courier: Courier, claimed: Report) -> None:
    """Note that the peer has got a report."""
    with _or_when_the_claim_ends(claimed), courier.archive.catalog.write() as connection:
        forget_report(connection, claimed.transaction_uid)


def _attempt(courier: Courier, claimed: Report) -> None:
    """Deliver a report, or say when it is due again."""
    peer = courier.peers.destination(claimed.ae_title)
    if peer is None:
        _tell(logging.WARNING, "a storage commitment cannot be reported", claimed, _UNKNOWN)
        note_delivered(courier, claimed)
        return
    try:
        found = settled(courier, claimed)
        status = report_to(peer, courier.archive.settings.dimse_ae_title, found, courier.stopping)
    except Stopping:
        with courier.archive.catalog.write() as connection:
            put_off(connection, claimed, courier.now(), is_attempted=False)
    except AssociationEnded as error:
        _fail(courier, claimed, str(error), is_about_the_peer=True)
    except ArchiveError as error:
        _fail(courier, claimed, str(error))
    except Exception as error:  # as above; and this one has its further attempts
        logger.exception("a report of storage commitment failed")
        _fail(courier, claimed, f"{type(error).__name__}: {error}")
    else:
        if status == SUCCESS.code:
            note_delivered(courier, claimed)
            _tell(logging.INFO, "a storage commitment was reported", claimed)
        else:
            _fail(courier, claimed, f"{peer.ae_title} refuses the report: {status:04X}")


def _fail(courier: Courier, claimed: Report, reason: str, *, is_about_the_peer: bool = False) -> None:
    """Say when a report is due again, or give it up; what else is due to a peer that is away is as well."""
    failed, given_up, now = [claimed], [], courier.now()
    with courier.archive.catalog.write() as connection:
        if is_about_the_peer:
            failed += claim_others(connection, claimed.ae_title, now, courier.claimed_until())
        for each in failed:
            if each.attempts > len(courier.retry_after_s):
                give_up(connection, each)
                given_up.append(each)
            else:
                wait_s = courier.retry_after_s[each.attempts - 1]
                put_off(connection, each, now + timedelta(seconds=wait_s))
    for each in failed:
        is_over = each in given_up
        what = (
            "a storage commitment is reported no more" if is_over else "a storage commitment was not reported"
        )
        _tell(logging.WARNING, what, each, reason)


_UNKNOWN = "its requestor is not in the peers file"


def _tell(level: int, what: str, about: Report, reason: str = "") -> None:
    facts: dict[str, object] = {"transaction_uid": about.transaction_uid, "peer": about.ae_title}
    facts |= {"attempts": about.attempts} | ({"reason": reason} if reason else {})
    logger.log(level, what, extra={"facts": facts})


@contextmanager
def _or_when_the_claim_ends(claimed: Report) -> Iterator[None]:
    """Let a catalogue that is away be no fault of an association: the report is taken up later."""
    try:
        yield
    except ArchiveError as error:
        _tell(logging.WARNING, "a report of storage commitment was not noted", claimed, str(error))
