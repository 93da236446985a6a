"""Pictures of frames: the stored JPEG itself where that will do, else made in the cage; thumbnails are kept.

PS3.18 8.7.4 and 10.4.1.1.3 to 10.4.1.1.4. A thumbnail on disk can always be made again: it is written whole
or not at all, and one that is torn, missing or swept away is made anew.
"""

import contextlib
import os
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from time import time
from typing import Protocol

from app.cage import Cage
from app.dicom.dicom_file import DicomFile
from app.dicom.rendering import JPEG_BASELINE, RenderedParameters, render, thumbnail

THUMBNAIL_SIZE = 128

# Part of the key: raise it when thumbnails come out differently.
_EDITION = 1
_START, _END = b"\xff\xd8", b"\xff\xd9"
_HOUR_S = 3600.0
_SWEPT_TO = 0.8  # of what may be kept
_SWEEPS = 16  # per filling


class StoredImage(Protocol):
    """What the catalogue knows of a stored instance, as far as pictures need it."""

    @property
    def path(self) -> str:
        """The stored file."""

    @property
    def prefix(self) -> bytes:
        """What makes it Part 10 when sent first; empty for most files."""

    @property
    def offset(self) -> int:
        """The first byte of the file after the prefix."""

    @property
    def sha256(self) -> str:
        """SHA-256 of the stored file, hexadecimal."""

    @property
    def transfer_syntax_uid(self) -> str:
        """How it is stored."""

    @property
    def photometric_interpretation(self) -> str | None:
        """(0028,0004)."""

    @property
    def samples_per_pixel(self) -> int | None:
        """(0028,0002)."""

    @property
    def frames(self) -> bytes:
        """Where the frames lie, packed by dicom/frames.py."""


def dicom_file(instance: StoredImage) -> DicomFile:
    """Describe a stored instance for the functions that run in the cage."""
    return DicomFile(
        instance.path, instance.transfer_syntax_uid, instance.prefix, instance.offset, instance.frames
    )


def is_rendered_as_stored(instance: StoredImage, parameters: RenderedParameters) -> bool:
    """Whether the stored frame is the rendered one: a colour photograph in JPEG, and no change asked for.

    Grayscale is not, for a window may apply; nor RGB, which browsers take for YCbCr unless the JPEG says so.
    """
    return (
        parameters.change_nothing
        and instance.transfer_syntax_uid == JPEG_BASELINE
        and instance.samples_per_pixel == 3
        and instance.photometric_interpretation in {"YBR_FULL", "YBR_FULL_422"}
    )


def rendered_frame(
    cage: Cage, instance: StoredImage, number: int, parameters: RenderedParameters | None = None
) -> bytes:
    """Return frame `number` (from 1) as a JPEG; blocks.

    Raises NotFound (no such frame), NotConvertible (no picture), InstanceUnavailable, CagedFailure.
    """
    parameters = parameters or RenderedParameters()
    file = dicom_file(instance)
    if is_rendered_as_stored(instance, parameters):
        stored = file.read_frame(number)
        if stored and stored[:2] == _START:
            return stored
    return cage.run(render, file, number, parameters)


def forget_thumbnails(folder: Path, sha256: str) -> None:
    """Delete the thumbnails of a file that is held no more."""
    for kept in folder.glob(f"*/{sha256[:2]}/{sha256}-*"):
        kept.unlink(missing_ok=True)


class Thumbnails:
    """Thumbnails on disk, made on first use; beyond `most_bytes` the longest unused are swept away.

    Several processes may share the folder. `clock` is in seconds, as file times are.
    """

    def __init__(self, folder: Path, cage: Cage, most_bytes: int, clock: Callable[[], float] = time) -> None:
        self._folder = folder
        self._cage = cage
        self._most_bytes = most_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._being_made: dict[Path, Future[bytes]] = {}
        self._written_bytes = 0

    def get(
        self,
        instance: StoredImage,
        number: int,
        width: int = THUMBNAIL_SIZE,
        height: int = THUMBNAIL_SIZE,
    ) -> bytes:
        """Return frame `number` (from 1) as a JPEG within width x height; errors as of rendered_frame."""
        path = self._path(instance.sha256, number, width, height)
        kept = self._read(path)
        if kept is not None:
            return kept
        with self._lock:
            others = self._being_made.get(path)
            mine: Future[bytes] = Future()
            if others is None:
                self._being_made[path] = mine
        if others is not None:
            return others.result()
        try:
            # Another may have finished between our look at the disk and our turn.
            made = self._read(path) or self._make(path, instance, number, width, height)
            mine.set_result(made)
        except BaseException as error:
            mine.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._being_made[path]
        return made

    def sweep(self) -> int:
        """Delete the longest unused until the rest is well within bounds; return how many were deleted."""
        files = []
        for found in self._folder.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                if found.is_file():
                    status = found.stat()
                    files.append((status.st_mtime, status.st_size, found))
        total = sum(size for _, size, _ in files)
        deleted = 0
        for used, size, found in sorted(files):
            is_left_over = found.suffix == ".new" and self._clock() - used > _HOUR_S
            if total > self._most_bytes * _SWEPT_TO or is_left_over:
                found.unlink(missing_ok=True)
                total -= size
                deleted += 1
        return deleted

    def _make(self, path: Path, instance: StoredImage, number: int, width: int, height: int) -> bytes:
        made = self._cage.run(thumbnail, dicom_file(instance), number, width, height)
        self._write(path, made)
        return made

    def _path(self, sha256: str, number: int, width: int, height: int) -> Path:
        return self._folder / str(_EDITION) / sha256[:2] / f"{sha256}-{number}-{width}x{height}.jpg"

    def _read(self, path: Path) -> bytes | None:
        try:
            with path.open("rb") as file:
                kept = file.read()
                used = os.fstat(file.fileno()).st_mtime
        except OSError:
            return None
        if not (kept.startswith(_START) and kept.endswith(_END)):
            return None  # torn by a power cut
        if self._clock() - used > _HOUR_S:
            with contextlib.suppress(OSError):
                os.utime(path, (self._clock(), self._clock()))
        return kept

    def _write(self, path: Path, made: bytes) -> None:
        """Keep a thumbnail; a disk that refuses costs the next reader time, and this one nothing."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(suffix=".new", dir=path.parent)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(made)
                Path(name).rename(path)
            except OSError:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError:
            return
        with self._lock:
            self._written_bytes += len(made)
            is_due = self._written_bytes > self._most_bytes / _SWEEPS
            if is_due:
                self._written_bytes = 0
        if is_due:
            self.sweep()
