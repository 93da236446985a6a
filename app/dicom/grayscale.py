"""From stored values of one sample to what a display shows: PS3.3 C.11.1, C.11.2 and C.7.6.3.1.2.

Stored value -> modality transformation -> window or look-up table -> 0 to 255, or a palette's colours. For
integers of up to 16 bits the whole way is worked out once per possible value, not per pixel.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi

from app.dicom.decoding import Samples
from app.dicom.image_pixel import ImagePixel

Display = NDArray[np.uint8]
Values = NDArray[np.float64]
Function = Literal["linear", "linear-exact", "sigmoid"]

# Functional groups that keep what a single-frame image has at its top level (PS3.3 C.7.6.16.2.9 and .10).
_FUNCTIONAL_GROUPS = ("PixelValueTransformationSequence", "FrameVOILUTSequence")
_COPIED = (
    "RescaleIntercept",
    "RescaleSlope",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "VOILUTSequence",
)


@dataclass(frozen=True, slots=True)
class Window:
    """A window of PS3.3 C.11.2.1.2, in values after the modality transformation."""

    center: float
    width: float
    function: Function = "linear"


def palette_colours(samples: Samples, header: Dataset, image: ImagePixel) -> Display:
    """Look up the colours of a PALETTE COLOR image."""

    def colours(values: NDArray[Any]) -> Display:
        table = apply_color_lut(values.astype(f"u{image.sample_bytes}"), header)
        return np.asarray(table if table.dtype == np.uint8 else table >> 8, np.uint8)

    return _by_table(samples, image, colours)


def gray(samples: Samples, header: Dataset, image: ImagePixel, number: int, window: Window | None) -> Display:
    """Show monochrome frame `number` with `window`, else the data set's own, else over its whole range."""
    own = _frame_transformation(header, number)
    window = window or _stored_window(own)

    def shown(values: NDArray[Any]) -> Display:
        modal = np.asarray(apply_modality_lut(values, own), np.float64)
        if window:
            level = _windowed(modal, window)
        elif own.get("VOILUTSequence"):
            top = 2 ** int(own.VOILUTSequence[0].LUTDescriptor[2]) - 1
            level = np.asarray(apply_voi(values_as_integers(modal), own), np.float64) / top
        else:
            lowest, highest = _range(samples, own, image)
            level = (modal - lowest) / max(highest - lowest, 1e-12)
        if _is_inverse(header):
            level = 1 - level
        return np.asarray(np.clip(np.nan_to_num(level) * 255 + 0.5, 0, 255), np.uint8)

    return _by_table(samples, image, shown)


def values_as_integers(values: Values) -> NDArray[np.int64]:
    """Round to what indexes a look-up table."""
    return np.rint(values).astype(np.int64)


def _by_table(samples: Samples, image: ImagePixel, shown: Callable[[NDArray[Any]], Display]) -> Display:
    if image.is_float or image.bits_stored > 16:
        return shown(samples)
    mask = (1 << image.bits_stored) - 1
    every = np.arange(mask + 1, dtype=np.int64)
    if image.is_signed:
        every = np.where(every > mask >> 1, every - mask - 1, every)
    unused_low = image.high_bit + 1 - image.bits_stored
    stored = samples.view(f"u{samples.dtype.itemsize}")
    indexes = (stored >> unused_low if unused_low else stored) & mask
    return np.asarray(shown(every)[indexes], np.uint8)


def _frame_transformation(header: Dataset, number: int) -> Dataset:
    """Collect the transformation of a frame, from the top level or its functional groups."""
    own = Dataset()
    shared = header.get("SharedFunctionalGroupsSequence") or []
    each = header.get("PerFrameFunctionalGroupsSequence") or []
    groups = [header, *shared[:1], *each[number - 1 : number]]
    sources = [header]
    sources += [item for group in groups[1:] for name in _FUNCTIONAL_GROUPS for item in group.get(name) or []]
    for source in sources:
        for keyword in _COPIED:
            if source.get(keyword) not in (None, ""):
                setattr(own, keyword, source.get(keyword))
    if "ModalityLUTSequence" in header:
        own.ModalityLUTSequence = header.ModalityLUTSequence
    own.PixelRepresentation = header.get("PixelRepresentation", 0)
    own.BitsStored = header.get("BitsStored", 16)
    return own


def _stored_window(own: Dataset) -> Window | None:
    center, width = (_first(own.get(keyword)) for keyword in ("WindowCenter", "WindowWidth"))
    function = str(own.get("VOILUTFunction") or "LINEAR").strip().lower().replace("_", "-")
    if center is None or width is None or width <= 0 or function not in {"linear", "linear-exact", "sigmoid"}:
        return None
    return Window(center, width, function)  # type: ignore[arg-type]


def _first(value: Any) -> float | None:  # noqa: ANN401 - a value, several, or none
    try:
        return float(value if isinstance(value, str | float | int) else value[0])
    except (TypeError, ValueError, IndexError):
        return None


def _windowed(values: Values, window: Window) -> Values:
    center, width = window.center, window.width
    if window.function == "sigmoid":
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700))), np.float64)
    if window.function == "linear-exact":
        return np.asarray((values - center) / width + 0.5, np.float64)
    if width <= 1:
        return np.asarray(values > center - 0.5, np.float64)
    return np.asarray((values - (center - 0.5)) / (width - 1) + 0.5, np.float64)


def _range(samples: Samples, own: Dataset, image: ImagePixel) -> tuple[float, float]:
    if image.bits_stored <= 8 and not image.is_signed and not image.is_float:
        ends: NDArray[Any] = np.array([0, (1 << image.bits_stored) - 1])
    else:
        ends = np.array([np.nanmin(samples), np.nanmax(samples)])
    ends = np.asarray(apply_modality_lut(ends, own), np.float64)
    return float(ends.min()), float(ends.max())


def _is_inverse(header: Dataset) -> bool:
    shape = header.get("PresentationLUTShape")
    if shape:
        return bool(shape == "INVERSE")
    return bool(header.get("PhotometricInterpretation") == "MONOCHROME1")
