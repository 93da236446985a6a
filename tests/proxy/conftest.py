"""One Orthanc for the whole run, and a server of ours in front of it, with a recording between the two."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from pydicom.dataset import Dataset

from tests.factories import instance_bytes, make_instance
from tests.proxy.orthanc import orthanc
from tests.proxy.recording import Recording, recorded
from tests.servers import PROJECT, Server, free_port


def requested(step: str) -> Dataset:
    """An item of Request Attributes Sequence."""
    item = Dataset()
    item.ScheduledProcedureStepID = step
    return item


PICTURES = {
    f"p{number}": instance_bytes(make_instance(f"p{number}", study="p", series="s", jpeg=True))
    for number in range(1, 4)
}
# Nobody asks for it but the test that counts how often it is downloaded.
ALONE = instance_bytes(make_instance("alone", study="alone", series="alone", jpeg=True, PatientID="ALONE"))
# Of other names, in other letters, with a sequence.
OTHERS = [
    instance_bytes(
        make_instance(
            f"other {number}",
            study=f"other {number % 2}",
            series=f"other {number % 2}",
            rows=48,
            columns=64,
            PatientID=f"OTHER_{number % 2}",
            PatientName=("Müller^Jörg", "Doe^Jane")[number % 2],
            StudyDate=f"202105{number % 2 + 10}",
            StudyTime="101112",
            StudyID=f"S{number % 2}",
            InstanceNumber=number,
            RequestAttributesSequence=[requested(f"STEP {number}")],
        )
    )
    for number in range(4)
]
MR = (PROJECT / "tests" / "data" / "dicom" / "valid" / "MR_small_implicit.dcm").read_bytes()


@dataclass(frozen=True)
class Between:
    """The upstream's own root, what is asked of it, and our server."""

    upstream: str
    dicom_port: int
    recording: Recording
    server: Server

    @property
    def url(self) -> str:
        """Our root of the upstream."""
        return f"{self.server.url}/proxy/orthanc/dicom-web"

    @property
    def inner_addresses(self) -> list[str]:
        """What must not stand in any answer."""
        return [url.split("/")[2] for url in (self.upstream, self.recording.url)]


def upstreams_file(path: Path, url: str, *lines: str, name: str = "orthanc") -> Path:
    """Write an upstreams file that names one server of this machine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = [f'[[upstream]]\nname = "{name}"\nurl = "{url}"\nallow_private = true', *lines]
    path.write_text("\n".join(text), encoding="utf-8")
    return path


CREDENTIALS = '[upstream.credentials]\ntype = "basic"\nusername = "orthanc"\npassword = "orthanc"'


@pytest.fixture(scope="session")
def between(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Between]:
    folder = tmp_path_factory.mktemp("proxy")
    dicom_port = free_port()
    with (
        orthanc(folder / "orthanc", [*PICTURES.values(), ALONE, MR, *OTHERS], dicom_port) as upstream,
        recorded(upstream) as recording,
    ):
        listed = upstreams_file(
            folder / "upstreams.toml", recording.url, 'methods = ["GET", "POST"]', CREDENTIALS
        )
        server = Server(folder / "server", {"upstreams_file": str(listed)})
        try:
            yield Between(upstream, dicom_port, recording, server.start(workers=2))
        finally:
            server.stop()


@pytest.fixture
def client(between: Between) -> Iterator[httpx.Client]:
    """A client of our root of the upstream; what was asked before is forgotten."""
    between.recording.taken()
    with httpx.Client(base_url=between.url, timeout=60) as client:
        yield client
