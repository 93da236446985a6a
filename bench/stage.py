"""What every measurement stands on: the corpora, and the servers that hold them."""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from http.client import HTTPConnection
from pathlib import Path

from bench import peers
from bench.corpus import Made, corpus_folder, make_corpus
from bench.processes import Server, free_port

STUDY_SHEET = "application/dicom+json"


@dataclass
class Stage:
    """The corpora of a run, and its servers."""

    folder: Path
    instances: int
    real_instances: int
    rounds: int
    seconds: float  # of one round of steady load
    workers: int
    _has_archive: bool = False

    @cached_property
    def tiny(self) -> list[Made]:
        """The metadata of ISIC 2020 with small pictures."""
        return make_corpus(self.folder / "corpus", "tiny", self.instances)

    @cached_property
    def real(self) -> list[Made]:
        """Pictures of about a megabyte."""
        return make_corpus(self.folder / "corpus", "real", self.real_instances)

    @property
    def tiny_folder(self) -> Path:
        """Where the tiny files are."""
        return corpus_folder(self.folder / "corpus", "tiny", self.instances)

    @property
    def real_folder(self) -> Path:
        """Where the real files are."""
        return corpus_folder(self.folder / "corpus", "real", self.real_instances)

    @property
    def archive_folder(self) -> Path:
        """Our archive of both corpora."""
        return self.folder / "dermzoo"

    def make_archive(self) -> None:
        """Index both corpora anew, once a run."""
        if self._has_archive:
            return
        assert self.tiny
        assert self.real
        shutil.rmtree(self.archive_folder, ignore_errors=True)
        index(self.archive_folder, self.tiny_folder, self.real_folder)
        self._has_archive = True

    @contextmanager
    def dermzoo(self, *, folder: Path | None = None) -> Iterator[Server]:
        """Run our server."""
        with running(peers.dermzoo(folder or self.archive_folder, self.workers)) as server:
            yield server

    @contextmanager
    def limiter_on_and_off(self) -> Iterator[tuple[Server, Server]]:
        """Run our server twice on one catalogue, the second without the limiter."""
        on, off = (peers.dermzoo(self.archive_folder, self.workers, throttle=way) for way in (True, False))
        on, off = (replace(one, environment={**one.environment, **peers.STEADY_HEAP}) for one in (on, off))
        with running(on), running(off):
            yield on, off

    @contextmanager
    def orthanc(self) -> Iterator[Server]:
        """Run an Orthanc that holds both corpora; loading it the first time takes a while."""
        folder = self.folder / f"orthanc-{self.instances}-{self.real_instances}"
        with holding(folder, [*self.tiny, *self.real]) as server:
            yield server

    @contextmanager
    def small_orthanc(self) -> Iterator[Server]:
        """Run an Orthanc that holds the large pictures alone, where it is quicker."""
        with holding(self.folder / f"orthanc-{self.real_instances}", self.real) as server:
            yield server

    @contextmanager
    def empty_dermzoo(self) -> Iterator[Server]:
        """Run our server on an archive that holds nothing, gone afterwards."""
        folder = self.folder / "empty-dermzoo"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            with self.dermzoo(folder=folder) as server:
                yield server
        finally:
            shutil.rmtree(folder)

    @contextmanager
    def empty_orthanc(self, *, syncs: bool = True) -> Iterator[Server]:
        """Run an Orthanc that holds nothing, gone afterwards."""
        folder = self.folder / "empty-orthanc"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            with running(peers.orthanc(folder, syncs=syncs)) as server:
                yield server
        finally:
            shutil.rmtree(folder)

    @contextmanager
    def nginx(self) -> Iterator[Server]:
        """Run nginx over the real files."""
        with running(peers.nginx(self.folder / "nginx", self.real_folder)) as server:
            yield server


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """Start a server, and end it whatever happens."""
    try:
        yield server.start()
    finally:
        server.stop()


@contextmanager
def holding(folder: Path, files: Sequence[Made]) -> Iterator[Server]:
    """Run an Orthanc in `folder` that holds these files; it is loaded once."""
    loaded = folder / "loaded"
    if not loaded.exists():
        shutil.rmtree(folder, ignore_errors=True)
        print(f"loading Orthanc with {len(files)} instances", flush=True)
        with running(peers.orthanc(folder, syncs=False)) as server:
            post_files(server, [made.path for made in files], 4)
        loaded.touch()
    for file in (folder / "storage").rglob("*"):  # into the page cache, where ours are too
        if file.is_file():
            file.read_bytes()
    with running(peers.orthanc(folder)) as server:
        yield server


def index(archive: Path, *folders: Path, under: Sequence[str] = ()) -> str:
    """Run `dermzoo index`, under another command if one is given, and return what it printed."""
    done = subprocess.run(
        [*under, *peers.dermzoo_command("index", *map(str, folders))],
        env=peers.environment(archive, free_port()),
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(
            f"dermzoo index: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return done.stdout


def post_files(orthanc: Server, paths: Sequence[str], connections: int) -> None:
    """Load files into an Orthanc by its own REST interface; RuntimeError when it refuses one."""

    def work(share: Sequence[str]) -> None:
        connection = HTTPConnection("127.0.0.1", orthanc.port, timeout=120)
        connection.connect()
        for path in share:
            connection.request("POST", "/instances", Path(path).read_bytes())
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"Orthanc refused {path}: {answer.status} {body[:200]!r}")

    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(work, [paths[first::connections] for first in range(connections)]))
