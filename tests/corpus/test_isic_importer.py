import csv
import gzip
import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread

from app.cage import Cage
from app.corpus.isic.files import files_without_row, list_pictures
from app.corpus.isic.importer import BATCH_FILES, Outcome, Report, import_rows
from app.corpus.isic.mapping import MappingOptions
from app.errors import ArchiveError, DuplicateInstance, NotImportable, StorageFull
from tests.corpus.pictures import asymmetric, call, jpeg_bytes

DATA = Path(__file__).parents[1] / "data" / "isic"


@dataclass
class Result:
    is_new: bool = False
    error: ArchiveError | None = None


class Held:
    """A store that keeps files in memory, by SOP Instance UID and whole bytes."""

    def __init__(self, room: int = 10**9) -> None:
        self.files: dict[str, bytes] = {}
        self.room = room

    def __call__(self, files: Sequence[bytes]) -> list[Result]:
        if len(self.files) + len(files) > self.room:
            raise StorageFull("no room")
        return [self._keep(file) for file in files]

    def _keep(self, file: bytes) -> Result:
        uid = dcmread(BytesIO(file), stop_before_pixels=True).SOPInstanceUID
        before = self.files.setdefault(uid, file)
        if before is file:
            return Result(is_new=True)
        return Result(error=None if before == file else DuplicateInstance("held with other content"))


def corpus(folder: Path, names: Sequence[str], **cells: str) -> Path:
    """A folder with one small picture and one row per name."""
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    columns = {"copyright_license": "CC-0", **cells}
    lines = [",".join(["isic_id", *columns])]
    for index, name in enumerate(names):
        (images / f"{name}.jpg").write_bytes(jpeg_bytes(asymmetric(16 + index % 7, 16)))
        lines.append(",".join([name, *columns.values()]))
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    return folder


def run(folder: Path, store: Held, options: MappingOptions | None = None, run_caged=call) -> Report:
    report = Report()
    pictures = list_pictures(folder / "images")
    seen = set()
    for outcome in import_rows(
        pictures,
        folder / "metadata.csv",
        options or MappingOptions(),
        store,
        run_caged,
        work_in=folder / "work",
    ):
        report.add(outcome)
        seen.add(outcome.isic_id)
    report.files_without_row = files_without_row(pictures, seen)
    return report


NAMES = [f"ISIC_{number:07d}" for number in range(2 * BATCH_FILES + 3)]


def test_a_second_run_finds_everything_already_there(tmp_path):
    store = Held()
    corpus(tmp_path, NAMES)
    first, second = run(tmp_path, store), run(tmp_path, store)
    assert first.counts[Outcome.IMPORTED] == second.counts[Outcome.ALREADY_THERE] == len(NAMES)
    assert len(store.files) == len(NAMES)
    assert not first.refused
    assert not second.refused


def test_an_interrupted_run_is_taken_up_again(tmp_path):
    corpus(tmp_path, NAMES)
    store = Held(room=BATCH_FILES)
    outcomes = []
    with pytest.raises(StorageFull):
        outcomes.extend(
            import_rows(
                list_pictures(tmp_path / "images"),
                tmp_path / "metadata.csv",
                MappingOptions(),
                store,
                call,
                work_in=tmp_path / "work",
            )
        )
    assert len(store.files) == BATCH_FILES
    store.room = 10**9
    report = run(tmp_path, store)
    assert report.counts[Outcome.ALREADY_THERE] == BATCH_FILES
    assert report.counts[Outcome.IMPORTED] == len(NAMES) - BATCH_FILES


def test_outcomes_before_a_failure_are_given(tmp_path):
    corpus(tmp_path, NAMES)
    outcomes = import_rows(
        list_pictures(tmp_path / "images"),
        tmp_path / "metadata.csv",
        MappingOptions(),
        Held(room=BATCH_FILES),
        call,
        work_in=tmp_path / "work",
    )
    assert [next(outcomes).outcome for _ in range(BATCH_FILES)] == [Outcome.IMPORTED] * BATCH_FILES
    with pytest.raises(StorageFull):
        next(outcomes)


def test_each_bad_image_costs_one_line_and_no_more(tmp_path):
    names = [f"ISIC_{number:07d}" for number in range(8)]
    corpus(tmp_path, names)
    images = tmp_path / "images"
    (images / f"{names[1]}.jpg").unlink()
    (images / f"{names[2]}.jpg").write_bytes(b"GIF89a")
    (images / f"{names[3]}.jpg").write_bytes(jpeg_bytes(asymmetric(64, 64))[:700])
    (images / f"{names[4]}.jpg").rename(images / f"{names[4]}.bmp")
    (images / "again").mkdir()
    (images / "again" / f"{names[5]}.JPG").write_bytes(jpeg_bytes(asymmetric(16, 16)))
    (images / f"{names[6]}.jpg").unlink()
    (images / f"{names[6]}.jpg").symlink_to(tmp_path / "metadata.csv")
    (images / "ISIC_9999999.jpg").write_bytes(jpeg_bytes(asymmetric(16, 16)))
    report = run(tmp_path, Held())
    assert report.counts[Outcome.IMPORTED] == 2
    reasons = {row.isic_id: (row.line, row.field, row.reason) for row in report.refused}
    assert set(reasons) == set(names[1:7])
    for name, expected in zip(
        names[1:7],
        [
            "no ISIC_0000001 (.jpg, .jpeg, .png, .tif, .tiff) in",
            "is neither a JPEG nor a PNG nor a TIFF file",
            "ends before its end marker",
            "no ISIC_0000004 (.jpg, .jpeg, .png, .tif, .tiff) in",
            "more than one file has that name: ISIC_0000005.jpg, again/ISIC_0000005.JPG",
            "leads out of the folder",
        ],
        strict=True,
    ):
        line, field, reason = reasons[name]
        assert line == names.index(name) + 2
        assert field == "image"
        assert expected in reason
    assert report.files_without_row == [str(images / "ISIC_9999999.jpg")]
    as_json = report.to_json()
    assert len(as_json["refused"]) == 6
    assert as_json["refused"][1]["file"] == str(images / f"{names[2]}.jpg")


def test_pipes_and_unreadable_files_do_not_hang_or_end_the_run(tmp_path):
    names = ["ISIC_0000001", "ISIC_0000002"]
    corpus(tmp_path, names)
    path = tmp_path / "images" / "ISIC_0000001.jpg"
    path.unlink()
    os.mkfifo(path)
    report = run(tmp_path, Held())
    assert [row.reason for row in report.refused] == ["is not a regular file"]
    path.unlink()
    path.symlink_to(tmp_path / "images" / "nowhere")
    assert "cannot be read" in run(tmp_path, Held()).refused[0].reason


def test_the_same_image_with_other_metadata_is_refused_and_the_first_kept(tmp_path):
    store = Held()
    corpus(tmp_path, ["ISIC_0000001"], sex="male")
    run(tmp_path, store)
    corpus(tmp_path, ["ISIC_0000001"], sex="female")
    report = run(tmp_path, store)
    assert [row.reason for row in report.refused] == ["held with other content"]
    assert len(store.files) == 1


def test_no_folder_is_said_so(tmp_path):
    with pytest.raises(NotImportable, match="is not a folder"):
        list_pictures(tmp_path / "none")


def test_pixels_are_touched_in_the_cage_only(tmp_path):
    corpus(tmp_path, ["ISIC_0000001", "ISIC_0000002", "ISIC_0000003"])
    images = tmp_path / "images"
    (images / "ISIC_0000001.jpg").write_bytes(jpeg_bytes(asymmetric(32, 32), 6))
    (images / "ISIC_0000002.jpg").write_bytes(jpeg_bytes(asymmetric(32, 32), progressive=True))
    cage = Cage(1, 2**30, 10)
    try:
        caged, plain = Held(), Held()
        assert run(tmp_path, caged, run_caged=cage.run).counts[Outcome.IMPORTED] == 3
        run(tmp_path, plain)
        assert caged.files == plain.files
    finally:
        cage.close()


def test_rows_of_the_2020_set_with_small_pictures(tmp_path):
    with gzip.open(DATA / "ISIC_2020_Training_GroundTruth_v2.csv.gz", "rt", newline="") as text:
        header, *rows = csv.reader(text)
    chosen = rows[::400]
    (tmp_path / "images").mkdir()
    for row in chosen:
        (tmp_path / "images" / f"{row[0]}.jpg").write_bytes(jpeg_bytes(asymmetric(16, 16)))
    with (tmp_path / "metadata.csv").open("w", newline="") as out:
        csv.writer(out).writerows([header, *chosen])
    store = Held()
    assert run(tmp_path, store).counts == {
        Outcome.IMPORTED: 0,
        Outcome.ALREADY_THERE: 0,
        Outcome.REFUSED: len(chosen),
    }
    options = MappingOptions("CC-BY-NC", "International Skin Imaging Collaboration")
    report = run(tmp_path, store, options)
    assert report.counts[Outcome.IMPORTED] == len(chosen)
    datasets = [dcmread(BytesIO(file), stop_before_pixels=True) for file in store.files.values()]
    assert {dataset.PatientID for dataset in datasets} == {row[1] for row in chosen}
    # What DICOM wants equal in a study or series is equal.
    for level, keywords in {
        "PatientID": ["PatientName", "PatientSex"],
        "StudyInstanceUID": ["PatientID", "PatientAge", "StudyDescription"],
        "SeriesInstanceUID": ["StudyInstanceUID", "Modality", "BodyPartExamined", "SeriesDescription"],
    }.items():
        for keyword in keywords:
            values: dict[str, set[str]] = {}
            for dataset in datasets:
                values.setdefault(dataset[level].value, set()).add(str(dataset.get(keyword)))
            assert all(len(each) == 1 for each in values.values()), keyword
    digests = {uid: sha256(file).hexdigest() for uid, file in store.files.items()}
    again = Held()
    run(tmp_path, again, options)
    assert {uid: sha256(file).hexdigest() for uid, file in again.files.items()} == digests
