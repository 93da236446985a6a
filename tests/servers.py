"""The real server as a child process, on a port that was free, with a data folder of its own."""

import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx

from app.auth.tokens import create_token
from app.catalog.database import Catalog
from app.catalog.migrate import migrate
from app.settings import Settings

PROJECT = Path(__file__).parent.parent
START_S = 120
STOP_S = 60

# Below what Linux gives to outgoing connections: none of them takes a port before its server listens there.
PORTS = range(20_000, 32_000)
_ports_left = iter((*PORTS[os.getpid() % len(PORTS) :], *PORTS[: os.getpid() % len(PORTS)]))


def free_port() -> int:
    """A port that nobody listens on, and that no other process of tests is given until this one ends."""
    locks = Path(tempfile.gettempdir()) / f"dermzoo-ports-{os.getuid()}"
    locks.mkdir(exist_ok=True)
    for port in _ports_left:
        lock = os.open(locks / str(port), os.O_CREAT | os.O_RDWR)  # open, and so held, while we live
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as listening:
                listening.bind(("", port))
        except OSError:
            os.close(lock)
        else:
            return port
    raise RuntimeError("no port is free")


@dataclass
class Server:
    """One archive: its folder, its commands, and its web server while it runs."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The root of the web server, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def dicomweb_url(self) -> str:
        """The root of everything public."""
        return f"{self.url}/dicom-web"

    @property
    def log(self) -> str:
        """What the server has written so far."""
        path = self.folder / "server.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every command of this archive."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("DERMZOO_")}
        return {
            **inherited,
            "DERMZOO_DATA_DIR": str(self.folder / "data"),
            "DERMZOO_PORT": str(self.port),
            **{f"DERMZOO_{name.upper()}": value for name, value in self.settings.items()},
        }

    def command(self, *arguments: str | Path) -> list[str]:
        """The command line of `dermzoo ARGUMENTS`."""
        return [sys.executable, "-m", "app.cli", *map(str, arguments)]

    def run(self, *arguments: str | Path) -> str:
        """Run `dermzoo ARGUMENTS` on this archive and return what it printed; a failure raises that."""
        done = subprocess.run(
            self.command(*arguments),
            check=False,
            capture_output=True,
            text=True,
            env=self.environment,
            cwd=PROJECT,
        )
        if done.returncode:
            said = f"{done.stdout}{done.stderr}"
            raise RuntimeError(f"dermzoo {' '.join(map(str, arguments))}: exit {done.returncode}\n{said}")
        return done.stdout

    @contextmanager
    def catalog(self) -> Iterator[Catalog]:
        """The catalogue, at the current schema, opened here: a command of its own takes a second."""
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        url = Settings(data_dir=data, database_url=self.settings.get("database_url", "")).catalog_url
        with closing(Catalog(url)) as catalog:
            migrate(catalog)
            yield catalog

    def migrate(self) -> None:
        """What `dermzoo migrate` does."""
        with self.catalog():
            pass

    def token(self, *scopes: str) -> str:
        """A new token with these scopes."""
        with self.catalog() as catalog, catalog.write() as connection:
            return create_token(connection, "", frozenset(scopes), datetime.now(UTC))

    def start(self, workers: int = 1) -> "Server":
        """Bring the catalogue up to date, start the web server and wait until it says that it is ready."""
        self.migrate()
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command("serve", "--workers", str(workers)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                cwd=PROJECT,
            )
        deadline = time.monotonic() + START_S
        with httpx.Client(base_url=self.url, timeout=5) as client:
            while not self._ready(client):
                if time.monotonic() > deadline:
                    self.kill()
                    raise RuntimeError(f"not ready after {START_S} s:\n{self.log}")
        return self

    def _ready(self, client: httpx.Client) -> bool:
        assert self.process is not None
        try:
            # waiting for its end is the pause between two questions
            code = self.process.wait(timeout=0.05)
        except subprocess.TimeoutExpired:
            try:
                return client.get("/readyz").status_code == 200
            except httpx.TransportError:
                return False
        raise RuntimeError(f"the server ended with {code}:\n{self.log}")

    def stop(self) -> None:
        """Ask it to end, and see that it does."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        self.process = None

    def kill(self) -> None:
        """End it as a power cut would, with the children it has."""
        if self.process is not None:
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
            pids = [int(pid) for pid in children.read_text().split()] if children.exists() else []
            with ExitStack() as open_files:
                handles = []
                for pid in pids:
                    with suppress(ProcessLookupError):  # it has ended
                        handles.append(os.pidfd_open(pid))
                        open_files.callback(os.close, handles[-1])
                self.process.kill()
                for handle in handles:
                    with suppress(ProcessLookupError):  # it went with its parent
                        signal.pidfd_send_signal(handle, signal.SIGKILL)
                # Until they are gone, what they hold is locked; one that waits for the disk takes a moment.
                for handle in handles:
                    select.select([handle], [], [], STOP_S)
            self.process.wait()
        self.process = None
