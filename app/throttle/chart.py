"""A line chart of bytes over time, as SVG: what was asked for, what went out, and the most that may."""

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 900, 420
LEFT, RIGHT, TOP, BOTTOM = 90, 20, 60, 50
POINTS = 240
FONT = 'font-family="sans-serif" font-size="13"'
DAY_S = 86_400.0

Samples = Sequence[tuple[float, float]]  # moment, amount


class Series(NamedTuple):
    """A line: its name, its colour, and how it goes."""

    name: str
    colour: str
    points: Samples
    dashes: str = ""


def accumulated(events: Samples, began_s: float, ended_s: float) -> list[tuple[float, float]]:
    """Return the sum of what has happened until each of so many moments."""
    step_s = (ended_s - began_s) / POINTS or 1.0
    points, total, events = [(began_s, 0.0)], 0.0, sorted(events)
    at = 0
    for number in range(1, POINTS + 1):
        moment = began_s + number * step_s
        while at < len(events) and (events[at][0] <= moment or number == POINTS):
            total += events[at][1]
            at += 1
        points.append((moment, total))
    return points


def draw(title: str, series: Sequence[Series]) -> str:
    """Return the SVG, the same for the same numbers."""
    moments = [moment for line in series for moment, _ in line.points]
    top, unit, scale = _top(max(amount for line in series for _, amount in line.points))
    frame = _Frame(min(moments), max(moments), top)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" {FONT}>',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="22" font-size="16">{escape(title)}</text>',
    ]
    parts += [
        _level(frame.y(amount), f"{amount / scale:g} {unit}") for amount in (top * n / 5 for n in range(6))
    ]
    parts += [_moment(frame.x(moment), label) for moment, label in _ticks(frame.first_s, frame.last_s)]
    parts += [_line(frame, line, LEFT + number * 260) for number, line in enumerate(series)]
    return "\n".join([*parts, "</svg>\n"])


class _Frame(NamedTuple):
    """From moments and amounts to places."""

    first_s: float
    last_s: float
    top: float

    def x(self, moment: float) -> str:
        part = (moment - self.first_s) / (self.last_s - self.first_s or 1)
        return f"{LEFT + (WIDTH - LEFT - RIGHT) * part:.1f}"

    def y(self, amount: float) -> str:
        return f"{HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * amount / self.top:.1f}"


def _level(y: str, label: str) -> str:
    return (
        f'<path d="M{LEFT} {y}H{WIDTH - RIGHT}" stroke="#ddd"/>'
        f'<text x="{LEFT - 8}" y="{y}" dy="4" text-anchor="end">{label}</text>'
    )


def _moment(x: str, label: str) -> str:
    return (
        f'<path d="M{x} {HEIGHT - BOTTOM}v5" stroke="#888"/>'
        f'<text x="{x}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{label}</text>'
    )


def _line(frame: _Frame, line: Series, legend: int) -> str:
    points = " ".join(f"{frame.x(moment)},{frame.y(amount)}" for moment, amount in line.points)
    stroke = f'stroke="{line.colour}" stroke-width="2"'
    if line.dashes:
        stroke += f' stroke-dasharray="{line.dashes}"'
    return (
        f'<polyline points="{points}" fill="none" {stroke}/><path d="M{legend} 42h28" {stroke}/>'
        f'<text x="{legend + 36}" y="46">{escape(line.name)}</text>'
    )


def _top(largest: float) -> tuple[float, str, float]:
    """Return where the axis ends, a round number, and the unit in which it is written."""
    unit, scale = next(
        ((unit, scale) for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)) if largest >= scale),
        ("kB", 1e3),
    )
    power = 1.0
    while power * 10 <= max(largest / scale, 1):
        power *= 10
    for step in (1, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10):
        if step * power * scale >= largest:
            break
    return step * power * scale, unit, scale


def _ticks(first_s: float, last_s: float) -> list[tuple[float, str]]:
    """Return midnights in UTC, at most some eight; the ends where there is none between."""
    days = max(1, round((last_s - first_s) / DAY_S / 8))
    midnight = first_s - first_s % DAY_S
    found = []
    while midnight <= last_s:
        if midnight >= first_s:
            found.append((midnight, f"{datetime.fromtimestamp(midnight, UTC):%d %b}"))
        midnight += days * DAY_S
    if len(found) > 1:
        return found
    return [(moment, f"{datetime.fromtimestamp(moment, UTC):%d %b %H:%M}") for moment in (first_s, last_s)]
