"""Goal 26: `dermzoo metadata apply` with all of the 2020 set, and whether every fact comes out again."""

import itertools
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

from app.corpus.isic.rows import Row
from bench import peers
from bench.corpus import rows_of_2020
from bench.facts import counts_by_export, counts_by_qido, counts_of_rows
from bench.load import Reading, ask
from bench.measure import Contender, compare
from bench.plain import write_plain_files
from bench.processes import Server, free_port
from bench.reading import JSON, ROOT
from bench.report import Report
from bench.stage import Stage, index, running

TERMS = ("--license", "CC-BY-NC", "--attribution", "The SIIM-ISIC 2020 Challenge, generated pixels")


def measure_joining(stage: Stage, report: Report) -> None:
    """Index files that say nothing of their images, join the CSV, and ask every door."""
    folder = stage.folder / "joined"
    shutil.rmtree(folder, ignore_errors=True)
    rows = list(itertools.islice(rows_of_2020(folder), stage.instances))
    metadata = _metadata(folder, len(rows))
    files = folder / "files"
    write_plain_files(files, rows)
    archive = folder / "archive"
    index(archive, files)
    for name in ("joining the metadata", "joining them again"):
        seconds, processor_s, mebibytes, said = _apply(archive, metadata)
        done = json.loads(said)
        if done["matched"] + done["already_so"] != len(rows) or done["invalid"]:
            raise RuntimeError(f"dermzoo metadata apply says {said[:1000]}")
        details: dict[str, object] = {"processor s": f"{processor_s:.1f}", "rows": len(rows)}
        report.add(f"{name}, seconds", seconds, f"{len(rows) / seconds:,.0f}/s", details=details)
        report.add(f"{name}, peak MiB", mebibytes)
    exported, seconds = _export(archive, folder / "all.csv")
    report.add("exporting the metadata, seconds", seconds, f"{len(rows) / seconds:,.0f}/s")
    with running(peers.dermzoo(archive, stage.workers)) as server:
        _measure_searches(stage, report, server, rows)
        wanted = counts_of_rows(rows)
        wrong = int(counts_by_export(exported) != wanted)
        wrong += counts_by_qido(lambda path: _asked(server, path), wanted) != wanted
        report.add("doors that count other facts than the metadata", wrong)
    shutil.rmtree(folder)


def _metadata(folder: Path, rows: int) -> Path:
    """Return a CSV of as many rows, as it is published."""
    lines = (folder / "tiny.csv").read_text().splitlines(keepends=True)
    metadata = folder / "metadata.csv"
    metadata.write_text("".join(lines[: rows + 1]), newline="")
    return metadata


def _apply(archive: Path, metadata: Path) -> tuple[float, float, float, str]:
    """Return seconds, those of a processor, the most MiB of memory, and the report of one run."""
    command = peers.dermzoo_command("metadata", "apply", str(metadata), *TERMS, "--json")
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        env=peers.environment(archive, free_port()),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout as said:
        text = said.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"dermzoo metadata apply: exit {process.returncode}\n{text[-1000:]}")
    seconds = time.perf_counter() - started
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, text


def _export(archive: Path, target: Path) -> tuple[Path, float]:
    started = time.perf_counter()
    command = peers.dermzoo_command("metadata", "export", "-o", str(target))
    environment = peers.environment(archive, free_port())
    subprocess.run(command, env=environment, check=True, stderr=subprocess.DEVNULL)
    return target, time.perf_counter() - started


def _measure_searches(stage: Stage, report: Report, server: Server, rows: list[Row]) -> None:
    """Compare a search for a joined fact with one for the Patient ID, 25 results a page."""
    patients = sorted({row.values["patient_id"] for row in rows})[:50]
    lesions = sorted({row.values["lesion_id"] for row in rows})[:50]
    for name, paths in {
        "a common fact, a page": ["/instances?ISICSex=female&limit=25"],
        "a subtree of diagnoses, a page": ["/instances?DiagnosisLevels=Nevus&limit=25"],
        "one lesion": [f"/instances?ISICLesionID={lesion}&limit=25" for lesion in lesions],
    }.items():
        loads = {
            "facts": Reading([ROOT + path for path in paths], JSON, 1, stage.seconds),
            "PatientID": Reading(
                [f"{ROOT}/instances?PatientID={patient}&limit=25" for patient in patients],
                JSON,
                1,
                stage.seconds,
            ),
        }
        contenders = {label: Contender(server, lambda _, load=load: load) for label, load in loads.items()}
        scenario = compare(f"instances by {name} / by PatientID", "p50_ms", contenders, stage.rounds)
        report.compared(scenario, "facts", "PatientID")


def _asked(server: Server, path: str) -> tuple[int, str]:
    answer = ask(server, ROOT + path, JSON)
    if answer.status != 200:
        raise RuntimeError(f"{path} is answered {answer.status}: {answer.body[:300]!r}")
    return len(json.loads(answer.body)), answer.warning
