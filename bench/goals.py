"""What is aimed at: for each measure a goal and a floor, as ratios of ours to a peer's, or as figures."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Goal:
    """One line: `least` wants at least so much, `most` at most. The floor is what may not be missed."""

    number: int
    measure: str
    way: Literal["least", "most"]
    goal: float
    floor: float
    unit: str = "x"

    def verdict(self, value: float) -> str:
        """Say where a value stands."""
        if self._meets(value, self.goal):
            return "goal"
        return "floor" if self._meets(value, self.floor) else "MISSED"

    def _meets(self, value: float, bound: float) -> bool:
        return value >= bound if self.way == "least" else value <= bound


# Where a goal was set against Orthanc with PostgreSQL, which this run does not have, `on_sqlite` of the
# anchors (docs/reference/performance.md) turns it into one against Orthanc with SQLite.
SERIES_INSTANCES_ON_SQLITE = 163 / 37
SERIES_METADATA_ON_SQLITE = 284 / 111

GOALS = {
    goal.measure: goal
    for goal in (
        Goal(1, "studies, limit 50", "least", 60, 20),
        Goal(2, "study by PatientID", "most", 1 / 12, 1 / 5),
        Goal(2, "study by UID", "most", 1 / 12, 1 / 5),
        Goal(2, "series of a study", "most", 1 / 12, 1 / 5),
        Goal(
            3,
            "instances of a series",
            "least",
            8 * SERIES_INSTANCES_ON_SQLITE,
            4 * SERIES_INSTANCES_ON_SQLITE,
        ),
        Goal(
            4, "metadata of a series", "least", 4 * SERIES_METADATA_ON_SQLITE, 2 * SERIES_METADATA_ON_SQLITE
        ),
        Goal(4, "metadata of a study", "least", 4, 2),
        Goal(4, "metadata of a series of 100", "least", 4, 2),
        Goal(5, "instances, last page / first page", "most", 2, 5),
        Goal(5, "instances, deep pages never asked for / first page", "most", 2, 5),
        Goal(8, "retrieve instance, 1 MB, beside nginx", "least", 0.5, 0.35),
        Goal(9, "retrieve instance, 1 MB", "least", 2.5, 1.5),
        Goal(10, "retrieve frame, 1 MB", "least", 3, 2),
        Goal(11, "rendered, native size", "most", 1 / 40, 1 / 15),
        Goal(12, "thumbnail, cold", "most", 1 / 3, 1 / 2),
        Goal(12, "thumbnail, warm", "most", 1 / 30, 1 / 10),
        Goal(13, "store 1 MB, 1 a request, 1 connection", "least", 1.2, 0.9),
        Goal(14, "store 1 MB, 1 a request, 4 connections", "least", 1.0, 0.8),
        Goal(14, "store 1 MB, 100 a request, 4 connections", "least", 1.0, 0.8),
        Goal(14, "store 20 KB, 1 a request, 4 connections", "least", 1.0, 0.8),
        Goal(14, "store 20 KB, 100 a request, 4 connections", "least", 1.0, 0.8),
        Goal(15, "C-STORE 20 KB, shipped storescu / Orthanc as shipped", "least", 40, 15),
        Goal(16, "C-STORE 20 KB, tuned / Orthanc tuned", "least", 1.5, 1.0),
        Goal(17, "C-STORE 1 MB, tuned / Orthanc tuned", "least", 1.3, 1.0),
        Goal(18, "C-FIND study / dcmqrscp tuned", "most", 0.5, 1.5),
        Goal(18, "C-FIND series / dcmqrscp tuned", "most", 0.5, 1.5),
        Goal(18, "C-FIND image / dcmqrscp tuned", "most", 0.5, 1.5),
        Goal(19, "C-GET 20 KB / Orthanc tuned", "least", 1.5, 0.7),
        Goal(19, "C-MOVE 20 KB / Orthanc tuned", "least", 1.5, 0.7),
        Goal(18, "C-FIND, first answer of all at PATIENT", "most", 50, 50, " ms"),
        Goal(18, "C-FIND, first answer of all at STUDY", "most", 50, 50, " ms"),
        Goal(18, "C-FIND, first answer of all at IMAGE of a modality", "most", 50, 50, " ms"),
        Goal(20, "cold index / dcmread header on one core", "least", 2.5, 1.0),
        Goal(21, "cold index / Orthanc REST, 4 threads", "least", 10, 5),
        Goal(20, "files opened by an index of an unchanged folder", "most", 0, 0, ""),
        Goal(22, "catalogue, KB an instance", "most", 3.5, 5, "KB"),
        Goal(23, "memory idle", "most", 200, 400, "MiB"),
        Goal(23, "memory after 1,000 retrievals of 1 MB", "most", 300, 400, "MiB"),
        Goal(24, "limiter on / off, studies, limit 50", "least", 0.97, 0.9),
        Goal(24, "limiter on / off, study by UID", "least", 0.97, 0.9),
        Goal(24, "limiter on / off, retrieve instance, 1 MB", "least", 0.97, 0.9),
        Goal(24, "budget, us of a request, mmap, far", "most", 100, 100, " us"),
        Goal(24, "budget, us of a request, mmap, near", "most", 100, 100, " us"),
        Goal(24, "budget, us of a request, redis, far", "most", 250, 250, " us"),
        Goal(24, "budget, us of a request, redis, near", "most", 250, 250, " us"),
        Goal(24, "budget, p99 ms at 16 in flight, redis, near", "most", 5, 5, " ms"),
        Goal(24, "p99 beside 1,000 slow clients", "most", 2, 2),
        Goal(23, "growth for one 2 GB download", "most", 2, 2, "MiB"),
        Goal(23, "growth for each of 8 slow readers", "most", 2, 2, "MiB"),
        Goal(23, "growth for storing 2 GB", "most", 64, 64, "MiB"),
        Goal(26, "joining the metadata, seconds", "most", 10, 15, " s"),
        Goal(26, "joining the metadata, peak MiB", "most", 256, 512, "MiB"),
        Goal(26, "instances by one lesion / by PatientID", "most", 1.5, 3),
        Goal(26, "instances by a common fact, a page / by PatientID", "most", 3, 6),
        Goal(26, "instances by a subtree of diagnoses, a page / by PatientID", "most", 3, 6),
        Goal(26, "doors that count other facts than the metadata", "most", 0, 0, ""),
        Goal(25, "errors", "most", 0, 0, ""),
    )
}
