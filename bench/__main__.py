"""`python -m bench`: everything, or what `--only` names; the table on standard output and in build/bench."""

import argparse
from pathlib import Path

from bench.budgeting import measure_budget
from bench.dimse import measure_dimse
from bench.indexing import measure_indexing
from bench.joining import measure_joining
from bench.limiting import measure_limiting
from bench.memory import measure_large, measure_memory
from bench.mosaics import measure_mosaics
from bench.patience import measure_patience
from bench.profile import measure_profile
from bench.reading import measure_deep_pages, measure_objects, measure_pictures, measure_searches
from bench.report import Report, conditions
from bench.stage import Stage
from bench.storing import measure_storing

ALL_INSTANCES = 33_126  # rows of the ISIC 2020 metadata


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few minutes: fewer instances and rounds")
    parser.add_argument(
        "--only", action="append", metavar="NAME", help=f"one of {', '.join(PARTS)}; repeatable"
    )
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of one round of steady load")
    parser.add_argument("--instances", type=int)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("build/bench"))
    given = parser.parse_args()
    stage = Stage(
        folder=given.folder.absolute(),
        instances=given.instances or (5000 if given.quick else ALL_INSTANCES),
        real_instances=300,
        rounds=given.rounds or (3 if given.quick else 5),
        seconds=given.seconds or (2 if given.quick else 4),
        workers=given.workers,
    )
    report = Report(
        {
            **conditions(),
            "instances": f"{stage.instances} tiny, {stage.real_instances} of 1 MB",
            "rounds": f"{stage.rounds} of {stage.seconds} s",
            "our workers": stage.workers,
        }
    )
    for name, value in report.conditions.items():
        print(f"{name}: {value}")
    try:
        for name in given.only or PARTS:
            PARTS[name](stage, report)
        report.add("errors", report.errors)
    finally:
        if report.lines:
            print(f"written to {report.write(stage.folder / 'results')}")


def reading(stage: Stage, report: Report) -> None:
    stage.make_archive()
    with stage.dermzoo() as own, stage.orthanc() as orthanc:
        measure_searches(stage, report, own, orthanc)
        measure_deep_pages(stage, report, own)


def objects(stage: Stage, report: Report) -> None:
    stage.make_archive()
    with stage.dermzoo() as own, stage.small_orthanc() as orthanc, stage.nginx() as nginx:
        measure_objects(stage, report, own, orthanc, nginx)
        measure_pictures(stage, report, own, orthanc)


def limiting(stage: Stage, report: Report) -> None:
    stage.make_archive()
    with stage.limiter_on_and_off() as (on, off):
        measure_limiting(stage, report, on, off)


def storing(stage: Stage, report: Report) -> None:
    with stage.empty_dermzoo() as own, stage.empty_orthanc() as orthanc:
        measure_storing(stage, report, own, orthanc)


def memory(stage: Stage, report: Report) -> None:
    stage.make_archive()
    with stage.dermzoo() as own, stage.small_orthanc() as orthanc:
        measure_memory(stage, report, own, orthanc)
    measure_large(stage, report)


PARTS = {
    "reading": reading,
    "objects": objects,
    "limiting": limiting,
    "budget": measure_budget,
    "patience": measure_patience,
    "storing": storing,
    "indexing": measure_indexing,
    "joining": measure_joining,
    "dimse": measure_dimse,
    "memory": memory,
    "profile": measure_profile,
    "mosaics": measure_mosaics,
}

if __name__ == "__main__":
    main()
