"""A private Redis for the tests, from Debian's package: a Unix socket and no port."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

MISSING = "redis-server is missing: run `tools/install-test-peers`"


@dataclass
class RedisServer:
    """One server, as its own child; it may be stopped and let go on as a whole."""

    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """The URL for DERMZOO_THROTTLE_URL."""
        return f"unix://{self.folder}/redis.sock"

    def client(self) -> redis.Redis:
        """A connection of the test's own."""
        return redis.Redis.from_url(self.url)

    def hang(self) -> None:
        """Stop it in the middle of whatever it does; connections stay open."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def running_redis() -> Iterator[RedisServer]:
    """Yield a new server, empty; it ends with the block."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        raise FileNotFoundError(MISSING)
    folder = Path(tempfile.mkdtemp(prefix="dermzoo-redis-"))  # short: a socket's path has 107 bytes at most
    options = ("--port", "0", "--unixsocket", f"{folder}/redis.sock", "--save", "", "--dir", str(folder))
    process = subprocess.Popen(
        [program, *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env={"PATH": os.environ["PATH"]},
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if b"eady to accept connections" in line:
                break
        yield RedisServer(folder, process)
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()
        process.stdout.close()
        shutil.rmtree(folder, ignore_errors=True)
