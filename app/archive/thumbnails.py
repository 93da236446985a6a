"""Thumbnails, made once and kept on disk (PS3.18 10.4.1.1.4).

One can always be made again: it is written whole or not at all, and one that is torn, missing or swept
away is made anew.
"""

import contextlib
import os
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from time import time

from app.archive.caged import placeholder, thumbnail
from app.archive.render import StoredImage, dicom_file
from app.cage import Cage
from app.dicom.rendering_options import GIF, JPEG, PNG

THUMBNAIL_SIZE = 128
MOST_THUMBNAIL_SIZE = 1024  # of a side, whatever the viewport
THUMBNAIL_TYPES = (JPEG, PNG, GIF)

# Part of the key: raise it when thumbnails come out differently.
_EDITION = 2
_HOUR_S = 3600.0
_SWEPT_TO = 0.8  # of what may be kept
_SWEEPS = 16  # per filling

# How the files begin and end: one that does not was torn by a power cut.
_ENDS = {
    "jpg": (b"\xff\xd8", b"\xff\xd9"),
    "png": (b"\x89PNG\r\n", b"IEND\xaeB`\x82"),
    "gif": (b"GIF8", b";"),
}
_SUFFIX = {JPEG: "jpg", PNG: "png", GIF: "gif"}


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
        media_type: str = JPEG,
    ) -> bytes:
        """Return frame `number` (from 1) within width x height; errors as of rendered_frame."""
        sha256 = instance.sha256
        path = self._path(sha256[:2], f"{sha256}-{number}", width, height, media_type)
        return self._once(
            path,
            lambda: self._cage.run(thumbnail, dicom_file(instance), number, width, height, media_type),
        )

    def placeholder(
        self,
        label: str,
        width: int = THUMBNAIL_SIZE,
        height: int = THUMBNAIL_SIZE,
        media_type: str = JPEG,
    ) -> bytes:
        """Return what stands for an instance that has no picture."""
        path = self._path("placeholders", label, width, height, media_type)
        return self._once(path, lambda: self._cage.run(placeholder, label, width, height, media_type))

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

    def _once(self, path: Path, make: Callable[[], bytes]) -> bytes:
        """Return the file's bytes; make them if need be, once for all who wait for them."""
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
            made = self._read(path)
            if made is None:
                made = make()
                self._write(path, made)
            mine.set_result(made)
        except BaseException as error:
            mine.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._being_made[path]
        return made

    def _path(self, folder: str, name: str, width: int, height: int, media_type: str) -> Path:
        return self._folder / str(_EDITION) / folder / f"{name}-{width}x{height}.{_SUFFIX[media_type]}"

    def _read(self, path: Path) -> bytes | None:
        try:
            with path.open("rb") as file:
                kept = file.read()
                used = os.fstat(file.fileno()).st_mtime
        except OSError:
            return None
        start, end = _ENDS[path.suffix[1:]]
        if not (kept.startswith(start) and kept.endswith(end)):
            return None
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
