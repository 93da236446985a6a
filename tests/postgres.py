"""A private PostgreSQL cluster for the tests, from Debian's package: a Unix socket and no port."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MISSING = "PostgreSQL's server programs are missing: run `tools/install-test-peers`, or set TEST_DATABASE_URL"
UNSAFE_BUT_QUICK = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c listen_addresses="


def server_programs() -> Path:
    """The folder of the newest initdb and pg_ctl; Debian keeps them off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("pg_ctl")
    if not found and not on_path:
        raise FileNotFoundError(MISSING)
    return found[-1].parent if found else Path(str(on_path)).resolve().parent


@contextmanager
def postgres_cluster() -> Iterator[str]:
    """Yield the SQLAlchemy URL of a new cluster's `postgres` database; the cluster ends with the block."""
    programs = server_programs()
    folder = Path(tempfile.mkdtemp(prefix="dermzoo-pg-"))  # short: a socket's path has 107 bytes at most
    # PostgreSQL refuses to run as root; Debian's package brings the user that it wants
    account = pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    other_user = {}
    if os.geteuid() == 0:
        os.chown(folder, account.pw_uid, account.pw_gid)
        other_user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}

    def run(*command: str | Path) -> None:
        done = subprocess.run(
            [str(part) for part in command],
            check=False,
            capture_output=True,
            text=True,
            cwd=folder,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
            **other_user,
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed: {done.stdout}{done.stderr}")

    cluster, log = folder / "data", folder / "log"
    try:
        run(programs / "initdb", "-D", cluster, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8")
        options = f"-k {folder} {UNSAFE_BUT_QUICK}"
        run(programs / "pg_ctl", "-D", cluster, "-l", log, "-s", "-w", "-o", options, "start")
        try:
            yield f"postgresql+psycopg://postgres@/postgres?host={folder}"
        finally:
            run(programs / "pg_ctl", "-D", cluster, "-s", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
