"""What a folder of DICOM files holds: classes, encodings, sizes, UIDs. Nothing is catalogued or changed."""

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from app.archive.walk import walk
from app.cage import Cage
from app.catalog.entry import read_entry
from app.dicom.frames import count_frames
from app.dicom.uid_roots import uid_root
from app.errors import ArchiveError

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the profile counts of one file; read in the cage."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    modality: str
    photometric_interpretation: str
    rows: int | None
    columns: int | None
    frames: int
    size: int
    sha256: bytes
    warnings: tuple[str, ...]


def read_facts(path: str) -> Facts:
    """Read one DICOM file. Raises Unreadable or Unaddressable."""
    entry = read_entry(path)
    image = entry.instance
    return Facts(
        study_instance_uid=entry.study_instance_uid,
        series_instance_uid=entry.series_instance_uid,
        sop_instance_uid=entry.sop_instance_uid,
        sop_class_uid=image["sop_class_uid"],
        transfer_syntax_uid=image["transfer_syntax_uid"],
        modality=entry.series["modality"] or "",
        photometric_interpretation=image["photometric_interpretation"] or "",
        rows=image["rows"],
        columns=image["columns"],
        frames=count_frames(image["frames"]),
        size=entry.size,
        sha256=entry.sha256,
        warnings=entry.warnings,
    )


@dataclass(slots=True)
class Profile:
    """Counts over all files of a folder; `refused` and `passed_over` are pairs of path and reason."""

    files: int = 0
    size: int = 0  # of the instances, in bytes
    frames: int = 0
    sop_classes: Counter[str] = field(default_factory=Counter)
    transfer_syntaxes: Counter[str] = field(default_factory=Counter)
    modalities: Counter[str] = field(default_factory=Counter)
    photometric_interpretations: Counter[str] = field(default_factory=Counter)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)  # rows, columns
    uid_roots: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    refused: list[tuple[str, str]] = field(default_factory=list)
    passed_over: list[tuple[str, str]] = field(default_factory=list)
    identical: list[str] = field(default_factory=list)  # files that hold the bytes of another
    conflicts: list[str] = field(default_factory=list)  # files whose SOP Instance UID other bytes have
    _instances: dict[str, bytes] = field(default_factory=dict)  # SOP Instance UID -> SHA-256
    _series: dict[str, set[str]] = field(default_factory=dict)  # Series -> Study Instance UIDs
    _studies: set[str] = field(default_factory=set)

    @property
    def instances(self) -> int:
        """How many SOP Instance UIDs there are."""
        return len(self._instances)

    @property
    def series(self) -> int:
        """How many Series Instance UIDs there are."""
        return len(self._series)

    @property
    def studies(self) -> int:
        """How many Study Instance UIDs there are."""
        return len(self._studies)

    @property
    def series_in_several_studies(self) -> list[str]:
        """The Series Instance UIDs that more than one study has, in order."""
        return sorted(uid for uid, studies in self._series.items() if len(studies) > 1)

    def add(self, path: str, facts: Facts) -> None:
        """Count one file; copies and rivals of an instance count as files and for nothing else."""
        held = self._instances.setdefault(facts.sop_instance_uid, facts.sha256)
        if held is not facts.sha256:
            (self.identical if held == facts.sha256 else self.conflicts).append(path)
            return
        self.size += facts.size
        self.frames += facts.frames
        self.sop_classes[facts.sop_class_uid] += 1
        self.transfer_syntaxes[facts.transfer_syntax_uid] += 1
        self.modalities[facts.modality] += 1
        if facts.rows is not None and facts.columns is not None:
            self.sizes[facts.rows, facts.columns] += 1
            self.photometric_interpretations[facts.photometric_interpretation] += 1
        self.warnings.update(facts.warnings)
        self.uid_roots[uid_root(facts.sop_instance_uid)] += 1
        self._studies.add(facts.study_instance_uid)
        self._series.setdefault(facts.series_instance_uid, set()).add(facts.study_instance_uid)


def profile_folder(
    cage: Cage, folder: Path, own: Collection[Path] = (), advance: Advance = lambda _: None
) -> Profile:
    """Read every file of `folder` and below; `own` are folders to pass over, our own data."""
    found = Profile()
    root = os.path.realpath(folder)
    paths = _paths(root, {os.path.realpath(path) for path in own}, found)
    for path, outcome in cage.map(read_facts, paths):
        if isinstance(outcome, ArchiveError):
            found.refused.append((path, str(outcome)))
        else:
            found.add(path, outcome)
        advance(1)
    return found


def _paths(root: str, own: Collection[str], found: Profile) -> Iterator[str]:
    for listing in walk(root, own):
        found.refused += listing.refused
        found.passed_over += listing.passed_over
        found.files += len(listing.files)
        yield from (os.path.join(listing.folder, file.name) for file in listing.files)  # noqa: PTH118 may be no text
