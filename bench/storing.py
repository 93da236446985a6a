"""Goals 13 and 14: storing by STOW-RS beside Orthanc, both syncing each file before they answer."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from bench.corpus import Made, fresh_copies
from bench.load import Posting
from bench.measure import Contender, compare
from bench.processes import Server
from bench.report import Report
from bench.stage import Stage

BOUNDARY = "bench-boundary"
CONTENT_TYPE = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
PATH = "/dicom-web/studies"


class Manner(NamedTuple):
    """One way to store: what, how many a request, over how many connections; requests in a round."""

    kind: str
    instances: int
    connections: int
    requests: int

    @property
    def measure(self) -> str:
        """What the goals call it."""
        size = {"real": "1 MB", "tiny": "20 KB"}[self.kind]
        connections = f"{self.connections} connection{'s' if self.connections > 1 else ''}"
        return f"store {size}, {self.instances} a request, {connections}"


MANNERS = (
    Manner("real", 1, 1, 60),
    Manner("real", 1, 4, 100),
    Manner("real", 100, 1, 2),
    Manner("real", 100, 4, 4),
    Manner("tiny", 1, 1, 300),
    Manner("tiny", 1, 4, 600),
    Manner("tiny", 100, 4, 12),
)


def multipart(parts: Sequence[bytes]) -> bytes:
    """Return the body of one request (PS3.18 8.6.1.2.1)."""
    head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    return b"".join(piece for part in parts for piece in (head, part, b"\r\n")) + f"--{BOUNDARY}--".encode()


def measure_storing(stage: Stage, report: Report, own: Server, orthanc: Server) -> None:
    """Measure goals 13 and 14; every instance is new to both, and the same for both."""
    templates = {"real": stage.real[0], "tiny": stage.tiny[0]}
    for manner in MANNERS:
        rounds = [_posting(templates[manner.kind], manner, number) for number in range(stage.rounds)]
        pair = {server.name: Contender(server, rounds.__getitem__) for server in (own, orthanc)}
        scenario = compare(manner.measure, "per_second", pair, stage.rounds)
        report.compared(scenario, own.name, orthanc.name)


def _posting(template: Made, manner: Manner, number: int) -> Posting:
    random = Random(f"{manner} {number}")
    bodies = [
        multipart(fresh_copies(Path(template.path), manner.instances, random)) for _ in range(manner.requests)
    ]
    return Posting(PATH, CONTENT_TYPE, bodies, manner.instances, manner.connections)
