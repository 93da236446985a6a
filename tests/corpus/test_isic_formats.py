"""The run over PNG and TIFF files: in the cage, in bounded memory, each bad one refused by itself."""

import fcntl
import os
import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom import dcmread

from app.cage import Cage
from app.corpus.isic import importer
from app.corpus.isic.files import list_pictures
from app.corpus.isic.importer import Outcome, RowOutcome, import_rows
from app.corpus.isic.mapping import MappingOptions
from app.corpus.working import working_folder
from app.errors import StorageFailed
from tests.corpus.pictures import asymmetric, call, jpeg_bytes
from tests.corpus.rasters import made_png, noise, png_bytes, tiff_bytes

MEMORY_BYTES = 400 * 2**20


@pytest.fixture(scope="module")
def cage() -> Iterator[Cage]:
    cage = Cage(processes=1, memory_bytes=MEMORY_BYTES, cpu_s=10)
    yield cage
    cage.close()


class Kept:
    """A store that keeps what DICOM files say, and which it had before."""

    def __init__(self) -> None:
        self.datasets: dict[str, object] = {}

    def __call__(self, files):
        return [self._keep(file) for file in files]

    def _keep(self, file):
        dataset = dcmread(file) if isinstance(file, Path) else dcmread(BytesIO(file))
        is_new = dataset.SOPInstanceUID not in self.datasets
        self.datasets[dataset.SOPInstanceUID] = dataset
        return type("Result", (), {"error": None, "is_new": is_new})()


def run(folder: Path, files: dict[str, tuple[str, bytes]], run_caged, kept: Kept) -> dict[str, RowOutcome]:
    """Import one row for each file; the outcomes by the files' names."""
    (folder / "images").mkdir(exist_ok=True)
    lines = ["isic_id,copyright_license,image_type"]
    for name, (image_type, data) in files.items():
        (folder / "images" / name).write_bytes(data)
        lines.append(f"{Path(name).stem},CC-0,{image_type}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    outcomes = import_rows(
        list_pictures(folder / "images"),
        folder / "metadata.csv",
        MappingOptions(),
        kept,
        run_caged,
        work_in=folder / "work",
    )
    return dict(zip(files, outcomes, strict=True))


def bomb() -> bytes:
    """A TIFF file of one tile whose deflate stream holds 100 MiB."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(2**20)) for _ in range(100)) + packer.flush()
    plain = bytearray(tiff_bytes(noise(256, 256), tile=(256, 256), compression="deflate"))
    (directory,) = struct.unpack_from("<I", plain, 4)
    (count,) = struct.unpack_from("<H", plain, directory)
    for number in range(count):
        entry = directory + 2 + 12 * number
        tag = struct.unpack_from("<H", plain, entry)[0]
        if tag in {324, 325}:  # where the tile is, and how long
            struct.pack_into("<I", plain, entry + 8, len(plain) if tag == 324 else len(packed))
    return bytes(plain) + packed


def test_each_bad_file_costs_its_own_row_and_no_other(tmp_path: Path, cage: Cage) -> None:
    grey, words, colour = noise(30, 40), noise(30, 40, words=True), noise(30, 40, channels=3)
    whole = tiff_bytes(grey, tile=(16, 16), compression="deflate")
    damaged = bytearray(png_bytes(colour))
    damaged[len(damaged) // 2] ^= 0xFF
    files = {
        "ISIC_0000001.png": ("clinical: close-up", png_bytes(colour)),
        "ISIC_0000002.png": ("clinical: close-up", png_bytes(colour)[:-20]),
        "ISIC_0000003.jpg": (
            "clinical: overview",
            png_bytes(colour),
        ),  # the name is wrong, the content is not
        "ISIC_0000004.tif": ("clinical: overview", jpeg_bytes(asymmetric(16, 16))),
        "ISIC_0000005.png": ("clinical: overview", b"BM" + bytes(60)),
        "ISIC_0000006.tiff": ("RCM: mosaic", whole[: len(whole) // 2]),
        "ISIC_0000007.png": ("dermoscopic", png_bytes(words)),
        "ISIC_0000008.png": ("RCM: tile", made_png(1, 1, 16, 2, [bytes(6)])),
        "ISIC_0000009.tif": ("RCM: mosaic", bomb()),
        "ISIC_0000010.png": ("RCM: tile", bytes(damaged)),
        "ISIC_0000011.png": ("RCM: tile", made_png(70_000, 2, 8, 0, [bytes(70_000)] * 2)),
        "ISIC_0000012.png": ("RCM: mosaic", made_png(70_000, 2, 8, 0, [bytes(70_000)] * 2)),
        "ISIC_0000013.png": ("RCM: tile", b""),
        "ISIC_0000014.TIF": ("RCM: tile", tiff_bytes(words)),
    }
    kept = Kept()
    outcomes = run(tmp_path, files, cage.run, kept)
    reasons = {name: outcome.reason for name, outcome in outcomes.items() if outcome.reason}
    assert all(outcomes[name].field == "image" for name in reasons)
    expected = {
        "ISIC_0000002.png": "it ends before its end chunk",
        "ISIC_0000005.png": "is neither a JPEG nor a PNG nor a TIFF file",
        "ISIC_0000006.tiff": "is a damaged or cut TIFF file",
        "ISIC_0000007.png": "which a photograph in DICOM cannot hold: convert it to 8 bits, or say RCM: tile",
        "ISIC_0000008.png": "in colour with 16 bits a sample; convert it to 8 bits",
        "ISIC_0000009.tif": "is a damaged or cut TIFF file",  # its tile holds more than a tile
        "ISIC_0000010.png": "has damaged picture data",
        "ISIC_0000011.png": "one frame holds 65535 pixels a side",
        "ISIC_0000013.png": "is neither a JPEG nor a PNG nor a TIFF file",
    }
    assert set(reasons) == set(expected)
    for name, part in expected.items():
        assert part in reasons[name], name
    assert len(outcomes["ISIC_0000012.png"].notes) == 1
    assert "pyramid of 9 levels: 70000 x 2, 35000 x 1," in outcomes["ISIC_0000012.png"].notes[0]
    assert list((tmp_path / "work").iterdir()) == []


def test_a_second_run_finds_a_pyramid_already_there(tmp_path: Path, cage: Cage) -> None:
    kept = Kept()
    files = {"ISIC_0000001.tif": ("RCM: mosaic", tiff_bytes(noise(600, 700), tile=(256, 256)))}
    first = run(tmp_path, files, cage.run, kept)["ISIC_0000001.tif"]
    second = run(tmp_path, files, cage.run, kept)["ISIC_0000001.tif"]
    assert (first.outcome, second.outcome) == (Outcome.IMPORTED, Outcome.ALREADY_THERE)
    assert len(kept.datasets) == 2


def test_a_photograph_keeps_its_samples_and_profile_whatever_its_file(tmp_path: Path) -> None:
    colour = noise(30, 40, channels=3)
    files = {
        "ISIC_0000001.png": ("clinical: close-up", png_bytes(colour)),
        "ISIC_0000002.tif": ("TBP tile: overview", tiff_bytes(colour, photometric="rgb")),
        "ISIC_0000003.png": ("dermoscopic", png_bytes(colour[..., 0])),
    }
    kept = Kept()
    run(tmp_path, files, call, kept)
    for dataset, samples in zip(
        kept.datasets.values(), (colour, colour, np.ascontiguousarray(colour[..., 0])), strict=True
    ):
        assert (dataset.SOPClassUID, dataset.Modality) == ("1.2.840.10008.5.1.4.1.1.77.1.4", "XC")
        assert dataset.PhotometricInterpretation == ("RGB" if samples.ndim == 3 else "MONOCHROME2")
        assert dataset.LossyImageCompression == "00"
        assert "encoded without loss" in dataset.DerivationDescription
        frame = dataset.PixelData[20:]  # after the offset table and the item's header
        np.testing.assert_array_equal(imagecodecs.jpegls_decode(frame), samples)


def test_working_files_go_with_their_batch_or_their_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importer, "BATCH_FILES", 1)
    (tmp_path / "images").mkdir()
    lines = ["isic_id,copyright_license,image_type"]
    for number in range(3):
        data = png_bytes(noise(30, 40))
        (tmp_path / "images" / f"ISIC_{number}.png").write_bytes(data[:-30] if number == 1 else data)
        lines.append(f"ISIC_{number},CC-0,RCM: mosaic")
    (tmp_path / "metadata.csv").write_text("\n".join(lines) + "\n")
    seen = []
    for outcome in import_rows(
        list_pictures(tmp_path / "images"),
        tmp_path / "metadata.csv",
        MappingOptions(),
        Kept(),
        call,
        work_in=tmp_path / "work",
    ):
        seen.append(outcome.outcome)
        assert list((tmp_path / "work").glob("*/*")) == []
    assert seen == [Outcome.IMPORTED, Outcome.REFUSED, Outcome.IMPORTED]


def test_what_a_killed_run_left_is_removed_and_what_another_works_in_is_not(tmp_path: Path) -> None:
    left = tmp_path / "work" / "left"
    left.mkdir(parents=True)
    (left / "samples-0").write_bytes(b"x")
    with working_folder(tmp_path / "work") as first:
        assert not left.exists()
        with working_folder(tmp_path / "work") as second:
            assert first.is_dir()
            assert first != second
        descriptor = os.open(first, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)
    assert list((tmp_path / "work").iterdir()) == []


def test_a_folder_that_cannot_be_made_ends_the_run(tmp_path: Path) -> None:
    (tmp_path / "work").write_bytes(b"")
    with pytest.raises(StorageFailed), working_folder(tmp_path / "work"):
        pass
