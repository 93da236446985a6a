"""What an MP4 file says of its film (ISO/IEC 14496-12, -15): for the attributes of a video in DICOM.

Only the movie box is read, and of it what describes the one video track. Films with sound are kept too; the
sound is not described.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from app.errors import Unreadable, UnsupportedTransferSyntax

_MOVIE_BYTES = 32 << 20
_BOXES = 10_000
_CONTAINERS = frozenset({b"trak", b"mdia", b"minf", b"stbl"})
# PS3.5 8.2.7, 8.2.8, 8.2.10: a decoder of High Profile reads Main, and the part of Baseline that Main has.
_HIGH, _MAIN, _BASELINE = 100, 77, 66
_LEVEL_4_1, _LEVEL_4_2 = 41, 42
_HEVC_MAIN, _HEVC_MAIN_10, _HEVC_LEVEL_5_1 = 1, 2, 153
_UID = "1.2.840.10008.1.2.4."


@dataclass(frozen=True, slots=True)
class Film:
    """One video track."""

    transfer_syntax_uid: str
    rows: int
    columns: int
    bits: int
    frames: int
    frame_time_ms: float


def read_film(file: BinaryIO, length: int) -> Film:
    """Read the description of a film from where the file stands, of so many bytes.

    Raises Unreadable, or UnsupportedTransferSyntax for a coding that DICOM does not have.
    """
    movie = _movie(file, length)
    tracks = [track for kind, track in _boxes(movie) if kind == b"trak"]
    videos = [found for track in tracks if b"vide" in (found := _described(track))]
    if len(videos) != 1:
        raise Unreadable(f"the MP4 has {len(videos)} video tracks, not one")
    (video,) = videos
    try:
        return _film(video)
    except (LookupError, ValueError, struct.error, ZeroDivisionError):
        raise Unreadable("the MP4 does not describe its video track") from None


def _movie(file: BinaryIO, length: int) -> bytes:
    """Return the movie box; it may stand behind all frames."""
    left = length
    for _ in range(_BOXES):
        header = file.read(8)
        if len(header) < 8 or left < 8:
            break
        size, kind = struct.unpack(">I4s", header)
        used = 8
        if size == 1:
            size, used = int.from_bytes(file.read(8), "big"), 16
        size = size or left
        if size < used or size > left:
            raise Unreadable("the MP4 is damaged or cut: a box is longer than the file")
        if kind == b"moov":
            if size > _MOVIE_BYTES:
                raise Unreadable(f"the MP4 describes itself in more than {_MOVIE_BYTES >> 20} MiB")
            return file.read(size - used)
        file.seek(size - used, 1)
        left -= size
    raise Unreadable("it is not an MP4 file: there is no movie box")


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 0
    while position + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, position)
        if not 8 <= size <= len(data) - position:
            return
        yield kind, data[position + 8 : position + size]
        position += size


def _described(track: bytes) -> dict[bytes, bytes]:
    """Return the boxes of a track by kind, and the kind of its media by itself."""
    found: dict[bytes, bytes] = {}
    waiting = [(track, 0)]
    while waiting:
        container, depth = waiting.pop()
        for kind, content in _boxes(container):
            found.setdefault(kind, content)
            if kind in _CONTAINERS and depth < len(_CONTAINERS):
                waiting.append((content, depth + 1))
    return found | {found.get(b"hdlr", b"")[8:12]: b""}


def _film(video: dict[bytes, bytes]) -> Film:
    coding, entry = next(_boxes(video[b"stsd"][8:]), (b"", b""))
    columns, rows = struct.unpack_from(">HH", entry, 24)
    configured = dict(_boxes(entry[78:]))
    syntax, bits = _coding(coding, configured)
    frames = struct.unpack_from(">I", video[b"stsz"], 8)[0]
    clock = video[b"mdhd"]
    ticks, duration = struct.unpack_from(*((">IQ", clock, 20) if clock[0] else (">II", clock, 12)))
    if not (rows and columns and frames):
        raise Unreadable("the MP4 has no frames, or frames without a pixel")
    return Film(syntax, rows, columns, bits, frames, round(1000 * duration / ticks / frames, 4))


def _coding(coding: bytes, configured: dict[bytes, bytes]) -> tuple[str, int]:
    """Return the transfer syntax and the bits of a sample."""
    if coding in {b"avc1", b"avc3"}:
        _, profile, constraints, level = configured[b"avcC"][:4]
        known = profile in {_HIGH, _MAIN} or (profile == _BASELINE and constraints & 0x40)
        if known and level <= _LEVEL_4_2:
            return _UID + ("102" if level <= _LEVEL_4_1 else "104"), 8
        raise UnsupportedTransferSyntax(f"an MP4 of H.264 profile {profile}, level {level / 10} is not kept")
    if coding in {b"hvc1", b"hev1"}:
        head = configured[b"hvcC"]
        profile, level = head[1] & 31, head[12]
        if profile in {_HEVC_MAIN, _HEVC_MAIN_10} and level <= _HEVC_LEVEL_5_1:
            return _UID + ("107" if profile == _HEVC_MAIN else "108"), 8 if profile == _HEVC_MAIN else 10
        raise UnsupportedTransferSyntax(f"an MP4 of H.265 profile {profile}, level {level / 30} is not kept")
    name = coding.decode("latin-1")
    raise UnsupportedTransferSyntax(f"an MP4 of coding {name!r} is not kept: H.264 and H.265 are")
