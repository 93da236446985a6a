"""Where frames and bulk values lie in a file, packed small for the catalogue.

One instance keeps one short byte string for its frames and one for its bulk values: a request for either
(PS3.18 10.4.1.1) is then a range of the stored file. Frame numbers start at 1.

Layout of the frame string, little endian; the first byte is its kind:

    (empty)                                     no frames
    U  offset u64, length u64, count u32        frames of equal length, one after the other
    F  (offset u64, length u64) for each frame  one segment a frame
    S  count u32, (segments so far u32) for each frame, (offset u64, length u64) for each segment
    D  count u32                                frames that exist only after decoding
"""

import struct
from collections.abc import Mapping, Sequence
from itertools import accumulate, chain
from typing import NamedTuple

import orjson

from app.errors import NotFound

_UNIFORM = struct.Struct("<cQQI")
_COUNT = struct.Struct("<cI")
_SEGMENT = struct.Struct("<QQ")


class Segment(NamedTuple):
    """A range of bytes of the file."""

    offset: int
    length: int


def pack_uniform(offset: int, length: int, count: int) -> bytes:
    """Pack ``count`` frames of ``length`` bytes each that follow one another from ``offset``."""
    return _UNIFORM.pack(b"U", offset, length, count) if count else b""


def pack_frames(frames: Sequence[Sequence[Segment]]) -> bytes:
    """Pack frames, each made of one or more segments of the file, in order."""
    if not frames:
        return b""
    if len(frames) == 1 and len(frames[0]) == 1:
        return pack_uniform(*frames[0][0], 1)
    segments = tuple(chain.from_iterable(frames))
    table = struct.pack(f"<{2 * len(segments)}Q", *chain.from_iterable(segments))
    if all(len(frame) == 1 for frame in frames):
        return b"F" + table
    ends = struct.pack(f"<{len(frames)}I", *accumulate(map(len, frames)))
    return _COUNT.pack(b"S", len(frames)) + ends + table


def pack_decoded(count: int) -> bytes:
    """Pack ``count`` frames that no range of the file's bytes holds: they must be decoded."""
    return _COUNT.pack(b"D", count) if count else b""


def needs_decoding(packed: bytes) -> bool:
    """Whether the frames cannot be cut out of the file as bytes."""
    return packed[:1] == b"D"


def count_frames(packed: bytes) -> int:
    """How many frames there are."""
    if not packed:
        return 0
    kind = packed[:1]
    if kind == b"U":
        return int(_UNIFORM.unpack(packed)[3])
    if kind == b"F":
        return (len(packed) - 1) // _SEGMENT.size
    return int(_COUNT.unpack_from(packed)[1])


def frame_segments(packed: bytes, number: int) -> tuple[Segment, ...]:
    """Segments of frame ``number`` (from 1); NotFound if there is none or it must be decoded."""
    count = count_frames(packed)
    if not 1 <= number <= count:
        raise NotFound(f"There is no frame {number}; the instance has {count}.")
    kind = packed[:1]
    if kind == b"U":
        _, offset, length, _ = _UNIFORM.unpack(packed)
        return (Segment(offset + (number - 1) * length, length),)
    if kind == b"F":
        return (Segment(*_SEGMENT.unpack_from(packed, 1 + (number - 1) * _SEGMENT.size)),)
    if kind == b"D":
        raise NotFound(f"Frame {number} is not a range of the file; it must be decoded.")
    ends = _COUNT.size
    first = struct.unpack_from("<I", packed, ends + 4 * (number - 2))[0] if number > 1 else 0
    stop = struct.unpack_from("<I", packed, ends + 4 * (number - 1))[0]
    table = ends + 4 * count
    return tuple(
        Segment(*_SEGMENT.unpack_from(packed, table + index * _SEGMENT.size)) for index in range(first, stop)
    )


def pack_bulk(values: Mapping[str, Segment]) -> bytes:
    """Pack the ranges of bulk values by path (a tag, or tag/item/tag for a nested one; items from 0)."""
    return orjson.dumps({path: list(segment) for path, segment in values.items()}) if values else b""


def bulk_segment(packed: bytes, path: str) -> Segment | None:
    """Where the bulk value at ``path`` lies in the file; None if no range of the file holds it."""
    found = orjson.loads(packed).get(path) if packed else None
    return Segment(*found) if found else None


def bulk_paths(packed: bytes) -> list[str]:
    """Paths of all bulk values that are ranges of the file, in the order of the data set."""
    return list(orjson.loads(packed)) if packed else []
