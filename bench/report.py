"""The report: one line a measure, ours beside the peer's, the ratio, and where it stands to its goal."""

import json
import os
import platform
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench.goals import GOALS
from bench.measure import Scenario

UNITS = {"per_second": "/s", "megabytes_per_second": " MB/s", "p50_ms": " ms", "p99_ms": " ms"}


@dataclass
class Report:
    """What was measured so far; printed as it comes, written at the end."""

    conditions: dict[str, object]
    lines: list[dict[str, object]] = field(default_factory=list)
    scenarios: list[Scenario] = field(default_factory=list)
    errors: int = 0

    def compared(self, scenario: Scenario, own: str, peer: str, measure: str = "") -> None:
        """Add a comparison: ours, the peer's, the ratio."""
        if scenario not in self.scenarios:
            self.scenarios.append(scenario)
            self.errors += scenario.errors(own)
        unit = UNITS[scenario.figure]
        details = {
            "p50, p95 ms": f"{scenario.median(own, 'p50_ms'):.2f}, {scenario.median(own, 'p95_ms'):.2f}",
            "peer p50": f"{scenario.median(peer, 'p50_ms'):.2f}",
            "server ms": f"{scenario.median(own, 'server_ms'):.3f}",
            "peer server ms": f"{scenario.median(peer, 'server_ms'):.3f}",
            "errors": scenario.errors(own),
            "peer errors": scenario.errors(peer),
        }
        self.add(
            measure or scenario.name,
            scenario.ratio(own, peer),
            f"{_figure(scenario.median(own))}{unit}",
            f"{_figure(scenario.median(peer))}{unit} {peer}",
            details,
        )

    def add(
        self,
        measure: str,
        value: float,
        own: str = "",
        peer: str = "",
        details: dict[str, object] | None = None,
    ) -> None:
        """Add one line."""
        goal = GOALS.get(measure)
        line: dict[str, object] = {
            "goal": goal.number if goal else "",
            "measure": measure,
            "ours": own,
            "peer": peer,
            "value": value,
            "wanted": _wanted(measure),
            "verdict": goal.verdict(value) if goal else "",
            **(details or {}),
        }
        self.lines.append(line)
        beside = f"   {own} beside {peer}" if peer else f"   {own}"
        print(
            f"{line['verdict']:7}{measure:52} {_figure(value):>8} (goal {line['wanted']}){beside}", flush=True
        )

    def markdown(self) -> str:
        """Return the table."""
        names = list(dict.fromkeys(name for line in self.lines for name in line))
        rows = [[_cell(line.get(name, "")) for name in names] for line in self.lines]
        return "\n".join(f"| {' | '.join(row)} |" for row in [names, ["---"] * len(names), *rows]) + "\n"

    def write(self, folder: Path) -> Path:
        """Write the table and, as JSON, every sample."""
        folder.mkdir(parents=True, exist_ok=True)
        stem = folder / time.strftime("%Y%m%d-%H%M%S")
        told = "\n".join(f"- {name}: {value}" for name, value in self.conditions.items())
        stem.with_suffix(".md").write_text(f"{told}\n\n{self.markdown()}")
        everything = {
            "conditions": self.conditions,
            "lines": self.lines,
            "scenarios": [scenario.to_json() for scenario in self.scenarios],
        }
        stem.with_suffix(".json").write_text(json.dumps(everything, indent=1, default=str))
        return stem.with_suffix(".md")


def conditions() -> dict[str, object]:
    """Return what the figures depend on besides us."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "processors": f"{os.cpu_count()} x {model}",
        "load average at the start": os.getloadavg()[0],
        "Python": platform.python_version(),
        "Orthanc": _version("/usr/sbin/Orthanc", "--version"),
        "nginx": _version("/usr/sbin/nginx", "-v"),
        "code": _version("git", "describe", "--always", "--dirty"),
    }


def _version(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).splitlines()[0]


def _wanted(measure: str) -> str:
    goal = GOALS.get(measure)
    if goal is None:
        return ""
    sign = ">=" if goal.way == "least" else "<="
    return f"{sign} {_figure(goal.goal)}{goal.unit}, floor {_figure(goal.floor)}{goal.unit}"


def _figure(value: float) -> str:
    if value == int(value) or value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _cell(value: object) -> str:
    return _figure(value) if isinstance(value, float) else str(value)
