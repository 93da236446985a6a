"""From stored values of one sample to what a display shows: PS3.3 C.11.1, C.11.2, C.11.4 and C.7.6.3.1.2.

Stored value -> modality transformation -> window or look-up table -> presentation -> 0 to 255. For
integers of up to 16 bits the whole way is worked out once per possible value, not per pixel.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from app.dicom.decoding import Samples
from app.dicom.image_pixel import ImagePixel
from app.dicom.lookup_tables import LookupTable, read_table
from app.dicom.rendering_options import Window
from app.dicom.uids import EXPLICIT_VR_BIG_ENDIAN

Display = NDArray[np.uint8]
Values = NDArray[np.float64]

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
_PADDING = ("PixelPaddingValue", "PixelPaddingRangeLimit")


def gray(samples: Samples, header: Dataset, image: ImagePixel, number: int, window: Window | None) -> Display:
    """Show monochrome frame `number` with `window`, else the data set's own, else over its whole range."""
    own = _frame_transformation(header, number)
    window = window or _stored_window(own)
    modality = _table(own, "ModalityLUTSequence", image)
    # What enters a VOI table is signed where the modality transformation can make it so (C.11.2.1.1).
    voi = _table(own, "VOILUTSequence", image, is_signed=modality is None and _may_be_negative(own, image))
    presentation = _table(header, "PresentationLUTSequence", image, is_signed=False)

    def shown(values: NDArray[Any]) -> Display:
        modal = _modal(values, own, modality)
        if window:
            level = _windowed(modal, window)
        elif voi:
            level = voi.of(modal) / voi.top
        else:
            lowest, highest = _range(samples, own, image, modality)
            level = (modal - lowest) / max(highest - lowest, 1e-12)
        if presentation:
            entries = len(presentation.entries) - 1
            level = presentation.of(np.clip(np.nan_to_num(level), 0, 1) * entries) / presentation.top
        elif _is_inverse(header):
            level = 1 - level
        return np.asarray(np.clip(np.nan_to_num(level) * 255 + 0.5, 0, 255), np.uint8)

    return by_table(samples, image, shown)


def by_table(samples: Samples, image: ImagePixel, shown: Callable[[NDArray[Any]], Display]) -> Display:
    """Work `shown` out once per possible value where there are few, else for every sample."""
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


def _table(
    own: Dataset, keyword: str, image: ImagePixel, *, is_signed: bool | None = None
) -> LookupTable | None:
    items = own.get(keyword)
    if not items:
        return None
    is_signed = image.is_signed if is_signed is None else is_signed
    is_big_endian = image.transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN
    return read_table(items[0], is_signed=is_signed, is_big_endian=is_big_endian)


def _modal(values: NDArray[Any], own: Dataset, table: LookupTable | None) -> Values:
    if table:
        return table.of(values).astype(np.float64)
    slope, intercept = _first(own.get("RescaleSlope")), _first(own.get("RescaleIntercept"))
    if slope is None or intercept is None:
        return values.astype(np.float64)
    return values.astype(np.float64) * slope + intercept


def _may_be_negative(own: Dataset, image: ImagePixel) -> bool:
    return image.is_signed or (_first(own.get("RescaleIntercept")) or 0) < 0


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
    for keyword in _PADDING:
        if header.get(keyword) is not None:
            own[keyword] = header[keyword]
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


def _range(
    samples: Samples, own: Dataset, image: ImagePixel, modality: LookupTable | None
) -> tuple[float, float]:
    if image.bits_stored <= 8 and not image.is_signed and not image.is_float:
        ends: NDArray[Any] = np.array([0, (1 << image.bits_stored) - 1])
    else:
        seen = _without_padding(samples, own, image)
        ends = np.array([np.nanmin(seen), np.nanmax(seen)])
    ends = _modal(ends, own, modality)
    return float(ends.min()), float(ends.max())


def _without_padding(samples: Samples, own: Dataset, image: ImagePixel) -> Samples:
    """Leave out what pads the image to a rectangle, which is no value of it (C.7.5.1.1.2)."""
    ends = [_first(own.get(keyword)) for keyword in _PADDING]
    if ends[0] is None:
        return samples
    low, high = sorted((ends[0], ends[0] if ends[1] is None else ends[1]))
    if image.is_signed and low > (1 << image.bits_stored - 1) - 1:  # the VR was unsigned, the value is not
        low, high = low - (1 << image.bits_allocated), high - (1 << image.bits_allocated)
    seen = samples[(samples < low) | (samples > high)]
    return seen if seen.size else samples


def _is_inverse(header: Dataset) -> bool:
    shape = header.get("PresentationLUTShape")
    if shape:
        return bool(shape == "INVERSE")
    return bool(header.get("PhotometricInterpretation") == "MONOCHROME1")
