"""The corpora: `tiny`, one instance for each row of the ISIC 2020 metadata, and `real`, of a megabyte each.

Made once with the importer's own mapping, pixels generated; kept between runs. A file that is there is whole:
each is written aside and renamed.
"""

import csv
import gzip
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from io import BytesIO, StringIO
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
from PIL import Image

from app.corpus.isic.mapping import MappingOptions, map_to_dicom
from app.corpus.isic.part10 import write_part10
from app.corpus.isic.picture import Picture, prepare_picture
from app.corpus.isic.rows import Row, read_rows

METADATA = Path(__file__).parent.parent / "tests/data/isic/ISIC_2020_Training_GroundTruth_v2.csv.gz"
OPTIONS = MappingOptions(licence_id="CC-BY-NC", attribution="The SIIM-ISIC 2020 Challenge, generated pixels")
REAL_SERIES_INSTANCES = 100
PICTURES = 16  # different ones; every instance differs by its header


class Kind(NamedTuple):
    """What the pictures of a corpus are like."""

    columns: int
    rows: int
    noise: float  # standard deviation, for a size like that of photographs
    quality: int


KINDS = {"tiny": Kind(256, 192, 20.0, 80), "real": Kind(2400, 1600, 12.0, 83)}


@dataclass(frozen=True, slots=True)
class Made:
    """One instance of a corpus."""

    path: str
    size: int
    patient_id: str
    study: str
    series: str
    instance: str

    @property
    def resource(self) -> str:
        """Its path below the service root."""
        return f"/studies/{self.study}/series/{self.series}/instances/{self.instance}"


def make_corpus(folder: Path, kind: str, instances: int) -> list[Made]:
    """Return the first instances of a corpus, making those that are not there yet, on all processors."""
    listing = folder / f"{kind}-{instances}.json"
    if not listing.exists():
        rows = rows_of_2020(folder) if kind == "tiny" else _real_rows(folder)
        batches = _batches(itertools.islice(rows, instances), 200)
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            made = [
                asdict(one)
                for some in pool.map(partial(_make, corpus_folder(folder, kind, instances), kind), batches)
                for one in some
            ]
        listing.with_suffix(".new").write_text(json.dumps(made))
        listing.with_suffix(".new").rename(listing)
    return [Made(**one) for one in json.loads(listing.read_text())]


def corpus_folder(folder: Path, kind: str, instances: int) -> Path:
    """Return where the files of a corpus are."""
    return folder / f"{kind}-{instances}"


def _batches(rows: Iterable[Row], size: int) -> Iterator[Sequence[Row]]:
    every = iter(rows)
    while batch := list(itertools.islice(every, size)):
        yield batch


def _table() -> str:
    return gzip.decompress(METADATA.read_bytes()).decode()


def rows_of_2020(folder: Path) -> Iterator[Row]:
    """Yield the rows of the published metadata."""
    return _read(folder / "tiny.csv", _table())


def _read(path: Path, text: str) -> Iterator[Row]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    for row in read_rows(path):
        if not isinstance(row, Row):
            raise TypeError(f"a row of the published metadata cannot be read: {row}")
        yield row


def _real_rows(folder: Path) -> Iterator[Row]:
    """Yield rows of patients of their own, each with one series of a hundred images."""
    published = list(csv.DictReader(StringIO(_table())))
    written = StringIO()
    table = csv.DictWriter(written, published[0].keys())
    table.writeheader()
    for number, row in enumerate(published[:5000]):
        first = published[number // REAL_SERIES_INSTANCES]
        own = {
            "image_name": f"REAL_{number:07}",
            "patient_id": f"RP_{number // REAL_SERIES_INSTANCES:07}",
            "lesion_id": f"RL_{number // REAL_SERIES_INSTANCES:07}",
        }
        same = {name: first[name] for name in ("sex", "age_approx", "anatom_site_general_challenge")}
        table.writerow(row | same | own)
    return _read(folder / "real.csv", written.getvalue())


def _make(folder: Path, kind: str, rows: Sequence[Row]) -> list[Made]:
    return [_make_one(folder, kind, row) for row in rows]


def _make_one(folder: Path, kind: str, row: Row) -> Made:
    dataset = map_to_dicom(row, picture(kind, sum(row.isic_id.encode()) % PICTURES), OPTIONS)
    # About a hundred in a folder.
    path = folder / row.isic_id[-5:-2] / f"{row.isic_id}.dcm"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".new")
        aside.write_bytes(write_part10(dataset))
        aside.rename(path)
    return Made(
        str(path.absolute()),
        path.stat().st_size,
        dataset.PatientID,
        dataset.StudyInstanceUID,
        dataset.SeriesInstanceUID,
        dataset.SOPInstanceUID,
    )


@lru_cache(maxsize=64)
def picture(kind: str, number: int) -> Picture:
    """Return one of the generated pictures: a dark spot on skin, with noise."""
    columns, rows, noise, quality = KINDS[kind]
    random = np.random.default_rng(number)
    y, x = np.mgrid[0:rows, 0:columns]
    away = np.hypot((x - columns / 2) / columns, (y - rows / 2) / rows)
    spot = 1 / (1 + np.exp((0.15 + number / 100 - away) * 40))
    colour = np.array([90, 50, 40]) + spot[..., None] * np.array([120, 120, 110])
    pixels = np.clip(colour + random.normal(0, noise, (rows, columns, 3)), 0, 255).astype(np.uint8)
    encoded = BytesIO()
    Image.fromarray(pixels).save(encoded, "JPEG", quality=quality, subsampling="4:2:2")
    return prepare_picture(encoded.getvalue(), lambda function, *args: function(*args))


def fresh_copies(template: Path, count: int, random: Random) -> list[bytes]:
    """Return files like a made one, each with a SOP Instance UID of its own of the same length."""
    content = template.read_bytes()
    uid = next(uid for uid in _uids(content) if content.count(uid) == 2)  # file meta and data set
    copies = []
    for _ in range(count):
        digits = "".join(random.choices("123456789", k=len(uid) - 5))
        copies.append(content.replace(uid, b"2.25." + digits.encode()))
    return copies


def _uids(content: bytes) -> Iterator[bytes]:
    """Yield the value of (0002,0003), Media Storage SOP Instance UID, without its padding."""
    at = content.index(b"\x02\x00\x03\x00UI") + 8
    length = int.from_bytes(content[at - 2 : at], "little")
    yield content[at : at + length].rstrip(b"\0")
