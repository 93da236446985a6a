"""A confocal mosaic of 150 megapixels, imported: how long it takes, and how much memory meanwhile."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from bench import peers
from bench.processes import Server
from bench.report import Report
from bench.stage import Stage

ROWS, COLUMNS, TILE = 10_000, 15_000, 256
MIB = 2**20


def measure_mosaics(stage: Stage, report: Report) -> None:
    """Import a TIFF file of generated tissue, as the archive writes it: tiles of 256, deflate."""
    folder = stage.folder / "mosaics"
    shutil.rmtree(folder, ignore_errors=True)
    make_set(folder / "set")
    try:
        command = peers.dermzoo_command("import", "isic", "--images", f"{folder}/set", "--metadata")
        environment = {**os.environ, "DERMZOO_DATA_DIR": str(folder / "data")}
        log = folder / "log"
        run = Server("import", [*command, f"{folder}/set/metadata.csv"], 0, "", log, environment)
        seconds, most_bytes = _watched(run)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report.add("import of a mosaic of 150 megapixels", seconds, f"{seconds:.1f} s")
    report.add("memory while it is imported", most_bytes / MIB, f"{most_bytes / MIB:.0f} MiB")


def _watched(run: Server) -> tuple[float, int]:
    """Return how long a command took, and the most memory that its processes had together."""
    most = 0
    started = time.monotonic()
    with run.log.open("wb") as log:
        run.process = subprocess.Popen(run.command, stdout=log, stderr=log, env=dict(run.environment))
        while run.process.poll() is None:
            most = max(most, run.memory_bytes())
            time.sleep(0.02)
    seconds = time.monotonic() - started
    if run.process.returncode:
        raise RuntimeError(run.log.read_text()[-2000:])
    return seconds, most


def make_set(folder: Path) -> None:
    """Write the mosaic and its row of metadata."""
    folder.mkdir(parents=True)
    tifffile.imwrite(
        folder / "ISIC_0000001.tif",
        _tiles(),
        shape=(ROWS, COLUMNS),
        dtype=np.uint8,
        tile=(TILE, TILE),
        compression="deflate",
        photometric="minisblack",
    )
    (folder / "metadata.csv").write_text(
        "isic_id,copyright_license,image_type\nISIC_0000001,CC-0,RCM: mosaic\n"
    )


def _tiles() -> Iterator[NDArray[np.uint8]]:
    y, x = np.mgrid[0:2048, 0:2048]
    noise = np.random.default_rng(7).normal(0, 6, x.shape)
    tissue = (128 + 60 * np.sin(x / 17) + 50 * np.cos(y / 23) + noise).clip(0, 255).astype(np.uint8)
    for down in range(0, ROWS, TILE):
        for across in range(0, COLUMNS, TILE):
            top, left = down * 7 % 1792, across * 3 % 1792
            yield tissue[top : top + TILE, left : left + TILE]
