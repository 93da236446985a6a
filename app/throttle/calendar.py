"""Days and months of the calendar in UTC, as spans of whatever clock a store has."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple


class Period(NamedTuple):
    """A span of a clock, in its seconds."""

    since: float
    until: float


class Periods(NamedTuple):
    """The day and the month that it is."""

    day: Period
    month: Period


def periods_at(wall_s: float, clock_s: float) -> Periods:
    """Return the periods of a moment, told by seconds since 1970 and by the clock they are to be of."""
    moment = datetime.fromtimestamp(wall_s, UTC)
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    month = day.replace(day=1)
    next_month = (month + timedelta(days=31)).replace(day=1)
    offset = clock_s - wall_s

    def period(first: datetime, end: datetime) -> Period:
        return Period(first.timestamp() + offset, end.timestamp() + offset)

    return Periods(period(day, day + timedelta(days=1)), period(month, next_month))
