"""The DIMSE listener of one process: a gate, and a thread for each association that is let in."""

import logging
import os
import socket
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field

from pynetdicom.pdu_primitives import A_ASSOCIATE

from app.archive.archive import Archive
from app.archive.commitment import Commitments
from app.dimse import pdu
from app.dimse.association import Association
from app.dimse.errors import Aborted, AssociationEnded, ProtocolError, Released
from app.dimse.gate import Gate
from app.dimse.negotiation import Refused, agree, read_request, refused_at_sight
from app.dimse.peers import Peers
from app.dimse.reports import Courier, hand_over, run_courier
from app.dimse.services import serve_message
from app.dimse.session import Session
from app.dimse.slots import Slots
from app.dimse.titles import Title, Titles
from app.dimse.toll import Toll
from app.dimse.upstreams import OpenUpstreams
from app.observability.associations import AssociationMetrics
from app.throttle.budget import Budget

IDLE_S = 30.0
PDU_S = 30.0
LINGER_S = 1.0
ABORT_S = 2.5  # until those who wait have noticed that it is over, and their peers been told
_META = pdu.HEADER_BYTES

_DENIED = Refused(1, 1, "denied by the budget")
_OVER_BUDGET = Refused(3, 2, "over the budget", is_transient=True)
_TOO_MANY = Refused(3, 2, "too many associations", is_transient=True)

logger = logging.getLogger("dermzoo.dimse")


@dataclass
class Listener:
    """What all associations of a process share."""

    archive: Archive
    budget: Budget | None
    peers: Peers
    slots: Slots
    metrics: AssociationMetrics
    titles: Titles
    upstreams: OpenUpstreams
    commitments: Commitments
    stopping: threading.Event = field(default_factory=threading.Event)  # nothing more is begun
    over: threading.Event = field(default_factory=threading.Event)  # what is under way is aborted
    courier: Courier = field(init=False)
    _threads: set[threading.Thread] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.courier = Courier(self.archive, self.commitments, self.peers, self.stopping)

    def run(self, listening: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Listen until `stopping` is set; then let what is under way end, and abort what takes too long."""
        delivering = threading.Thread(target=run_courier, args=(self.courier,), name="reports", daemon=True)
        delivering.start()
        Gate(listening, self._admit, tls, self.archive.settings.trusted_proxies).run(self.stopping)
        if self._threads:
            logger.info("stopping", extra={"facts": {"associations": len(self._threads)}})
        self._wait(self.archive.settings.shutdown_grace_s)
        self.over.set()
        self._wait(ABORT_S)
        self.commitments.close()
        self.courier.wake.set()
        delivering.join(ABORT_S)

    def _wait(self, seconds: float) -> None:
        """Wait until the associations have ended, but no longer."""
        ends = time.monotonic() + seconds
        for thread in list(self._threads):
            thread.join(max(0.0, ends - time.monotonic()))

    def _admit(self, connection: socket.socket, address: str, first: bytes) -> None:
        """Give the connection a slot and a thread, or reject it as transient."""
        slot = self.slots.take(address)
        if slot is None:
            wire = pdu.Wire(connection, idle_s=LINGER_S, pdu_s=LINGER_S)
            self._refuse(wire, address, _TOO_MANY)
            wire.close()
            return
        thread = threading.Thread(
            target=self._serve,
            args=(connection, address, first, slot),
            name=f"association {address}",
            daemon=True,
        )
        self._threads.add(thread)
        thread.start()

    def _serve(self, connection: socket.socket, address: str, first: bytes, slot: int) -> None:
        toll = Toll(self.budget, address, self.over, is_closing=self.stopping.is_set)
        wire = pdu.Wire(
            connection, idle_s=IDLE_S, pdu_s=PDU_S, pay=toll.pay, stopping=self.stopping, over=self.over
        )
        try:
            self._associate(wire, toll, address, first)
        except Exception:
            logger.exception("an association failed", extra={"facts": {"client": address}})
        finally:
            toll.close()
            os.close(slot)
            wire.linger(LINGER_S)
            wire.close()
            self._threads.discard(threading.current_thread())

    def _associate(self, wire: pdu.Wire, toll: Toll, address: str, first: bytes) -> None:
        settings = self.archive.settings
        try:
            request = read_request(first[_META:])
        except ProtocolError as error:
            _abort(wire, error)
            self._log(address, {"result": "aborted", "reason": str(error)})
            return
        title = refused_at_sight(first[_META:], request) or self._called(request, toll)
        if isinstance(title, Refused):
            self._refuse(wire, address, title, request)
            return
        agreement, acceptance = agree(request, private_too=settings.dimse_private_sop_classes)
        session = Session(
            association=Association(wire, agreement),
            archive=self.archive,
            peers=self.peers,
            toll=toll,
            address=address,
            may=self.peers.may(agreement.calling_ae_title, address, wire.certificate_sha256())
            & title.services,
            title=title,
            courier=self.courier,
        )
        self._converse(session, acceptance)

    def _called(self, request: A_ASSOCIATE, toll: Toll) -> Title | Refused:
        """Return what the caller has called, or why it may not."""
        called = request.called_ae_title.strip()
        title = self.titles.called(called)
        if title is None:
            return Refused(1, 7, f"called {called!r}")
        if refusal := toll.refusal():
            return _DENIED if refusal.is_denied else _OVER_BUDGET
        return title

    def _converse(self, session: Session, acceptance: bytes) -> None:
        """Answer request after request until the association ends; log it."""
        wire, started = session.association.wire, time.monotonic()
        result, reason = "aborted", ""
        try:
            wire.write(acceptance)
            while True:
                serve_message(session, session.association.receive())
        except Released:
            result = "released"
        except Aborted as ended:
            reason = str(ended)
        except AssociationEnded as ended:
            reason = str(ended)
            _abort(wire, ended)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            _abort(wire, error)
            logger.exception("a request failed", extra={"facts": {"client": session.address}})
        finally:
            for report in session.reports.values():
                hand_over(self.courier, report)
            outcome = {"result": result, "reason": reason, "seconds": round(time.monotonic() - started, 3)}
            self._log(session.address, outcome | _facts(session))
            self.archive.registrar.catch_up(self.archive.catalog, after=1)
            self.metrics.count(result, session.counts, wire.bytes_in, wire.bytes_out)

    def _refuse(
        self, wire: pdu.Wire, address: str, refused: Refused, request: A_ASSOCIATE | None = None
    ) -> None:
        facts: dict[str, object] = {"result": "rejected", "reason": refused.message}
        if request is not None:
            facts["calling_ae_title"] = request.calling_ae_title.strip()
            facts["called_ae_title"] = request.called_ae_title.strip()
        with suppress(AssociationEnded):
            wire.write(
                pdu.reject_pdu(transient=refused.is_transient, source=refused.source, reason=refused.reason)
            )
        self._log(address, facts)
        self.metrics.count("rejected", {}, 0, 0)

    def _log(self, address: str, facts: dict[str, object]) -> None:
        logger.info("association", extra={"facts": {"client": address, **facts}})


def _facts(session: Session) -> dict[str, object]:
    """Return what the log says of an association."""
    agreement, wire = session.association.agreement, session.association.wire
    return {
        "calling_ae_title": agreement.calling_ae_title,
        "called_ae_title": agreement.called_ae_title,
        "source": session.title.source.name,
        "implementation": agreement.implementation,
        "contexts": len(agreement.contexts),
        "counts": dict(session.counts),
        "refused": dict(session.association.refused),
        "bytes_in": wire.bytes_in,
        "bytes_out": wire.bytes_out,
        "budget_wait_s": round(session.toll.waited_s, 3),
    }


def _abort(wire: pdu.Wire, error: Exception) -> None:
    """Tell the peer that it is over."""
    with suppress(AssociationEnded):
        wire.write(pdu.abort_for(error))
