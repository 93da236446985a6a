"""A stored DICOM file as conversions read it: where it is, what precedes its bytes, where its frames lie.

A server process names a file with it and never reads one: pydicom, 25 MiB of memory, is imported where it is
read.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from app.dicom.frames import frame_segments, needs_decoding
from app.dicom.part10 import PREAMBLE, inflate, read_part10
from app.dicom.uids import DEFLATED, EXPLICIT_VR_LITTLE_ENDIAN
from app.errors import InstanceUnavailable

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset
    from pydicom.tag import BaseTag

_PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_PIXEL_TAGS = {0x7FE00008, 0x7FE00009, 0x7FE00010}
_UNDEFINED_LENGTH = 0xFFFFFFFF
_ITEM = b"\xfe\xff\x00\xe0"


class PixelPlace(NamedTuple):
    """Where the value of the pixels stands in the Part 10 stream of a file; `length` None: encapsulated.

    `end` is where the next element begins.
    """

    tag: int
    offset: int
    length: int | None
    end: int


@dataclass(frozen=True, slots=True)
class DicomFile:
    """One stored instance: `prefix`, then the file's bytes from `offset`, are Part 10; `frames` is packed."""

    path: str
    transfer_syntax_uid: str
    prefix: bytes = b""
    offset: int = 0
    frames: bytes = b""

    def read_header(self) -> "FileDataset":
        """Read everything before the pixels."""
        return self._read(stop_before_pixels=True)

    def read_whole(self) -> "FileDataset":
        """Read everything; the pixels stay as they are stored."""
        whole = self._read(stop_before_pixels=False)
        # A file that ends within its pixels gives nothing at all; what comes before them is still good.
        return whole or self.read_header()

    def read_all_but_pixels(self) -> "tuple[FileDataset, PixelPlace | None]":
        """Read what stands before and after the pixels, and where they are; they are not read."""
        from pydicom.filereader import read_dataset, read_partial  # noqa: PLC0415 see above

        with self.open() as source:
            found: list[tuple[int, int]] = []

            def at_pixels(tag: "BaseTag", _vr: str | None, length: int) -> bool:
                if tag in _PIXEL_TAGS:
                    found.append((int(tag), length))
                return bool(found)

            dataset = read_partial(source, stop_when=at_pixels)
            if not found:
                return dataset, None
            (tag, length), (is_implicit, is_little) = found[0], dataset.original_encoding
            source.seek(8 if is_implicit else 12, os.SEEK_CUR)
            offset, defined = source.tell(), None if length == _UNDEFINED_LENGTH else length
            if defined is None:
                _pass_fragments(source)
            else:
                source.seek(defined, os.SEEK_CUR)
            place = PixelPlace(tag, offset, defined, source.tell())
            dataset.update(read_dataset(source, bool(is_implicit), bool(is_little)))
            return dataset, place

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open the Part 10 stream: the prefix and the rest of the file; a deflated one comes inflated."""
        try:
            with open(self.path, "rb") as file:  # noqa: PTH123 - the same
                file.seek(self.offset)
                source: BinaryIO = file
                if self.prefix:
                    source = cast("BinaryIO", _Joined(self.prefix, file))
                elif self.offset:
                    source = cast("BinaryIO", _Joined(b"", file))
                if self.transfer_syntax_uid in DEFLATED:
                    source = _inflated(source.read())
                yield source
        except OSError as error:
            raise InstanceUnavailable(
                f"The stored file cannot be read: {error.strerror or error}."
            ) from error

    @property
    def frames_are_ranges(self) -> bool:
        """Whether each frame is bytes of the file."""
        return bool(self.frames) and not needs_decoding(self.frames)

    def read_frame(self, number: int) -> bytes | None:
        """Read the stored bytes of frame `number` (from 1); None if no range of the file holds it."""
        if not self.frames_are_ranges:
            return None
        try:
            with open(self.path, "rb", buffering=0) as file:  # noqa: PTH123 - no Path is needed for one read
                return b"".join(self._segments(file.fileno(), number))
        except OSError as error:
            raise InstanceUnavailable(f"The stored file cannot be read: {error.strerror}.") from error

    def _segments(self, descriptor: int, number: int) -> Iterator[bytes]:
        for offset, length in frame_segments(self.frames, number):
            if offset + length > os.fstat(descriptor).st_size:
                raise InstanceUnavailable("The stored file is shorter than it was when it was indexed.")
            yield os.pread(descriptor, length, offset)

    def _read(self, *, stop_before_pixels: bool) -> "FileDataset":
        from pydicom import dcmread  # noqa: PLC0415 see above

        with self.open() as source:
            return dcmread(source, stop_before_pixels=stop_before_pixels)


def pixel_keyword(dataset: "Dataset") -> str | None:
    """Find the keyword of the element that holds the pixels, if there is one."""
    return next((keyword for keyword in _PIXEL_KEYWORDS if keyword in dataset), None)


def _pass_fragments(source: BinaryIO) -> None:
    """Go on to the element after encapsulated pixels (PS3.5 A.4), always little endian."""
    while (header := source.read(8))[:4] == _ITEM:
        source.seek(int.from_bytes(header[4:], "little"), os.SEEK_CUR)


def _inflated(data: bytes) -> BinaryIO:
    """Rewrite a deflated file as Explicit VR Little Endian, with what File Meta Information reading needs."""
    dataset = inflate(data, read_part10(data).data_set)
    uid = EXPLICIT_VR_LITTLE_ENDIAN.encode() + b"\x00"
    syntax = b"\x02\x00\x10\x00UI" + len(uid).to_bytes(2, "little") + uid
    group_length = b"\x02\x00\x00\x00UL\x04\x00" + len(syntax).to_bytes(4, "little")
    return io.BytesIO(PREAMBLE + group_length + syntax + dataset)


class _Joined(io.RawIOBase):
    """A prefix in memory, then the rest of an open file, as one stream that can seek."""

    def __init__(self, prefix: bytes, file: BinaryIO) -> None:
        self._prefix = prefix
        self._file = file
        self._start = file.tell()
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if whence == os.SEEK_CUR:
            offset += self._position
        elif whence == os.SEEK_END:
            offset += len(self._prefix) + os.fstat(self._file.fileno()).st_size - self._start
        self._position = max(offset, 0)
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = -1 if size is None else size
        taken = self._prefix[self._position :]
        if 0 <= wanted < len(taken):
            taken = taken[:wanted]
        elif wanted < 0 or wanted > len(taken):
            self._file.seek(self._start + max(self._position - len(self._prefix), 0))
            taken += self._file.read(-1 if wanted < 0 else wanted - len(taken))
        self._position += len(taken)
        return taken
