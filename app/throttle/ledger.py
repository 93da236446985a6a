"""What has been sent this month, kept by all processes of a host in one small file, and what is told of it.

Bytes are added up in the process and brought to the file each MiB, or with the first ones after five seconds.
The month is that of the calendar in UTC, as providers bill. Alerts are noted in the file: a restart neither
forgets nor repeats them.
"""

import fcntl
import logging
import os
import struct
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from app.errors import SettingsError
from app.throttle.calendar import periods_at
from app.throttle.cost import Cost
from app.throttle.file_lock import locked_within

ALERTS_PERCENT = (50, 80, 95)
BYTES = 2**20  # brought to the file at the latest
LATEST_S = 5.0
CLOSING_S = 1.0  # for the last of them
DAY_S = 86_400.0

_MAGIC = b"dzspent1"
_RECORD = struct.Struct("<8sIIq")  # magic, month, per cent told of, bytes

logger = logging.getLogger("dermzoo.budget")


class Month(NamedTuple):
    """What has been sent in a month so far."""

    number: int  # 12 * year + month - 1
    told_percent: int = 0
    sent_bytes: int = 0

    @property
    def name(self) -> str:
        """The month as `2026-11`."""
        return f"{self.number // 12:04}-{self.number % 12 + 1:02}"


class Ledger:
    """The file at `path`; safe from any thread."""

    def __init__(self, path: Path, cost: Cost, wall: Callable[[], float] = time.time) -> None:
        self.cost = cost
        self._wall, self._lock = wall, Lock()
        self._bytes, self._due_s, self._known = 0, 0.0, Month(0)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SettingsError(f"what is sent cannot be noted in {path}: {error.strerror}") from error

    def add(self, size: int) -> None:
        """Count bytes that were charged; a negative size was not sent after all."""
        with self._lock:
            self._bytes += size
            if abs(self._bytes) >= BYTES or self._wall() >= self._due_s:
                self._bring()

    def month(self) -> Month:
        """Return this month as all processes have noted it, and this one up to now."""
        with self._lock:
            return self._bring()

    def close(self) -> None:
        """Bring what is left to the file, and let go of it."""
        with self._lock:
            self._bring(CLOSING_S)
            os.close(self._file)

    def _bring(self, patience_s: float = 0.0) -> Month:
        """Bring what was added up to the file; where another process holds it, later."""
        now = self._wall()
        moment = datetime.fromtimestamp(now, UTC)
        number = 12 * moment.year + moment.month - 1
        if not locked_within(self._file, patience_s):
            known = self._known if self._known.number == number else Month(number)
            return known._replace(sent_bytes=max(0, known.sent_bytes + self._bytes))
        try:
            month = self._read(number)
            sent_bytes = max(0, month.sent_bytes + self._bytes)
            month = month._replace(sent_bytes=sent_bytes, told_percent=self._tell(month, sent_bytes))
            os.pwrite(self._file, _RECORD.pack(_MAGIC, month.number, month.told_percent, month.sent_bytes), 0)
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        self._bytes, self._due_s, self._known = 0, now + LATEST_S, month
        return month

    def _read(self, number: int) -> Month:
        """Return the month in the file, or a new one if that is over."""
        record = os.pread(self._file, _RECORD.size, 0)
        if len(record) == _RECORD.size and record[: len(_MAGIC)] == _MAGIC:
            month = Month(*_RECORD.unpack(record)[1:])
            if number <= month.number <= number + 1:  # a clock that was set back begins no month again
                return month
            facts = {"month": month.name, "sent_bytes": month.sent_bytes, "cost": self._price(month)}
            logger.info("a month has ended", extra={"facts": facts})
        elif record:
            logger.error("the file with what was sent this month is damaged; the count begins anew")
        return Month(number)

    def _tell(self, month: Month, sent_bytes: int) -> int:
        """Log an alert that is due; return the highest that was told of."""
        limit = self.cost.per_month
        if limit is None:
            return month.told_percent
        percent = 100 * self.cost.price(sent_bytes) / limit
        reached = max((alert for alert in ALERTS_PERCENT if percent >= alert), default=0)
        if reached <= month.told_percent:
            return month.told_percent
        facts = {
            "month": month.name,
            "percent": round(percent, 1),
            "cost": round(self.cost.price(sent_bytes), 2),
            "per_month": limit,
            "currency": self.cost.currency,
        }
        logger.warning(f"{reached} % of the month's cost is reached", extra={"facts": facts})  # noqa: G004
        return reached

    def _price(self, month: Month) -> float:
        return round(self.cost.price(month.sent_bytes), 2)


def forecast_bytes(sent_bytes: float, wall_s: float) -> float:
    """Return what the month comes to if it goes on as before; in its first day, as if that were over."""
    since, until = periods_at(wall_s, wall_s).month
    return sent_bytes + sent_bytes / max(wall_s - since, DAY_S) * (until - wall_s)
