"""What the services of one association share: who calls, what it may, and what has happened so far."""

from collections import Counter
from dataclasses import dataclass, field

from app.archive.archive import Archive
from app.dimse.association import Association
from app.dimse.peers import May, Peers
from app.dimse.toll import Toll


@dataclass
class Session:
    """One association with its caller."""

    association: Association
    archive: Archive
    peers: Peers
    toll: Toll
    address: str
    may: frozenset[May]
    ae_title: str  # ours
    counts: Counter[str] = field(default_factory=Counter)  # for the log: services and outcomes
