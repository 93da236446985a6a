"""kill -9 at random moments of an import, an index and a store: nothing is lost, nothing is torn.

SOAK_KILLS says how many in all, 20 unless told. The moments are drawn from a seed that a failure names;
they lie between the start of a command and a little after the time that it needs undisturbed.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import httpx
import pytest

from app.archive.archive import Archive
from app.archive.store import sweep
from app.archive.verify import verify
from app.catalog.files import holders
from app.settings import Settings
from tests.conftest import SAMPLE
from tests.factories import instance_bytes, uid, write_instance
from tests.servers import PROJECT, Server, free_port

KILLS = int(os.environ.get("SOAK_KILLS", "20"))
SEED = int(os.environ.get("SOAK_SEED", "20"))
INDEXED = 300

pytestmark = [pytest.mark.slow, pytest.mark.timeout(max(300, 30 * KILLS))]


@pytest.fixture
def server(tmp_path) -> Server:
    settings = {"allow_anonymous_store": "true", "throttle": "off"}
    settings |= {"dimse": "true", "dimse_port": str(free_port()), "dimse_processes": "2"}
    server = Server(tmp_path / "server", settings)
    server.migrate()
    return server


@contextlib.contextmanager
def opened(server: Server):
    archive = Archive.open(Settings(data_dir=server.folder / "data"))
    try:
        yield archive
    finally:
        archive.close()


def assert_sound(server: Server) -> dict[str, int]:
    """What a start after a crash does first, then verify --all; returns how many are held."""
    with opened(server) as archive:
        sweep(archive)
        report = verify(archive, contents=True)
        staged = [path for path in (archive.storage.root / "tmp").rglob("*") if path.name != "guard"]
    assert (report.to_json()["sound"], staged) == (True, []), report.to_json()
    return report.files


def run_and_kill(server: Server, after_s: float | None, *arguments: str | Path) -> float:
    """Run a command and kill it, and all that it started, after some time; returns how long it ran."""
    started = time.monotonic()
    process = subprocess.Popen(
        server.command(*arguments),
        env=server.environment,
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert process.wait(after_s) == 0
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return time.monotonic() - started


def kill_again_and_again(server: Server, kills: int, *arguments: str | Path) -> None:
    """Kill a command at random moments, each time on what the last one left; then let it finish."""
    moments = random.Random(SEED)
    duration_s = run_and_kill(
        Server(server.folder.with_name("undisturbed"), server.settings), None, *arguments
    )
    held = 0
    for _ in range(kills):
        # More often late than early: the first part of a run is the start of Python.
        run_and_kill(server, duration_s * (1.1 - moments.random() ** 2), *arguments)
        before, held = held, assert_sound(server)
        assert held >= before, f"committed instances were lost; SOAK_SEED={SEED}"
        if moments.random() < 0.3:  # mostly go on, at times from the beginning
            shutil.rmtree(server.folder / "data")
            server.migrate()
            held = 0
    run_and_kill(server, None, *arguments)


def test_index(server, tmp_path):
    images = tmp_path / "images"
    for number in range(INDEXED):
        write_instance(images / str(number % 7) / f"{number}.dcm", name=str(number), study=str(number % 11))
    kill_again_and_again(server, KILLS * 7 // 20, "index", images)
    assert assert_sound(server) == INDEXED


def test_import(server):
    kill_again_and_again(
        server, KILLS * 6 // 20, "import", "isic",
        "--images", SAMPLE / "images", "--metadata", SAMPLE / "metadata.csv",
    )  # fmt: skip
    assert assert_sound(server) == len(list((SAMPLE / "images").iterdir()))


class Sender(threading.Thread):
    """Stores one request after the other until the server is gone; remembers what was acknowledged."""

    def __init__(self, server: Server, turn: int) -> None:
        super().__init__()
        self.server, self.turn = server, turn
        self.acknowledged: list[str] = []
        self.sent_first = threading.Event()

    def run(self) -> None:
        headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}
        with httpx.Client(base_url=self.server.dicomweb_url, timeout=60) as client:
            for number in range(10_000):
                names = [f"{self.turn}-{self.name}-{number}-{part}" for part in range(1 + number % 4)]
                parts = [b"--b\r\n\r\n" + instance_bytes(name=name) + b"\r\n" for name in names]
                try:
                    response = client.post("/studies", content=b"".join(parts) + b"--b--", headers=headers)
                except httpx.TransportError:
                    return
                assert response.status_code == 200
                self.acknowledged += names
                self.sent_first.set()


class DicomSender(Sender):
    """The same over the DICOM network, one association of DCMTK's storescu after the other."""

    def run(self) -> None:
        address = ["127.0.0.1", self.server.environment["DERMZOO_DIMSE_PORT"]]
        for number in range(10_000):
            names = [f"{self.turn}-{self.name}-{number}-{part}" for part in range(1 + number % 50)]
            files = [write_instance(self.server.folder / f"{name}.dcm", name=name) for name in names]
            said = subprocess.run(
                ["storescu", "-v", "-R", "-aec", "DERMZOO", *address, *files],
                check=False,
                capture_output=True,
                text=True,
                env=os.environ | {"TCP_NODELAY": "1"},
            )
            done = (said.stdout + said.stderr).count("Received Store Response (Success)")
            self.acknowledged += names[:done]
            self.sent_first.set()
            if done < len(names):
                return


def test_store(server):
    moments = random.Random(SEED)
    acknowledged: set[str] = set()
    for turn in range(KILLS * 7 // 20):
        server.start()
        senders = [Sender(server, turn), Sender(server, turn), DicomSender(server, turn)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.sent_first.wait(60)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.process.wait(timeout=moments.random())
        server.kill()
        for sender in senders:
            sender.join()
            acknowledged.update(sender.acknowledged)
        assert assert_sound(server) >= len(acknowledged)
        assert all(sender.acknowledged for sender in senders)
    assert acknowledged
    with opened(server) as archive, archive.catalog.read() as connection:
        held = holders(connection, [uid(name) for name in acknowledged])
    assert len(held) == len(acknowledged), f"acknowledged instances were lost; SOAK_SEED={SEED}"
