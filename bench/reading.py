"""Goals 1 to 5 and 8 to 12: searches, metadata, instances, frames, pictures, beside Orthanc and nginx."""

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

from bench.corpus import Made
from bench.load import Once, Reading, ask
from bench.measure import Contender, Scenario, compare
from bench.processes import Server
from bench.report import Report
from bench.stage import Stage

JSON = "application/dicom+json"
DICOM = 'multipart/related; type="application/dicom"; transfer-syntax=*'
FRAME = 'multipart/related; type="image/jpeg"; transfer-syntax=1.2.840.10008.1.2.4.50'
ROOT = "/dicom-web"
# Orthanc takes seconds for each of eight: in a short round most of them would not be counted.
SLOW_FOR_PEER = ("studies, limit 50", "metadata of a series of 100")
LONG_S = 15
SAMPLE = 200  # different paths of one load


def _some(items: Sequence[str], seed: int = 1) -> list[str]:
    every = sorted(set(items))
    return Random(seed).sample(every, min(SAMPLE, len(every)))


def search_paths(tiny: Sequence[Made]) -> dict[str, list[str]]:
    """Return the paths of each search and metadata measure."""
    series_sizes = Counter(f"{one.study}/series/{one.series}" for one in tiny)
    fuller = [name for name, size in series_sizes.items() if size > 1] or list(series_sizes)
    return {
        "studies, limit 50": ["/studies?limit=50"],
        "study by PatientID": _some([f"/studies?PatientID={one.patient_id}" for one in tiny]),
        "study by UID": _some([f"/studies?StudyInstanceUID={one.study}" for one in tiny]),
        "series of a study": _some([f"/studies/{one.study}/series" for one in tiny]),
        "instances of a series": _some([f"/studies/{name}/instances" for name in fuller]),
        "metadata of a series": _some([f"/studies/{name}/metadata" for name in fuller]),
        "metadata of a study": _some([f"/studies/{one.study}/metadata" for one in tiny]),
    }


def check_searches(own: Server, peer: Server, paths: Sequence[str]) -> None:
    """Raise unless both answer alike: as many results, and some."""
    for path in paths[:3]:
        counts = {}
        for server in (own, peer):
            answer = ask(server, ROOT + path, JSON)
            if answer.status != 200:
                raise RuntimeError(f"{server.name} answers {answer.status} to {path}: {answer.body[:300]!r}")
            counts[server.name] = len(json.loads(answer.body))
        if len(set(counts.values())) > 1 or not all(counts.values()):
            raise RuntimeError(f"{path} is answered differently: {counts}")


def _pair(own: Server, peer: Server, load: Reading | Once) -> dict[str, Contender]:
    return {server.name: Contender(server, lambda _: load) for server in (own, peer)}


def measure_searches(stage: Stage, report: Report, own: Server, orthanc: Server) -> None:
    """Measure goals 1 to 4."""
    paths = search_paths(stage.tiny)
    first = stage.real[0]
    paths["metadata of a series of 100"] = [f"/studies/{first.study}/series/{first.series}/metadata"]
    for name, some in paths.items():
        check_searches(own, orthanc, some)
        alone = name in {"study by PatientID", "study by UID", "series of a study"}
        seconds = max(stage.seconds, LONG_S) if name in SLOW_FOR_PEER else stage.seconds
        load = Reading([ROOT + path for path in some], JSON, 1 if alone else 8, seconds)
        figure = "p50_ms" if alone else "per_second"
        report.compared(
            compare(name, figure, _pair(own, orthanc, load), stage.rounds), own.name, orthanc.name
        )


def measure_deep_pages(stage: Stage, report: Report, own: Server) -> None:
    """Measure goal 5: the last page beside the first, and deep pages that nobody asked for before."""
    count = len(stage.tiny) + len(stage.real)
    deep = Random(count).sample(range(count // 2, count - 50), min(4000, count // 3))

    def page(offset: int) -> str:
        return f"{ROOT}/instances?limit=50&offset={offset}"

    first = Contender(own, lambda _: Reading([page(0)], JSON, 1, stage.seconds))
    last = Contender(own, lambda _: Reading([page(count - 50)], JSON, 1, stage.seconds))
    scenario = compare(
        "instances, last page / first page", "p50_ms", {"last": last, "first": first}, stage.rounds
    )
    report.compared(scenario, "last", "first")
    each = 100
    fresh = Contender(
        own, lambda number: Once([page(offset) for offset in deep[number * each :][:each]], JSON)
    )
    again = Contender(own, lambda _: Once([page(0)] * each, JSON))
    scenario = compare(
        "instances, deep pages never asked for / first page",
        "p50_ms",
        {"deep": fresh, "first": again},
        stage.rounds,
    )
    report.compared(scenario, "deep", "first")


def check_objects(own: Server, peer: Server, path: str, accept: str, least: int) -> None:
    """Raise unless both send an object of that size."""
    for server in (own, peer):
        answer = ask(server, ROOT + path, accept)
        if answer.status != 200 or len(answer.body) < least:
            said = f"{answer.status} with {len(answer.body)} bytes: {answer.body[:300]!r}"
            raise RuntimeError(f"{server.name} answers {path} with {said}")


def measure_objects(stage: Stage, report: Report, own: Server, orthanc: Server, nginx: Server) -> None:
    """Measure goals 8 to 10."""
    resources = _some([one.resource for one in stage.real])
    size = min(one.size for one in stage.real)
    check_objects(own, orthanc, resources[0], DICOM, size)
    root = stage.real_folder
    files = ["/" + str(Path(one.path).relative_to(root.absolute())) for one in stage.real]
    load = Reading([ROOT + path for path in resources], DICOM, 8, stage.seconds)
    static = Reading(_some(files), "*/*", 8, stage.seconds)
    contenders = _pair(own, orthanc, load) | {nginx.name: Contender(nginx, lambda _: static)}
    scenario = compare("retrieve instance, 1 MB", "megabytes_per_second", contenders, stage.rounds)
    report.compared(scenario, own.name, orthanc.name)
    report.compared(scenario, own.name, nginx.name, "retrieve instance, 1 MB, beside nginx")
    frames = [f"{path}/frames/1" for path in resources]
    check_objects(own, orthanc, frames[0], FRAME, size * 9 // 10)
    load = Reading([ROOT + path for path in frames], FRAME, 8, stage.seconds)
    pair = _pair(own, orthanc, load)
    scenario = compare("retrieve frame, 1 MB", "megabytes_per_second", pair, stage.rounds)
    report.compared(scenario, own.name, orthanc.name)


def measure_pictures(stage: Stage, report: Report, own: Server, orthanc: Server) -> None:
    """Measure goals 11 and 12."""
    resources = [one.resource for one in stage.real]
    rendered = [f"{ROOT}{path}/rendered" for path in resources[:20]]
    check_objects(own, orthanc, rendered[0].removeprefix(ROOT), "image/jpeg", 10_000)
    own_load, load = Reading(rendered, "image/jpeg", 1, stage.seconds), Once(rendered, "image/jpeg")
    pair = {
        own.name: Contender(own, lambda _: own_load),
        orthanc.name: Contender(orthanc, lambda _: load),
    }
    report.compared(compare("rendered, native size", "p50_ms", pair, stage.rounds), own.name, orthanc.name)
    own_small = [f"{ROOT}{path}/thumbnail" for path in resources[:25]]
    peer_small = [f"{ROOT}{path}/rendered?viewport=128,128" for path in resources[:25]]
    ask(own, own_small[0], "image/jpeg")  # the child processes are started on first use

    def cold(_: int) -> Once:
        shutil.rmtree(stage.archive_folder / "data" / "cache" / "thumbnails", ignore_errors=True)
        return Once(own_small, "image/jpeg")

    pair = {
        own.name: Contender(own, cold),
        orthanc.name: Contender(orthanc, lambda _: Once(peer_small, "image/jpeg")),
    }
    report.compared(compare("thumbnail, cold", "p50_ms", pair, stage.rounds), own.name, orthanc.name)
    warm = Reading(own_small, "image/jpeg", 1, stage.seconds)
    pair[own.name] = Contender(own, lambda _: warm)
    scenario: Scenario = compare("thumbnail, warm", "p50_ms", pair, stage.rounds)
    report.compared(scenario, own.name, orthanc.name)
