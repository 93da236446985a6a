"""Goals 15 to 19: the DICOM network beside Orthanc and dcmqrscp, asked by DCMTK's programs."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import NamedTuple

from bench import dicom_peers
from bench.corpus import Made, fresh_copies
from bench.dicom_client import Finding, first_answer_ms, first_related_answer_ms
from bench.dicom_peers import CLIENT, SINK, TUNED
from bench.load import Sample
from bench.measure import Contender, compare
from bench.processes import Server
from bench.report import Report
from bench.stage import Stage, post_files, running

STUDIES = (
    30  # about 900 instances for the peers that are asked: dcmqrscp takes them in with the square of the time
)
RETRIEVED = 10  # studies of one round
MODALITY = "XC"  # of all instances
QUERIES = 100  # of one round
STORED = {"tiny": 300, "real": 60}
SHIPPED_STORED = 60  # with the stalls of an untuned sender on both sides


@dataclass(frozen=True, slots=True)
class Program:
    """A load: one run of a program of DCMTK, which is to move so many instances."""

    command: Sequence[str]
    after: Sequence[str]
    instances: int
    tuned: bool = True

    def run(self, server: Server) -> Sample:
        """Put the load on a server."""
        name, *options = self.command
        inherited = {name: value for name, value in os.environ.items() if name not in TUNED}
        cpu_s = server.cpu_s()
        started = time.perf_counter()
        done = subprocess.run(
            [
                *(name, "-v", "-aet", CLIENT, "-aec", server.ae_title, *options),
                *("127.0.0.1", str(server.dicom_port), *self.after),
            ],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            env=inherited | (TUNED if self.tuned else {}),
        )
        seconds = time.perf_counter() - started
        cpu_s = server.cpu_s() - cpu_s
        said = done.stdout + done.stderr
        moved = self.instances if "Final Move Response (Success)" in said else _moved(said)
        if not moved:
            raise RuntimeError(f"{name} to {server.name}: {said[-2000:]}")
        each_ms = seconds * 1e3 / self.instances
        errors = abs(self.instances - moved)
        return Sample(moved, seconds, 0.0, each_ms, each_ms, each_ms, cpu_s * 1e3 / self.instances, errors)


@dataclass(frozen=True, slots=True)
class AtOnce:
    """A load: several programs at the same time, each on an association of its own."""

    programs: Sequence[Program]

    def run(self, server: Server) -> Sample:
        """Put the load on a server."""
        cpu_s = server.cpu_s()
        started = time.perf_counter()
        with ThreadPoolExecutor(len(self.programs)) as threads:
            samples = list(threads.map(lambda program: program.run(server), self.programs))
        seconds = time.perf_counter() - started
        cpu_s = server.cpu_s() - cpu_s
        moved = sum(sample.requests for sample in samples)
        each_ms = seconds * 1e3 / moved
        errors = sum(sample.errors for sample in samples)
        return Sample(moved, seconds, 0.0, each_ms, each_ms, each_ms, cpu_s * 1e3 / moved, errors)


def _moved(said: str) -> int:
    """Count what a program tells of: each store, or the sub-operations at the end."""
    stores = said.count("Received Store Response (Success)")
    told = re.findall(r"(?:Number of )?Completed Sub-?operations *: *(\d+)", said, re.IGNORECASE)
    return stores or max(map(int, told), default=0)


def measure_dimse(stage: Stage, report: Report) -> None:
    """Measure goals 15 to 19."""
    folder = stage.folder / "dimse"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        with running(dicom_peers.sink(folder)) as sink:
            _measure_stores(stage, report, folder, sink.dicom_port)
            _measure_reads(stage, report, folder, sink.dicom_port)
    finally:
        shutil.rmtree(folder)


class Store(NamedTuple):
    """A comparison of stores: what is sent, by how many programs at once, and how both sides are set."""

    measure: str
    kind: str
    associations: int = 1
    tuned: bool = True
    syncs_index: bool = True


STORES = (
    Store("C-STORE 20 KB, shipped storescu / Orthanc as shipped", "tiny", tuned=False),
    Store("C-STORE 20 KB, tuned / Orthanc tuned", "tiny"),
    Store("C-STORE 20 KB, tuned, index not synced / Orthanc tuned", "tiny", syncs_index=False),
    Store("C-STORE 20 KB, tuned, 4 associations / Orthanc tuned", "tiny", 4),
    Store("C-STORE 1 MB, tuned / Orthanc tuned", "real"),
    Store("C-STORE 1 MB, tuned, 4 associations / Orthanc tuned", "real", 4),
)


def _measure_stores(stage: Stage, report: Report, folder: Path, sink: int) -> None:
    both = True, False
    own = {
        syncs: dicom_peers.dermzoo(folder / f"own-{syncs}", stage.workers, sink, syncs_index=syncs)
        for syncs in both
    }
    peers = {tuned: dicom_peers.orthanc(folder / f"orthanc-{tuned}", sink, tuned=tuned) for tuned in both}
    with ExitStack() as stack:
        for server in (*own.values(), *peers.values()):
            stack.enter_context(running(server))
        files = Path(stack.enter_context(TemporaryDirectory(dir=folder)))
        for store in STORES:
            _compare_stores(stage, report, files, store, own[store.syncs_index], peers[store.tuned])


def _compare_stores(
    stage: Stage, report: Report, files: Path, store: Store, own: Server, peer: Server
) -> None:
    template = Path((stage.tiny if store.kind == "tiny" else stage.real)[0].path)
    counts = {own.name: STORED[store.kind], peer.name: STORED[store.kind] if store.tuned else SHIPPED_STORED}
    loads = {
        name: [
            AtOnce(
                [
                    _storing(
                        template,
                        files,
                        f"{store.measure} {number} {one}",
                        count // store.associations,
                        tuned=store.tuned,
                    )
                    for one in range(store.associations)
                ]
            )
            for number in range(stage.rounds)
        ]
        for name, count in counts.items()
    }
    pair = {one.name: Contender(one, loads[one.name].__getitem__) for one in (own, peer)}
    report.compared(compare(store.measure, "per_second", pair, stage.rounds), own.name, peer.name)


def _storing(template: Path, folder: Path, name: str, count: int, *, tuned: bool) -> Program:
    """Write instances that are new to a server, the same for each, and return what stores them."""
    target = folder / f"{name} {count}".replace("/", "-")
    if not target.exists():
        target.mkdir()
        for number, content in enumerate(fresh_copies(template, count, Random(name))):
            (target / f"{number}.dcm").write_bytes(content)
    return Program(["storescu", "-R", "-xy", "+sd"], [str(target)], count, tuned)


def _measure_reads(stage: Stage, report: Report, folder: Path, sink: int) -> None:
    stage.make_archive()
    files = _of_studies(stage.tiny, STUDIES)
    with ExitStack() as stack:
        own = stack.enter_context(running(dicom_peers.dermzoo(stage.archive_folder, stage.workers, sink)))
        orthanc = stack.enter_context(running(dicom_peers.orthanc(folder / "orthanc", sink)))
        post_files(orthanc, [made.path for made in files], 4)
        dcmqrscp = stack.enter_context(dicom_peers.dcmqrscp(folder / "dcmqrscp", files))
        asked = Random(1).sample(files, min(QUERIES, len(files)))
        for level in ("STUDY", "SERIES", "IMAGE"):
            load = Finding(level, [(one.study, one.series) for one in asked])
            measure = f"C-FIND {level.lower()}"
            for beside in (dcmqrscp, orthanc):
                pair = {server.name: Contender(server, lambda _, load=load: load) for server in (own, beside)}
                name = f"{measure} / {beside.name} tuned"
                report.compared(compare(name, "p50_ms", pair, stage.rounds), own.name, beside.name)
        _measure_retrieval(stage, report, files, own, orthanc)
        for level in ("PATIENT", "STUDY"):
            first = max(first_answer_ms(own, level) for _ in range(stage.rounds))
            report.add(f"C-FIND, first answer of all at {level}", first, f"{first:.1f} ms")
        first = max(first_related_answer_ms(own, MODALITY) for _ in range(stage.rounds))
        report.add("C-FIND, first answer of all at IMAGE of a modality", first, f"{first:.1f} ms")


def _measure_retrieval(
    stage: Stage, report: Report, files: Sequence[Made], own: Server, orthanc: Server
) -> None:
    retrieved = _of_studies(files, RETRIEVED)
    studies = dict.fromkeys(one.study for one in retrieved)
    keys = ["-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=" + "\\".join(studies)]
    for measure, command in (
        ("C-GET 20 KB / Orthanc tuned", ["getscu", "--ignore", "+xy", *keys]),
        ("C-MOVE 20 KB / Orthanc tuned", ["movescu", "-aem", SINK, *keys]),
    ):
        load = Program(command, [], len(retrieved))
        pair = {server.name: Contender(server, lambda _, load=load: load) for server in (own, orthanc)}
        report.compared(compare(measure, "per_second", pair, stage.rounds), own.name, orthanc.name)


def _of_studies(files: Sequence[Made], most: int) -> list[Made]:
    """Return the instances of the first studies, whole."""
    studies = set(islice(dict.fromkeys(one.study for one in files), most))
    return [one for one in files if one.study in studies]
