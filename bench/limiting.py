"""Goal 24: what the limiter costs when nobody reaches a limit: our server with it, and without."""

from bench.load import Reading
from bench.measure import Contender, compare
from bench.processes import Server
from bench.reading import DICOM, JSON, ROOT, search_paths
from bench.report import Report
from bench.stage import Stage


def measure_limiting(stage: Stage, report: Report, on: Server, off: Server) -> None:
    """Measure goal 24; twice the rounds, since the two differ so little."""
    searches = search_paths(stage.tiny)
    loads = {
        "studies, limit 50": (searches["studies, limit 50"], JSON),
        "study by UID": (searches["study by UID"], JSON),
        "retrieve instance, 1 MB": ([one.resource for one in stage.real], DICOM),
    }
    for name, (paths, accept) in loads.items():
        load = Reading([ROOT + path for path in paths], accept, 8, stage.seconds)
        pair = {
            label: Contender(server, lambda _, load=load: load)
            for label, server in (("on", on), ("off", off))
        }
        scenario = compare(f"limiter on / off, {name}", "per_second", pair, stage.rounds * 2)
        report.compared(scenario, "on", "off")
