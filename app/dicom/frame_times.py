"""How long each frame of a multi-frame image is shown (PS3.3 C.7.6.5)."""

from collections.abc import Sequence

from pydicom.dataset import Dataset

_DEFAULT_MS, _SHORTEST_MS, _LONGEST_MS = 100, 20, 10_000


def frame_durations_ms(header: Dataset, numbers: Sequence[int]) -> list[int]:
    """Return the milliseconds of each frame: by Frame Time Vector, Frame Time or a rate, else 100."""
    vector = header.get("FrameTimeVector")
    times = [vector] if isinstance(vector, int | float) else list(vector or [])
    each = _number(header.get("FrameTime"))
    if not each:
        rates = (_number(header.get(name)) for name in ("RecommendedDisplayFrameRate", "CineRate"))
        each = next((1000 / rate for rate in rates if rate), _DEFAULT_MS)
    # Entry n of the vector is the time between frame n - 1 and frame n; the first is 0.
    durations = (_number(times[number]) if number < len(times) else each for number in numbers)
    return [round(min(max(duration or each, _SHORTEST_MS), _LONGEST_MS)) for duration in durations]


def _number(value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return 0.0
    return number if 0 < number < float("inf") else 0.0
