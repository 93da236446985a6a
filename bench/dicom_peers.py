"""The servers of the DICOM network that are compared, and where C-MOVE sends to. Loopback, own folders."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench import peers
from bench.corpus import Made
from bench.processes import Server, free_port
from bench.stage import running

CLIENT = "BENCH"
SINK = "SINK"
TUNED = {"TCP_NODELAY": "1"}  # DCMTK's own switch: Nagle's algorithm off


def sink(folder: Path) -> Server:
    """Return a DCMTK storescp that takes everything and keeps nothing."""
    port = free_port()
    command = ["storescp", "--ignore", "+xa", "-aet", SINK, str(port)]
    log = folder / "sink.log"
    return Server(SINK, command, port, "", log, {**os.environ, **TUNED}, dicom_port=port, ae_title=SINK)


def dermzoo(folder: Path, workers: int, sink_port: int, *, syncs_index: bool = True) -> Server:
    """Return our server on an archive in `folder`, listening on the DICOM network too."""
    server = peers.dermzoo(folder, workers)
    if not syncs_index:
        command = [sys.executable, "-m", "bench.index_unsynced", *server.command[3:]]
        server = replace(server, name="dermzoo, index unsynced", command=command)
    port = free_port()
    known = folder / "peers.toml"
    known.write_text(f'[[peer]]\nae_title = "{SINK}"\nhost = "127.0.0.1"\nport = {sink_port}\n')
    told = {
        "DERMZOO_DIMSE": "true",
        "DERMZOO_DIMSE_PORT": str(port),
        "DERMZOO_DIMSE_ASSOCIATIONS_PER_CLIENT": "32",
        "DERMZOO_PEERS_FILE": str(known),
    }
    known.write_text(known.read_text() + _everybody_may_move())
    return replace(server, environment={**server.environment, **told}, dicom_port=port, ae_title="DERMZOO")


def _everybody_may_move() -> str:
    return (
        f'\n[[peer]]\nae_title = "{CLIENT}"\nhost = "127.0.0.1"\n'
        'may = ["echo", "find", "get", "move", "store", "commit"]\n'
    )


def orthanc(folder: Path, sink_port: int, *, tuned: bool = True) -> Server:
    """Return an Orthanc that listens on the DICOM network; it syncs what it stores, as it does by default."""
    port = free_port()
    more = {
        "DicomServerEnabled": True,
        "DicomPort": port,
        "DicomAet": "ORTHANC",
        "DicomCheckCalledAet": False,
        "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "DicomModalities": {"sink": [SINK, "127.0.0.1", sink_port]},
    }
    server = peers.orthanc(folder, more=more)
    environment = {name: value for name, value in server.environment.items() if name not in TUNED}
    return replace(
        server,
        name="Orthanc" if tuned else "Orthanc as shipped",
        environment={**environment, **(TUNED if tuned else {})},
        dicom_port=port,
        ae_title="ORTHANC",
    )


@contextmanager
def dcmqrscp(folder: Path, files: Sequence[Made]) -> Iterator[Server]:
    """Run DCMTK's own archive on these files: of at most 500 studies, it holds no more."""
    port = free_port()
    area = folder / "area"
    area.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(files), 500):
        paths = [one.path for one in files[start : start + 500]]
        subprocess.run(["dcmqridx", str(area), *paths], check=True, capture_output=True)
    configuration = folder / "dcmqrscp.cfg"
    configuration.write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 131072\nMaxAssociations = 16\n"
        "HostTable BEGIN\nHostTable END\nVendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nDCMQRSCP {area} RW (500, 1024mb) ANY\nAETable END\n"
    )
    command = ["dcmqrscp", "+xy", "-c", str(configuration)]
    log = folder / "dcmqrscp.log"
    server = Server(
        "dcmqrscp", command, port, "", log, {**os.environ, **TUNED}, dicom_port=port, ae_title="DCMQRSCP"
    )
    with running(server):
        yield server
