"""One real server for the whole run, holding specimens that differ in every way that matters; read-only."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pydicom
import pytest

from tests.factories import instance_bytes, make_instance, uid
from tests.servers import PROJECT, Server

SPECIMENS = PROJECT / "tests" / "data" / "dicom" / "valid"
NAMES = (
    "SC_rgb_jpeg_dcmtk",
    "MR_small_implicit",
    "liver_expb_1frame",
    "image_dfl",
    "examples_ybr_color",
    "JPEG-LL",
    "waveform_ecg",
    "sm_image_jpegls_nobot",
    "test-SR",
    "parametric_map_float",
    "chrH31",
    "color-pl",
    "mr_minimal",
)


@dataclass(frozen=True)
class Specimen:
    """One held file: its bytes and the path of its instance below the service."""

    content: bytes
    path: str
    study: str
    series: str
    sop: str


class Archive:
    """The running server, a client of its DICOMweb root, and what it holds by name."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.client = httpx.Client(base_url=server.dicomweb_url, timeout=60)
        self.held = {path.stem: specimen(path) for path in sorted(folder.rglob("*.dcm"))}

    def get(self, path: str, accept: str | None = None, **options: object) -> httpx.Response:
        """GET below the DICOMweb root."""
        return self.client.get(path, headers={"Accept": accept} if accept else {}, **options)


def specimen(path: Path) -> Specimen:
    header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
    study, series, sop = header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID
    return Specimen(
        path.read_bytes(), f"/studies/{study}/series/{series}/instances/{sop}", study, series, sop
    )


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    folder = tmp_path_factory.mktemp("archive")
    files = folder / "files"
    for name in NAMES:
        (files / name).mkdir(parents=True)
        shutil.copy(SPECIMENS / f"{name}.dcm", files / name)
    # Three instances in two series of one study, and a file that lacks its preamble.
    for number, series in ((1, "s1"), (2, "s1"), (3, "s2")):
        made = make_instance(f"p{number}", study="p", series=series, jpeg=True, InstanceNumber=number)
        (files / f"p{number}.dcm").write_bytes(instance_bytes(made))
    bare = instance_bytes(make_instance("bare", study="bare", series="bare", PatientName="No^Preamble"))
    (files / "bare.dcm").write_bytes(bare[132:])
    server = Server(folder, {"throttle": "off"})
    server.migrate()
    server.run("index", files)
    try:
        archive = Archive(server.start(), files)
        with archive.client:
            yield archive
    finally:
        server.stop()


@pytest.fixture
def photo_path() -> str:
    """The path of the first of three made photographs."""
    return f"/studies/{uid('p')}/series/{uid('s1')}/instances/{uid('p1')}"
