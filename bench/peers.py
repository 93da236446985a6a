"""The servers that are compared: ours, Orthanc with its DICOMweb plugin, nginx. Loopback, own folders."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from bench.processes import Server, free_port

PROJECT = Path(__file__).parent.parent
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")

CATALOG = "catalog.db"

# Whether glibc gives a freed megabyte back to the system, and takes it again for the next answer, depends on
# what else lies on the heap, by chance: 600 page faults a request, or none. Where two servers of ours are
# compared, none for both.
STEADY_HEAP = {"MALLOC_TRIM_THRESHOLD_": str(2**28), "MALLOC_MMAP_THRESHOLD_": str(2**25)}

# The limiter is on, as in production, with limits that nobody reaches here.
HIGH_RATES = """
[shared]
bytes = { per_second = 1e12, burst = 1e14 }
[client]
requests = { per_second = 1e9, burst = 1e12 }
bytes = { per_second = 1e12, burst = 1e14 }
[routes]
search = { per_second = 1e9, burst = 1e12 }
render = { per_second = 1e9, burst = 1e12 }
store = { per_second = 1e9, burst = 1e12 }
transcode = { per_second = 1e9, burst = 1e12 }
"""


def environment(folder: Path, port: int, *, throttle: bool = True) -> dict[str, str]:
    """Return the environment of a command on an archive of ours in `folder`.

    With the limiter off, everything but the catalogue is kept elsewhere: both may serve at the same time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rates = folder / "throttle.toml"
    rates.write_text(HIGH_RATES)
    # Modules are compiled once, as where they are installed, whatever the environment of this run says.
    left_out = "DERMZOO_", "PYTHONDONTWRITEBYTECODE"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    return inherited | {
        "DERMZOO_DATA_DIR": str(folder / ("data" if throttle else "data-limiter-off")),
        "DERMZOO_DATABASE_URL": f"sqlite:///{folder / 'data' / CATALOG}",
        "DERMZOO_PORT": str(port),
        "DERMZOO_THROTTLE": "on" if throttle else "off",
        "DERMZOO_THROTTLE_FILE": str(rates),
        "DERMZOO_ALLOW_ANONYMOUS_STORE": "true",
        "PYTHONPATH": str(PROJECT),
    }


def dermzoo_command(*arguments: str) -> list[str]:
    """Return the command line of `dermzoo ARGUMENTS`."""
    return [sys.executable, "-m", "app.cli", *arguments]


def dermzoo(folder: Path, workers: int, *, throttle: bool = True) -> Server:
    """Return our server on an archive in `folder`."""
    port = free_port()
    return Server(
        "dermzoo" if throttle else "dermzoo, limiter off",
        dermzoo_command("serve", "--port", str(port), "--workers", str(workers)),
        port,
        "/readyz",
        folder / "server.log",
        environment(folder, port, throttle=throttle),
    )


def orthanc(folder: Path, *, syncs: bool = True, more: Mapping[str, object] | None = None) -> Server:
    """Return an Orthanc whose files and SQLite index lie in `folder`; `more` settings win."""
    port = free_port()
    configuration = {
        "Name": "bench",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [str(PLUGIN)],
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "KeepAlive": True,
        "TcpNoDelay": True,
        "HttpThreadsCount": 50,
        "HttpCompressionEnabled": False,
        "StorageCompression": False,
        "SyncStorageArea": syncs,
        "OverwriteInstances": False,
        "DicomWeb": {
            "Enable": True,
            "Root": "/dicom-web/",
            "EnableWado": False,
            "StudiesMetadata": "Full",
            "SeriesMetadata": "Full",
        },
        **(more or {}),
    }
    (folder / "storage").mkdir(parents=True, exist_ok=True)
    file = folder / "orthanc.json"
    file.write_text(json.dumps(configuration, indent=2))
    return Server(
        "Orthanc",
        ["/usr/sbin/Orthanc", str(file)],
        port,
        "/system",
        folder / "orthanc.log",
        {**os.environ, "TCP_NODELAY": "1"},
    )


def nginx(folder: Path, root: Path, *, sendfile: bool = False) -> Server:
    """Return an nginx with two workers that serves `root` as static files."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    temporary = "\n".join(
        f"  {name}_temp_path {folder}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"""{user}
daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
{temporary}
  access_log off;
  sendfile {"on" if sendfile else "off"};
  keepalive_requests 1000000;
  default_type application/dicom;
  server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""
    )
    command = [
        "/usr/sbin/nginx",
        "-e",
        f"{folder}/error.log",
        "-p",
        str(folder),
        "-c",
        str(folder / "nginx.conf"),
    ]
    return Server("nginx", command, port, "/", folder / "nginx.log")
