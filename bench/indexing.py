"""Goals 20 to 22: `dermzoo index`, beside pydicom's reading of the same headers and Orthanc's intake."""

import logging
import re
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pydicom

from bench.peers import CATALOG
from bench.report import Report
from bench.stage import Stage, index, post_files

SAMPLE = 2500  # files that Orthanc takes in, in each round


def measure_indexing(stage: Stage, report: Report) -> None:
    """Measure goals 20 to 22. The files are in the page cache for all; the catalogue is empty each time."""
    folder = stage.folder / "indexed"
    paths = [made.path for made in stage.tiny]
    for path in paths:
        Path(path).read_bytes()
    own, headers, orthanc, unsynced = [], [], [], []
    own_cpu, headers_cpu = [], []
    for number in range(stage.rounds):
        with _processor_ms(own_cpu, len(paths)):
            own.append(len(paths) / _index_anew(folder, stage.tiny_folder))
        with _processor_ms(headers_cpu, len(paths)):
            headers.append(len(paths) / _dcmread_s(stage.tiny_folder))
        sample = Random(number).sample(paths, min(SAMPLE, len(paths)))
        orthanc.append(len(sample) / _orthanc_s(stage, sample, syncs=True))
        unsynced.append(len(sample) / _orthanc_s(stage, sample, syncs=False))
    for measure, peer, name in (
        ("cold index / dcmread header on one core", headers, "dcmread"),
        ("cold index / Orthanc REST, 4 threads", orthanc, "Orthanc"),
        ("cold index / Orthanc REST, 4 threads, no fsync", unsynced, "Orthanc"),
    ):
        details = {
            "server ms": f"{statistics.median(own_cpu):.3f}",
            "peer server ms": f"{statistics.median(headers_cpu):.3f}" if peer is headers else "",
        }
        ratio = statistics.median(a / b for a, b in zip(own, peer, strict=True))
        rates = [statistics.median(some) for some in (own, peer)]
        report.add(measure, ratio, f"{rates[0]:.0f}/s", f"{rates[1]:.0f}/s {name}", details)
    _measure_again(stage, report, folder)
    _measure_size(report, folder, len(paths))
    shutil.rmtree(folder)


@contextmanager
def _processor_ms(taken: list[float], files: int) -> Iterator[None]:
    """Add what the processes started and ended within took of the processors, for each file."""

    def seconds() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    before = seconds()
    yield
    taken.append((seconds() - before) / files * 1000)


def _index_anew(folder: Path, files: Path) -> float:
    """Return the seconds of one index into an empty catalogue, start of the program and all."""
    shutil.rmtree(folder, ignore_errors=True)
    started = time.perf_counter()
    index(folder, files)
    return time.perf_counter() - started


def _orthanc_s(stage: Stage, paths: list[str], *, syncs: bool) -> float:
    with stage.empty_orthanc(syncs=syncs) as orthanc:
        started = time.perf_counter()
        post_files(orthanc, paths, 4)
        return time.perf_counter() - started


def _dcmread_s(files: Path) -> float:
    """Return the seconds that a process of its own says it took, its start left out."""
    command = [sys.executable, "-m", "bench.indexing", str(files)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _measure_again(stage: Stage, report: Report, folder: Path) -> None:
    started = time.perf_counter()
    said = index(folder, stage.tiny_folder)
    took = time.perf_counter() - started
    if f"{len(stage.tiny)} unchanged" not in said:
        raise RuntimeError(f"an index of an unchanged folder says {said!r}")
    report.add("index of an unchanged folder, seconds", took)
    trace = folder / "strace.txt"
    index(folder, stage.tiny_folder, under=("strace", "-f", "-e", "trace=open,openat", "-o", str(trace)))
    opened = len(re.findall(r'open(?:at)?\(.*\.dcm"', trace.read_text(errors="replace")))
    report.add("files opened by an index of an unchanged folder", opened)


def _measure_size(report: Report, folder: Path, instances: int) -> None:
    catalog = folder / "data" / CATALOG
    with sqlite3.connect(catalog) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        tables = connection.execute(
            "SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC LIMIT 5"
        ).fetchall()
    files = sum(file.stat().st_size for file in catalog.parent.glob(f"{CATALOG}*"))
    largest = ", ".join(f"{name} {size / instances:.0f} B" for name, size in tables)
    report.add(
        "catalogue, KB an instance",
        files / instances / 1000,
        f"{files / 1e6:.1f} MB",
        details={"of it": largest},
    )


def read_headers(files: Path) -> float:
    """Return the seconds that pydicom takes for every header below a folder, in this process."""
    logging.disable(logging.CRITICAL)
    paths = sorted(files.rglob("*.dcm"))
    started = time.perf_counter()
    for path in paths:
        pydicom.dcmread(path, stop_before_pixels=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    print(read_headers(Path(sys.argv[1])))
