"""ICC profiles of the colour spaces that `iccprofile` names (PS3.18 8.3.5.1.5), from their definitions.

Matrix and tone curves, ICC.1:2001-04 (version 2): sRGB of IEC 61966-2-1, Adobe RGB (1998), and ROMM RGB of
ISO 22028-2. The bytes are the same on every machine and day.
"""

import struct
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Point = tuple[float, float]

_D50 = (0.9642, 1.0, 0.8249)  # the white of the profile connection space
_D50_POINT, _D65_POINT = (0.3457, 0.3585), (0.3127, 0.3290)
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_CURVE_POINTS = 1024
_ADOBE_GAMMA = 563 / 256

_SPACES: dict[str, tuple[str, Point, tuple[Point, Point, Point]]] = {
    "srgb": ("sRGB IEC61966-2-1", _D65_POINT, ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))),
    "adobergb": ("Compatible with Adobe RGB (1998)", _D65_POINT, ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))),
    "rommrgb": ("ROMM RGB", _D50_POINT, ((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001))),
}


@lru_cache(maxsize=len(_SPACES))
def space_profile(name: str) -> bytes:
    """Return the profile of `srgb`, `adobergb` or `rommrgb`."""
    description, white, primaries = _SPACES[name]
    colorants = colorants_d50(white, primaries)
    text = description.encode()
    curve = _curve(name)
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text + b"\0" + bytes(78),
        b"cprt": b"text\0\0\0\0No copyright is claimed.\0",
        b"wtpt": _xyz(_D50),
        b"rXYZ": _xyz(colorants[:, 0]),
        b"gXYZ": _xyz(colorants[:, 1]),
        b"bXYZ": _xyz(colorants[:, 2]),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    return _profile(tags)


def colorants_d50(white: Point, primaries: tuple[Point, Point, Point]) -> Floats:
    """Return the XYZ of the primaries as columns, adapted from their white to D50 (Bradford)."""
    columns = np.array([_of_point(point) for point in primaries]).T
    own_white = np.array(_of_point(white))
    matrix = columns * np.linalg.solve(columns, own_white)
    ratio = (_BRADFORD @ np.array(_D50)) / (_BRADFORD @ own_white)
    return np.asarray(np.linalg.inv(_BRADFORD) @ np.diag(ratio) @ _BRADFORD @ matrix, np.float64)


def _of_point(point: Point) -> tuple[float, float, float]:
    x, y = point
    return x / y, 1.0, (1 - x - y) / y


def _srgb_to_linear(values: Floats) -> Floats:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _romm_to_linear(values: Floats) -> Floats:
    return np.where(values < 16 * 0.001953125, values / 16, values**1.8)


_TO_LINEAR: dict[str, Callable[[Floats], Floats]] = {"srgb": _srgb_to_linear, "rommrgb": _romm_to_linear}


def _curve(name: str) -> bytes:
    if name not in _TO_LINEAR:
        return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(_ADOBE_GAMMA * 256))
    linear = _TO_LINEAR[name](np.linspace(0, 1, _CURVE_POINTS))
    return (
        b"curv\0\0\0\0" + struct.pack(">I", _CURVE_POINTS) + np.rint(linear * 65535).astype(">u2").tobytes()
    )


def _xyz(values: Floats | tuple[float, float, float]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(float(value) * 65536) for value in values))


def _profile(tags: dict[bytes, bytes]) -> bytes:
    offset = 128 + 4 + 12 * len(tags)
    table, data, places = struct.pack(">I", len(tags)), b"", dict[bytes, int]()
    for signature, content in tags.items():
        if content not in places:  # the three curves are one
            places[content] = offset + len(data)
            data += content + bytes(-len(content) % 4)
        table += struct.pack(">4sII", signature, places[content], len(content))
    size = offset + len(data)
    created = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
    head = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x02400000, b"mntr", b"RGB ", b"XYZ ") + created
    head += b"acsp" + bytes(28) + _xyz(_D50)[8:]
    return head.ljust(128, b"\0") + table + data
