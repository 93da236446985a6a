"""Images that are the same or nearly so: by file, by decoded pixels, by perceptual hash. Nothing is merged.

The perceptual hash is ImageHash's pHash of 256 bits. Copies that were compressed or scaled again differ in a
few of them, those made a fifth brighter in some 30; different pictures of skin in 76 and more.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.catalog.fingerprints import Pictured
from app.dicom.fingerprint_size import SMALL
from app.errors import SettingsError

HASH_SIZE = SMALL // 4  # pHash looks at four times as many pixels as it has bits, each way
HASH_BITS = HASH_SIZE**2
NEAR_BITS = 32
_ROWS = 1024  # compared with all others at once


@dataclass(frozen=True, slots=True)
class Pair:
    """Two images that are alike; `bits` of their perceptual hashes differ, None: the same pixels."""

    first: Pictured
    second: Pictured
    bits: int | None


def perceptual_hash(small: bytes) -> bytes:
    """Return the perceptual hash of a grey picture of SMALL x SMALL bytes.

    Raises SettingsError where ImageHash is not installed.
    """
    try:
        import imagehash  # noqa: PLC0415 it and SciPy are an extra that only this needs
    except ImportError:
        raise SettingsError(
            "Comparing images needs ImageHash. Run: .venv/bin/python -m pip install -e '.[duplicates]'"
        ) from None
    from PIL import Image  # noqa: PLC0415 as above

    picture = Image.frombytes("L", (SMALL, SMALL), small)
    bits: NDArray[Any] = imagehash.phash(picture, hash_size=HASH_SIZE).hash
    return np.packbits(bits.ravel()).tobytes()


def same_pixels(images: Sequence[Pictured]) -> list[list[Pictured]]:
    """Return the groups of images whose decoded pixels are the same."""
    groups: dict[bytes, list[Pictured]] = {}
    for one in images:
        if one.pixels_sha256 is not None:
            groups.setdefault(one.pixels_sha256, []).append(one)
    return [group for group in groups.values() if len(group) > 1]


def near_pairs(images: Sequence[Pictured], most_bits: int = NEAR_BITS) -> Iterator[Pair]:
    """Yield pairs of images whose perceptual hashes differ in few bits and whose pixels are not the same."""
    seen: dict[bytes, Pictured] = {}
    for one in images:  # of those with the same pixels one stands for all
        if one.perceptual is not None and one.pixels_sha256 is not None:
            seen.setdefault(one.pixels_sha256, one)
    distinct = list(seen.values())
    if len(distinct) < 2:
        return
    hashes = np.frombuffer(b"".join(one.perceptual or b"" for one in distinct), np.uint64)
    hashes = hashes.reshape(len(distinct), -1)
    for start in range(0, len(distinct), _ROWS):
        rows = hashes[start : start + _ROWS]
        bits = np.zeros((len(rows), len(distinct) - start), np.uint16)
        for word in range(hashes.shape[1]):
            bits += np.bitwise_count(rows[:, word, None] ^ hashes[None, start:, word])
        for row, column in zip(*np.nonzero(bits <= most_bits), strict=True):
            if column > row:
                first, second = distinct[start + row], distinct[start + column]
                yield Pair(first, second, int(bits[row, column]))
