"""Goal 23: memory of all processes at rest and after work; its growth while 2 GB go out, or come in."""

import shutil
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from random import Random

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MultiFrameTrueColorSecondaryCaptureImageStorage

from bench.corpus import fresh_copies
from bench.load import Posting, Reading, ask
from bench.processes import Growth, Server
from bench.reading import DICOM, JSON, ROOT
from bench.report import Report
from bench.stage import Stage, index
from bench.storing import CONTENT_TYPE, PATH, multipart

MIB = 2**20
LARGE_FRAMES = 682  # of 3 MiB each
RETRIEVALS = 1000
SLOW_READERS = 8
SLOW_S = 10.0
UIDS = [f"2.25.{number}" for number in range(10**38, 10**38 + 3)]
LARGE = "/studies/{}/series/{}/instances/{}".format(*UIDS)


def measure_memory(stage: Stage, report: Report, own: Server, orthanc: Server) -> None:
    """Measure Rss and Pss of all processes of both, as started and after retrievals of 1 MB each."""
    servers = (own, orthanc)
    for server in servers:
        ask(server, ROOT + "/studies?limit=1", JSON)
    time.sleep(2)
    _add(report, "memory idle", own, orthanc)
    paths = [ROOT + one.resource for one in stage.real]
    for server in servers:
        done = 0
        while done < RETRIEVALS:
            sample = Reading(paths, DICOM, 8, 1).run(server)
            done += sample.requests
            report.errors += sample.errors if server is own else 0
    _add(report, "memory after 1,000 retrievals of 1 MB", own, orthanc)


def _add(report: Report, measure: str, own: Server, peer: Server) -> None:
    details = {"Pss MiB": f"{own.memory_bytes('Pss') / MIB:.0f}", "processes": len(own.pids())}
    ours, theirs = (server.memory_bytes() / MIB for server in (own, peer))
    report.add(measure, ours, f"{ours:.0f} MiB", f"{theirs:.0f} MiB {peer.name}", details)


def measure_large(stage: Stage, report: Report) -> None:
    """Measure the growth for downloads and a store of one instance of 2 GB."""
    folder = stage.folder / "large"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        file = make_large(folder / "files" / "large.dcm")
        index(folder, file.parent)
        with stage.dermzoo(folder=folder) as own:
            _warm_up(own)
            _measure_downloads(report, own, file.stat().st_size)
        with stage.empty_dermzoo() as own:
            _measure_store(stage, report, own, file)
    finally:
        shutil.rmtree(folder)


def make_large(path: Path) -> Path:
    """Write an instance of 2 GB that takes no room: its pixels are a hole in the file."""
    path.parent.mkdir(parents=True)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = MultiFrameTrueColorSecondaryCaptureImageStorage
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID = UIDS
    dataset.PatientID, dataset.PatientName, dataset.Modality = "LARGE", "Large", "OT"
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = LARGE_FRAMES, 1024, 1024
    dataset.SamplesPerPixel, dataset.PlanarConfiguration, dataset.PhotometricInterpretation = 3, 0, "RGB"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.save_as(path, enforce_file_format=True)
    length = LARGE_FRAMES * 3 * MIB
    with path.open("ab") as file:
        file.write(b"\xe0\x7f\x10\x00OB\x00\x00" + length.to_bytes(4, "little"))
        file.truncate(file.tell() + length)
    return path


def _warm_up(own: Server) -> None:
    """Let every worker process do each thing once."""
    for path in ("/studies", f"{LARGE}/metadata", f"{LARGE}/frames/1"):
        Reading([ROOT + path], "*/*", 8, 1).run(own)


def _measure_downloads(report: Report, own: Server, size: int) -> None:
    _read(own, float("inf"), 64 * MIB)  # its beginning, once, unmeasured
    with Growth(own) as growth:
        received = _read(own, float("inf"), size * 2)
    if received < size:
        raise RuntimeError(f"{received} bytes came of an instance of {size}")
    report.add("growth for one 2 GB download", growth.bytes / MIB, f"{growth.bytes / MIB:.2f} MiB")
    with Growth(own) as growth, ThreadPoolExecutor(SLOW_READERS) as pool:
        list(pool.map(lambda _: _read(own, SLOW_S, size), range(SLOW_READERS)))
    each = growth.bytes / SLOW_READERS / MIB
    report.add(
        f"growth for each of {SLOW_READERS} slow readers", each, f"{growth.bytes / MIB:.2f} MiB for all"
    )


def _read(own: Server, slow_s: float, most: int) -> int:
    """Return how many bytes of the large instance came; slowly, and so long, unless that is infinite."""
    is_slow = slow_s != float("inf")
    ends = time.monotonic() + slow_s
    received = 0
    with _connection(own) as connection:
        if is_slow:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        request = f"GET {ROOT}{LARGE} HTTP/1.1\r\nHost: bench\r\nAccept: {DICOM}\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        buffer = bytearray(64 * 1024 if is_slow else MIB)
        while received < most and time.monotonic() < ends and (count := connection.recv_into(buffer)):
            received += count
            if is_slow:
                time.sleep(0.02)
    return received


@contextmanager
def _connection(server: Server) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=120) as connection:
        yield connection


def _measure_store(stage: Stage, report: Report, own: Server, file: Path) -> None:
    small = fresh_copies(Path(stage.tiny[0].path), 8, Random(0))
    report.errors += Posting(PATH, CONTENT_TYPE, [multipart([one]) for one in small], 1, 4).run(own).errors
    with Growth(own) as growth:
        started = time.perf_counter()
        status = _store(own, file)
        took = time.perf_counter() - started
    if " 200 " not in status:
        report.errors += 1
    size = file.stat().st_size
    told = f"{growth.bytes / MIB:.1f} MiB, {size / 1e6 / took:.0f} MB/s, {status}"
    report.add("growth for storing 2 GB", growth.bytes / MIB, told)


def _store(own: Server, file: Path) -> str:
    """Send a file as the one part of a store; return the status line."""
    head, _, tail = multipart([b"\0cut here\0"]).partition(b"\0cut here\0")
    length = len(head) + file.stat().st_size + len(tail)
    with _connection(own) as connection, file.open("rb") as content:
        connection.sendall(
            f"POST {PATH} HTTP/1.1\r\nHost: bench\r\nContent-Type: {CONTENT_TYPE}\r\n"
            f"Accept: {JSON}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n".encode()
            + head
        )
        connection.sendfile(content)
        connection.sendall(tail)
        return connection.recv(4096).partition(b"\r\n")[0].decode()
