"""A listener on a free port in this process, and DCMTK to talk to it."""

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import pytest

from app.archive.archive import Archive
from app.archive.commitment import Commitments
from app.dimse import gate, pdu
from app.dimse.association import Association, Message
from app.dimse.commands import Kind
from app.dimse.listener import Listener
from app.dimse.peers import Peer, Peers
from app.dimse.process import listening_socket, tls_context
from app.dimse.services import SERVED
from app.dimse.slots import Slots
from app.dimse.status import STATUSES, Status
from app.dimse.titles import make_titles
from app.dimse.upstreams import OpenUpstreams
from app.observability.associations import AssociationMetrics
from app.settings import Settings
from app.throttle.budget import Budget
from tests.migrated import migrated
from tests.servers import free_port

EVERYTHING = frozenset({"echo", "find", "get", "move", "store", "commit"})


@dataclass
class Listening:
    """A listener that runs, and the folder that programs write to."""

    listener: Listener
    port: int
    folder: Path
    thread: threading.Thread
    ae_title: str = "DERMZOO"

    def stop(self) -> None:
        """End it, as SIGTERM does."""
        self.listener.stopping.set()
        self.thread.join()

    def dcmtk(
        self, program: str, *options: str | Path, after: tuple[str | Path, ...] = (), called: str = ""
    ) -> str:
        """Run a DCMTK program against the listener; return what it says, and its exit code at the end.

        `after` comes behind the address: files, as a rule.
        """
        command = [program, "-v", "-to", "20", "-aec", called or self.ae_title, *options]
        done = subprocess.run(
            [*map(str, command), "127.0.0.1", str(self.port), *map(str, after)],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            cwd=self.folder,
            timeout=60,
        )
        return f"{done.stdout}{done.stderr}\nexit {done.returncode}"


Start = Callable[..., Listening]


@contextmanager
def listeners(folder: Path) -> Iterator[Start]:
    """Yield what starts listeners on an empty archive below a folder; all are stopped at the end."""
    with ExitStack() as running:
        for module in (gate, pdu):  # how long a stop may go unnoticed: there is one after each test
            running.enter_context(patch.object(module, "_LOOK_AROUND_S", 0.02))

        def start(
            *,
            peers: tuple[Peer, ...] = (),
            may: frozenset[str] = EVERYTHING,
            budget: Budget | None = None,
            archive: Archive | None = None,
            **chosen: object,
        ) -> Listening:
            settings = Settings(
                data_dir=folder / "data", dimse_port=free_port(), shutdown_grace_s=2, **chosen
            )
            settings.data_dir.mkdir(exist_ok=True)
            if not (settings.data_dir / "catalog.db").exists():
                (settings.data_dir / "catalog.db").write_bytes(migrated())
            opened = archive or running.enter_context(closing(Archive.open(settings)))
            upstreams = running.enter_context(closing(OpenUpstreams(settings, opened, budget)))
            listener = Listener(
                archive=replace(opened, settings=settings),
                budget=budget,
                peers=Peers(peers, may),
                slots=Slots(
                    settings.data_dir / "associations",
                    settings.dimse_associations,
                    settings.dimse_associations_per_client,
                ),
                metrics=AssociationMetrics(),
                commitments=running.enter_context(closing(Commitments(opened))),
                titles=make_titles(settings, opened, upstreams.titles),
                upstreams=upstreams,
            )
            listening = listening_socket(settings)
            listening.listen(16)
            thread = threading.Thread(target=listener.run, args=(listening, tls_context(settings)))
            thread.start()
            running.callback(thread.join)
            running.callback(listener.stopping.set)
            programs = folder / "programs"
            programs.mkdir(exist_ok=True)
            return Listening(listener, settings.dimse_port, programs, thread)

        yield start


@pytest.fixture
def start_listener(tmp_path: Path) -> Iterator[Start]:
    """start_listener(peers=[…], may=…, budget=…, dimse_associations=4) starts one on an empty archive."""
    with listeners(tmp_path) as start:
        yield start


@pytest.fixture
def listening(start_listener: Start) -> Listening:
    """A listener on which everybody may do everything."""
    return start_listener()


def service_of(kind: int) -> str:
    """The name in the table of statuses of a request."""
    name = Kind(kind).name.removesuffix("_RQ").replace("_", "-") if kind in SERVED else ""
    return name or "any other"


@pytest.fixture(autouse=True)
def answered(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[tuple[str, int]]]:
    """The services and statuses of what listeners of this process answer: each stands in the table."""
    found: set[tuple[str, int]] = set()
    respond = Association.respond

    def noting(self: Association, message: Message, status: Status, **more: object) -> None:
        found.add((service_of(message.kind), status.code))
        respond(self, message, status, **more)

    monkeypatch.setattr(Association, "respond", noting)
    yield found
    assert found <= {(service, status.code) for service, rows in STATUSES.items() for status, _ in rows}
