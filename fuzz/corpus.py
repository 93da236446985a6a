"""What comes from the ISIC archive, and from those who have files of theirs beside it."""

import io
import tempfile
from collections.abc import Iterable
from pathlib import Path

import imagecodecs
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import tifffile

from app.corpus.isic.dictionary import Dictionary
from app.corpus.isic.exporting import Exported, read_mapping
from app.corpus.isic.raster import describe, unpack
from app.corpus.isic.rows import BadRow, Row, read_rows
from app.corpus.isic.sources import Snapshot, page_of
from app.corpus.isic.tables import Layout, write_csv, write_json_lines
from fuzz.target import Target, texts

LARGEST_RASTER = 2**20
OF_FILES = 100
_API = "https://archive.example/api/v2/images/?limit=100"


def _raster(data: bytes) -> None:
    """Read a PNG or TIFF file, and unpack it where it does not claim to be large."""
    with tempfile.TemporaryDirectory() as folder:
        path, target = Path(folder, "image"), Path(folder, "samples")
        path.write_bytes(data)
        raster = describe(str(path))
        size = raster.rows * raster.row_bytes
        if size <= LARGEST_RASTER:
            unpack(str(path), raster, 0, raster.bands, str(target))
            assert target.stat().st_size == size


def _rasters() -> list[bytes]:
    samples = np.arange(24 * 20, dtype=np.uint8).reshape(24, 20)
    files = [bytes(imagecodecs.png_encode(samples)), bytes(imagecodecs.png_encode(samples.astype(np.uint16)))]
    for options in ({}, {"tile": (16, 16), "compression": "deflate"}, {"compression": "lzw", "predictor": 2}):
        file = io.BytesIO()
        tifffile.imwrite(file, samples, **options)
        files.append(file.getvalue())
    return files


def _archive_page(data: bytes) -> None:
    """Read an answer of the archive's API, and judge its rows."""
    try:
        answer = orjson.loads(data)
    except orjson.JSONDecodeError:
        return
    if isinstance(answer, dict) and isinstance(answer.get("results"), list):
        _judged(page_of(answer, _API, _API, 1).rows)


def _judged(rows: Iterable[Row | BadRow]) -> None:
    for row in Dictionary().judged(rows):
        assert row.line


def _snapshot(data: bytes) -> None:
    """Read a Parquet file as a snapshot of all metadata."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "snapshot.parquet")
        path.write_bytes(data)
        for page in Snapshot(path, "").pages(None):
            _judged(page.rows)


def _snapshots() -> list[bytes]:
    table = pa.table(
        {
            "isic_id": ["ISIC_0000001", "ISIC_0000002"],
            "age_approx": [45, None],
            "sex": ["female", None],
            "mel_thick_mm": [0.5, None],
            "melanocytic": [True, None],
        }
    )
    files = []
    for options in ({}, {"compression": "none", "use_dictionary": False}, {"row_group_size": 1}):
        file = io.BytesIO()
        pq.write_table(table, file, **options)
        files.append(file.getvalue())
    return files


def _mapping_file(data: bytes) -> None:
    """Read the pairs of `dermzoo metadata export --fields`, and write a table of them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "keys.csv")
        path.write_bytes(data)
        layout = Layout(read_mapping(path))
        for write in (write_csv, write_json_lines):
            write(io.BytesIO(), layout, [Exported({"isic_id": "ISIC_1", "age_approx": "45"}, {"note": "=1"})])


def _metadata_csv(data: bytes) -> None:
    """Read a CSV of metadata, and judge its rows."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "metadata.csv")
        path.write_bytes(data)
        _judged(read_rows(path))


CORPUS_TARGETS = {
    "raster": Target(_raster, _rasters, few=OF_FILES),
    "metadata-csv": Target(
        _metadata_csv,
        texts(
            'isic_id,sex,age_approx,diagnosis_1,note\r\nISIC_0000001,female,45.0,Malignant,"a, b"\r\n',
            "image_name,target,mel_thick_mm,public\nISIC_0000001,1,0.5 mm,true\n",
        ),
        few=OF_FILES,
    ),
    "archive-page": Target(
        _archive_page,
        texts(
            '{"count":1,"next":"https://archive.example/api/v2/images/?cursor=bz0x","results":[{"isic_id":'
            '"ISIC_0000001","public":true,"copyright_license":"CC-0","attribution":"A","metadata":{"acquisition":'
            '{"pixels_x":1022,"image_type":"dermoscopic"},"clinical":{"age_approx":55,"mel_thick_mm":0.5}}}]}',
            '{"next":null,"results":[{"isic_id":"ISIC_0000002","metadata":{"clinical":{"mel_ulcer":false}}},null]}',
            '{"next":"http://[","results":[]}',
        ),
    ),
    "snapshot": Target(_snapshot, _snapshots, few=OF_FILES),
    "mapping-file": Target(
        _mapping_file,
        texts("internal,ISIC\nname,isic_id\nage,meta.clinical.age\nnote,note\n", "a,b\r\n"),
        few=OF_FILES,
    ),
}
