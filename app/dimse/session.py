"""What the services of one association share: who calls, what it may, and what has happened so far."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from app.archive.archive import Archive
from app.catalog.reports import Report
from app.dimse.association import Association
from app.dimse.peers import May, Peers
from app.dimse.reports import Courier
from app.dimse.titles import Title
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
    title: Title  # ours, that was called
    courier: Courier
    reports: dict[int, Report] = field(default_factory=dict)  # by Message ID, until they are answered
    counts: Counter[str] = field(default_factory=Counter)  # for the log: services and outcomes
    clock: Callable[[], float] = time.monotonic
