"""The local storage beyond its contract: a full disk, a failing one, a killed writer, the order of calls."""

import errno
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.errors import StorageFailed, StorageFull
from app.storage.local import LocalStorage

CONTENT = b"a dermoscopic image" * 100
KEY = hashlib.sha256(CONTENT).hexdigest()


def hold(storage, content=CONTENT):
    key = hashlib.sha256(content).hexdigest()
    with storage.staging() as staging:
        staged = staging.new()
        staged.write(content)
        staged.finish()
        staging.keep({key: staged})
        staging.release([key])
    return key


def leftovers(root: Path) -> list[Path]:
    return [path for path in (root / "tmp").rglob("*") if path.name != "guard"]


def test_a_file_lies_under_its_hash(tmp_path):
    assert hold(LocalStorage(tmp_path)) == KEY
    assert (tmp_path / KEY[:2] / KEY).read_bytes() == CONTENT
    assert (tmp_path / KEY[:2] / KEY).stat().st_nlink == 1
    assert leftovers(tmp_path) == []


def test_below_the_minimum_of_free_space_nothing_is_taken_in(tmp_path):
    hold(LocalStorage(tmp_path))
    storage = LocalStorage(tmp_path, minimum_free=1.0)
    with pytest.raises(StorageFull, match="100%"):
        storage.staging()
    with pytest.raises(StorageFull):
        storage.probe()
    with storage.open(KEY) as opened:
        assert opened.read(0, len(CONTENT)) == CONTENT


class FailingFsync:
    """Fails once, at the given call; remembers what it was asked for."""

    def __init__(self, fail_at: int = -1, number: int = errno.EIO) -> None:
        self.fail_at, self.number, self.calls = fail_at, number, 0

    def __call__(self, descriptor: int) -> None:
        self.calls += 1
        if self.calls == self.fail_at:
            raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize("fail_at", [1, 2, 3, 4])
def test_after_a_failed_fsync_the_storage_only_reads(tmp_path, fail_at):
    """D4: the root, the folder above, the file, its folder: whichever fails, nothing is tried again."""
    held = hold(LocalStorage(tmp_path), b"held before")
    fsync = FailingFsync(fail_at)
    storage = LocalStorage(tmp_path, fsync=fsync)
    with pytest.raises(StorageFailed, match="Input/output error"):
        hold(storage)
    calls = fsync.calls
    for attempt in (lambda: hold(storage), storage.probe, storage.staging):
        with pytest.raises(StorageFailed, match="started again"):
            attempt()
    assert fsync.calls == calls
    with storage.open(held) as opened:
        assert opened.read(0, 11) == b"held before"

    restarted = LocalStorage(tmp_path)
    restarted.sweep(lambda key: False)
    assert (list(restarted.keys()), leftovers(tmp_path)) == ([held], [])


def test_an_fsync_that_finds_the_disk_full_is_not_for_good(tmp_path):
    storage = LocalStorage(tmp_path, fsync=FailingFsync(1, errno.ENOSPC))
    with pytest.raises(StorageFull):
        hold(storage)
    assert hold(storage) == KEY


def test_a_failed_fsync_of_one_of_many_fails_them_all(tmp_path):
    storage = LocalStorage(tmp_path, fsync=FailingFsync(7))

    def hold_ten():
        with storage.staging() as staging:
            files = {}
            for number in range(10):
                files[hashlib.sha256(b"%d" % number).hexdigest()] = staged = staging.new()
                staged.write(b"%d" % number)
                staged.finish()
            staging.keep(files)

    with pytest.raises(StorageFailed):
        hold_ten()
    assert list(storage.keys()) == []


def test_a_staging_folder_is_used_again_once_it_is_empty(tmp_path):
    storage = LocalStorage(tmp_path, idle_folders=1)
    for content in (b"first", b"second"):
        hold(storage, content)
        (folder,) = (path for path in leftovers(tmp_path) if path.is_dir())
        assert {path.stat().st_size for path in folder.iterdir()} == {0}  # blank, for the next
        assert LocalStorage(tmp_path).sweep(lambda key: True) == 0  # it is locked: a living writer's
        assert folder in leftovers(tmp_path)
    storage.close()
    assert leftovers(tmp_path) == []


def test_a_staging_folder_that_may_hold_unnamed_files_is_left_to_the_sweep(tmp_path):
    storage = LocalStorage(tmp_path, idle_folders=1)
    with storage.staging() as staging:
        staged = staging.new()
        staged.write(b"never named")
        staged.finish()
        staging.keep({hashlib.sha256(b"never named").hexdigest(): staged})
    hold(storage, b"another")
    assert storage.sweep(lambda key: False) == 1
    assert list(storage.keys()) == [hashlib.sha256(b"another").hexdigest()]


def test_staging_folders_are_spread_over_the_disk(tmp_path):
    """On ext4: where much was deleted nearby, a new file there takes thirty times as long."""
    hold(LocalStorage(tmp_path))
    listed = subprocess.run(["lsattr", "-d", tmp_path / "tmp"], check=False, capture_output=True, text=True)
    if listed.returncode or "e" not in listed.stdout.split()[0]:
        pytest.skip("not on ext4")
    assert "T" in listed.stdout.split()[0]
    hold(LocalStorage(tmp_path), b"another")  # set again, nothing changes


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("mounting a file system needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=False)
    if mounted.returncode:
        pytest.skip("this machine does not let tests mount a file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_said_and_reading_goes_on(small_disk):
    """D5: nothing half written stays, and the storage recovers without a restart."""
    storage = LocalStorage(small_disk, minimum_free=0)
    held = hold(storage)
    with pytest.raises(StorageFull, match="no room"):
        hold(storage, bytes(2**20))
    assert leftovers(small_disk) == []
    with storage.open(held) as opened:
        assert opened.read(0, len(CONTENT)) == CONTENT
    assert hold(storage, bytes(2**19))


def test_a_file_size_limit_counts_as_full(tmp_path):
    program = f"""
import resource, sys
from pathlib import Path
from app.errors import StorageFull
from app.storage.local import LocalStorage
storage = LocalStorage(Path({str(tmp_path)!r}))
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    with storage.staging() as staging:
        staging.new().write(bytes(1000))
except StorageFull:
    sys.exit(7)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 7
    assert leftovers(tmp_path) == []


KILLED = """
import hashlib, os, signal, sys
from pathlib import Path
from app.storage.local import LocalStorage
root, last_step = Path(sys.argv[1]), sys.argv[2]

def reached(step):
    if step == last_step:
        os.kill(os.getpid(), signal.SIGKILL)

staging = LocalStorage(root).staging()
reached("staging")
staged = staging.new()
staged.write(b"whole")
reached("written")
staged.finish()
staging.keep({hashlib.sha256(b"whole").hexdigest(): staged})
reached("kept")
"""


@pytest.mark.parametrize("step", ["staging", "written", "kept"])
@pytest.mark.parametrize("is_committed", [False, True])
def test_a_killed_writer_leaves_only_what_was_committed(tmp_path, step, is_committed):
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path, step], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert leftovers(tmp_path)
    storage = LocalStorage(tmp_path)
    storage.sweep(lambda key: is_committed and step == "kept")
    assert len(list(storage.keys())) == (step == "kept" and is_committed)
    assert leftovers(tmp_path) == []


def test_a_row_whose_file_was_not_yet_named_by_its_key_when_the_power_failed_gets_it(tmp_path):
    """The commit reached the disk, and the rename before it, which nobody waited for, did not."""
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path, "kept"], check=False)
    assert killed.returncode == -signal.SIGKILL
    key = hashlib.sha256(b"whole").hexdigest()
    (named,) = (tmp_path / "tmp").glob(f"*/{key}")
    named.rename(named.with_name("0"))
    storage = LocalStorage(tmp_path)
    assert storage.sweep(lambda asked: asked == key) == 0
    with storage.open(key) as opened:
        assert opened.read(0, 5) == b"whole"
    assert leftovers(tmp_path) == []


def test_what_is_torn_is_taken_for_nothing_that_is_held(tmp_path):
    """The power failed before the content was on the disk: no row names what is left."""
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path, "written"], check=False)
    assert killed.returncode == -signal.SIGKILL
    (staged,) = (tmp_path / "tmp").glob("*/0")
    staged.write_bytes(b"who")
    storage = LocalStorage(tmp_path)
    storage.sweep(lambda asked: asked == hashlib.sha256(b"whole").hexdigest())
    assert (list(storage.keys()), leftovers(tmp_path)) == ([], [])


ORDER = """
import hashlib
from pathlib import Path
from app.storage.local import LocalStorage
storage = LocalStorage(Path("objects"))
with storage.staging() as staging:
    staged = staging.new()
    staged.write(b"whole")
    staged.finish()
    key = hashlib.sha256(b"whole").hexdigest()
    staging.keep({key: staged})
    Path("committed").touch()
    staging.release([key])
"""


def test_bytes_and_their_names_are_on_the_disk_before_the_commit_and_have_their_place_after_it(tmp_path):
    """D3, seen from outside: the order of the system calls."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    traced = "openat,fsync,rename,renameat,renameat2,mkdir,mkdirat"
    log = tmp_path / "calls"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    ran = subprocess.run(
        [
            strace,
            "-f",
            "--seccomp-bpf",
            "-y",
            "-e",
            f"trace={traced}",
            "-o",
            log,
            sys.executable,
            "-c",
            ORDER,
        ],
        check=False,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    if "PTRACE" in ran.stderr:
        pytest.skip("this machine does not let tests trace")
    assert ran.returncode == 0, ran.stderr
    calls = log.read_text().splitlines()

    def first(call: str, *parts: str) -> int:
        return next(n for n, line in enumerate(calls) if f" {call}" in line and all(p in line for p in parts))

    key = hashlib.sha256(b"whole").hexdigest()
    above = [first("fsync(", f"{path}>") for path in ("objects", "objects/tmp")]
    made = first("openat(", '"0"', "O_CREAT")
    named = next(n for n, line in enumerate(calls) if n > made and " fsync(" in line)
    assert re.search(r"objects/tmp/[0-9a-f]{32}>", calls[named])
    written = first("fsync(", "/0>")
    committed = first("openat(", "committed")
    placed = first("rename", f"objects/{key[:2]}/{key}")
    assert max(above) < made < named < written < committed < placed


def test_a_sweep_beside_many_writers_never_takes_what_they_keep(tmp_path):
    """Writers and a sweeper race; each writer checks its file right after its 'commit'."""
    program = f"""
import hashlib, os, sys
from pathlib import Path
from app.storage.local import LocalStorage
storage = LocalStorage(Path({str(tmp_path)!r}), fsync=lambda descriptor: None)
rows = Path({str(tmp_path)!r}) / "rows"
rows.mkdir(exist_ok=True)
for number in range(150):
    content = b"%d" % (number % 5)
    key = hashlib.sha256(content).hexdigest()
    with storage.staging() as staging:
        staged = staging.new()
        staged.write(content)
        staged.finish()
        staging.keep({{key: staged}})
        if number % 3 == int(sys.argv[1]) % 3:
            continue  # this one's commit fails
        (rows / key).touch()
        staging.release([key])
    assert storage.path_of(key).read_bytes() == content
"""
    writers = [subprocess.Popen([sys.executable, "-c", program, str(number)]) for number in range(3)]
    storage = LocalStorage(tmp_path)
    while any(writer.poll() is None for writer in writers):
        storage.sweep(lambda key: (tmp_path / "rows" / key).exists())
    assert [writer.returncode for writer in writers] == [0, 0, 0]
