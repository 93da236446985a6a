"""The sample corpus in an Orthanc behind our proxy: what our archive holds too, to be compared with it."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from dicomweb_client import DICOMwebClient
from dicomweb_client.session_utils import create_session

from tests.proxy.conftest import CREDENTIALS, upstreams_file
from tests.proxy.orthanc import orthanc
from tests.proxy.recording import Recording, recorded
from tests.servers import Server

# As long as the tests take: what is kept stays current.
KEPT = "[upstream.cache]\nsearch_s = 3600\nmetadata_s = 3600\nobject_s = 3600"


@dataclass(frozen=True)
class Proxied:
    """A proxy in front of an Orthanc with the sample corpus, and what is asked in between."""

    server: Server
    recording: Recording
    upstream: str

    @property
    def url(self) -> str:
        """Our root of it."""
        return f"{self.server.url}/proxy/orthanc/dicom-web"

    def directly(self) -> DICOMwebClient:
        """A client of Orthanc itself."""
        session = create_session()
        session.auth = ("orthanc", "orthanc")
        return DICOMwebClient(self.upstream, session=session)

    def forget(self) -> None:
        """Make everything cold."""
        shutil.rmtree(self.server.folder / "data" / "cache" / "proxy", ignore_errors=True)


def files_of(server: Server) -> Iterator[bytes]:
    """Every instance of a server, as stored."""
    with httpx.Client(base_url=server.dicomweb_url, timeout=60) as client:
        for found in client.get("/instances").json():
            [url] = found["00081190"]["Value"]
            yield client.get(url, headers={"Accept": "application/dicom; transfer-syntax=*"}).content


@pytest.fixture(scope="session")
def proxied(sample_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    folder = tmp_path_factory.mktemp("proxied")
    with (
        orthanc(folder / "orthanc", files_of(sample_server)) as upstream,
        recorded(upstream) as recording,
    ):
        listed = upstreams_file(folder / "upstreams.toml", recording.url, CREDENTIALS, KEPT)
        server = Server(folder / "server", {"upstreams_file": str(listed)})
        try:
            yield Proxied(server.start(), recording, upstream)
        finally:
            server.stop()
