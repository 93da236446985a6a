"""Rounds: the servers take turns, A B A B, so that what else the machine does falls on all alike."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Protocol

from bench.load import Sample
from bench.processes import Server


class Load(Protocol):
    """Something to do to a server."""

    def run(self, server: Server) -> Sample:
        """Do it, and tell what the server did."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A server, and the load that it gets in each round (made anew: what is stored once is not new again)."""

    server: Server
    load: Callable[[int], Load]


@dataclass
class Scenario:
    """One row of the report: a figure of ours beside a peer's."""

    name: str
    figure: str  # an attribute of Sample
    samples: dict[str, list[Sample]] = field(default_factory=dict)

    def median(self, server: str, figure: str = "") -> float:
        """Return the median of the rounds."""
        return statistics.median(getattr(sample, figure or self.figure) for sample in self.samples[server])

    def ratio(self, own: str, peer: str) -> float:
        """Return the median of the ratios of each round, ours to the peer's."""
        pairs = zip(self.samples[own], self.samples[peer], strict=True)
        return statistics.median(
            getattr(a, self.figure) / getattr(b, self.figure) for a, b in pairs if getattr(b, self.figure)
        )

    def errors(self, server: str) -> int:
        """Return the sum of the rounds."""
        return sum(sample.errors for sample in self.samples[server])

    def to_json(self) -> dict[str, object]:
        """Return every sample as plain JSON values."""
        samples = {name: [asdict(sample) for sample in some] for name, some in self.samples.items()}
        return {"name": self.name, "figure": self.figure, "samples": samples}


def compare(name: str, figure: str, contenders: Mapping[str, Contender], rounds: int) -> Scenario:
    """Give every contender its load in each round; the order turns round with each."""
    scenario = Scenario(name, figure, {label: [] for label in contenders})
    for number in range(rounds):
        turns = list(contenders.items())
        if number % 2:
            turns.reverse()
        for label, contender in turns:
            scenario.samples[label].append(contender.load(number).run(contender.server))
    return scenario
