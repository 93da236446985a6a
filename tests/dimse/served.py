"""A `dermzoo serve --dimse` with the sample corpus: its listener processes, and programs that talk to it."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from pynetdicom import AE
from pynetdicom.sop_class import Verification

from tests.conftest import SAMPLE
from tests.servers import Server, free_port

PATIENCE_S = 60
_ESTABLISHED, _LISTENING = "01", "0A"


class Served:
    """The server, asked as programs of others ask it."""

    def __init__(self, folder: Path, peers: str, **chosen: str) -> None:
        self.folder = folder
        (folder / "peers.toml").write_text(peers)
        settings = {
            "dimse": "true",
            "dimse_port": str(free_port()),
            "dimse_processes": "2",
            "peers_file": str(folder / "peers.toml"),
        }
        self.server = Server(folder / "server", settings | chosen)
        self.port = int(settings["dimse_port"])

    def start(self) -> "Served":
        self.server.migrate()
        self.server.run(
            "import", "isic", "--images", SAMPLE / "images", "--metadata", SAMPLE / "metadata.csv"
        )
        self.server.start()
        return self

    def dcmtk(self, program: str, *options: object, after: tuple[object, ...] = ()) -> str:
        """What a program of DCMTK says, and its exit code at the end."""
        return self._run([program, "-v", "-to", "30", "-aec", "DERMZOO", *options], after)

    def pynetdicom(self, program: str, *options: object, after: tuple[object, ...] = ()) -> str:
        """What an application of pynetdicom says, and its exit code at the end."""
        command = [sys.executable, "-m", "pynetdicom", program, "127.0.0.1", self.port]
        return self._run([*command, *after, "-v", "-aec", "DERMZOO", *options], None)

    def _run(self, command: list[object], after: tuple[object, ...] | None) -> str:
        address = [] if after is None else ["127.0.0.1", self.port, *after]
        done = subprocess.run(
            [*map(str, command), *map(str, address)],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            cwd=self.folder,
            timeout=PATIENCE_S,
        )
        return f"{done.stdout}{done.stderr}\nexit {done.returncode}"

    def associate(self, address: str = "127.0.0.1"):
        """An association for C-ECHO from an address of this host."""
        ae = AE("TEST")
        ae.add_requested_context(Verification)
        return ae.associate("127.0.0.1", self.port, ae_title="DERMZOO", bind_address=(address, 0))

    def echoes(self, address: str) -> bool:
        """Whether a C-ECHO from an address of this host is answered."""
        association = self.associate(address)
        if not association.is_established:
            return False
        status = association.send_c_echo()
        association.release()
        return bool(status) and status.Status == 0x0000

    def listeners(self) -> set[int]:
        """The processes that listen on the DICOM network."""
        return set(self._owners(_LISTENING).values())

    def listener_of(self, association) -> int | None:
        """The process that serves an association of ours."""
        port = association.dul.socket.socket.getsockname()[1]
        return self._owners(_ESTABLISHED).get(port)

    def resident_bytes(self) -> int:
        """The memory that the listeners have in use."""
        pages = (int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.listeners())
        return sum(pages) * os.sysconf("SC_PAGE_SIZE")

    def _owners(self, state: str) -> dict[int, int]:
        """Sockets on our port in a state: the other end's port, or a number, and the process."""
        inodes = {}
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            port, other = (int(fields[column].partition(":")[2], 16) for column in (1, 2))
            if port == self.port and fields[3] == state:
                inodes[f"socket:[{fields[9]}]"] = other or int(fields[9])
        owners = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended, or is somebody else's
                for file in (folder / "fd").iterdir():
                    with suppress(OSError):
                        if (held := inodes.get(str(file.readlink()))) is not None:
                            owners[held] = int(folder.name)
        return owners

    def lines(self, **facts: object) -> list[dict[str, object]]:
        """The log lines so far of associations that have these facts; those of others may come late."""
        lines = [json.loads(line) for line in self.server.log.splitlines(True) if line.endswith("}\n")]
        return [line for line in lines if line["message"] == "association" and facts.items() <= line.items()]

    def line(self, **facts: object) -> dict[str, object]:
        """The one line that has these facts, when it has come."""
        self.wait(lambda: self.lines(**facts))
        [line] = self.lines(**facts)
        return line

    def wait(self, condition) -> None:
        """Wait until a condition holds, looking again and again."""
        process = self.server.process
        for _ in range(PATIENCE_S * 10):
            if condition():
                return
            with suppress(subprocess.TimeoutExpired):
                raise AssertionError(f"the server ended with {process.wait(0.1)}:\n{self.server.log}")
        raise AssertionError(self.server.log)
