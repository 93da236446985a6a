"""Debian's Orthanc as a child process: an archive by other people, with its own ideas of DICOMweb."""

import json
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.servers import free_port

PROGRAM = Path("/usr/sbin/Orthanc")
PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
START_S = 60


@contextmanager
def orthanc(folder: Path, files: Iterable[bytes], dicom_port: int | None = None) -> Iterator[str]:
    """Yield the root of its DICOMweb service, with these files in it; `orthanc` is name and password.

    With `dicom_port` it answers there on the DICOM network too, as ORTHANC.
    """
    port = free_port()
    folder.mkdir(parents=True)
    configuration = {
        "HttpPort": port,
        "DicomServerEnabled": dicom_port is not None,
        "DicomPort": dicom_port or 0,
        "DicomAet": "ORTHANC",
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {"orthanc": "orthanc"},
        "StorageDirectory": str(folder / "files"),
        "IndexDirectory": str(folder / "index"),
        "Plugins": [PLUGIN],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([PROGRAM, folder / "orthanc.json"], stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", auth=("orthanc", "orthanc")) as client:
            _wait(process, client, folder / "log")
            for content in files:
                client.post("/instances", content=content).raise_for_status()
        yield f"http://127.0.0.1:{port}/dicom-web"
    finally:
        process.terminate()
        process.wait(30)


def _wait(process: "subprocess.Popen[bytes]", client: httpx.Client, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            process.wait(0.05)  # its end is what is waited for between two questions
        except subprocess.TimeoutExpired:
            try:
                if client.get("/dicom-web/studies").status_code == 200:
                    return
            except httpx.TransportError:
                continue
        else:
            break
    raise RuntimeError(f"Orthanc did not start:\n{log.read_text(errors='replace')}")
