"""Logs as JSON lines on standard error: one object a line, its time in UTC."""

import logging
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object, with what was passed as `extra={"facts": {...}}`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line. Control characters in values are escaped by JSON, so a line stays a line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= getattr(record, "facts", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def request_log_writer(level: str) -> Callable[[bytes], object] | None:
    """Return what takes the lines of requests, None at a level that leaves them out."""
    if logging.getLevelNamesMapping()[level.upper()] > logging.INFO:
        return None
    descriptor = sys.stderr.fileno()
    return lambda line: os.write(descriptor, line)


def configure_logging(level: str) -> None:
    """Send every logger of the process to standard error as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    logging.getLogger("uvicorn.access").disabled = True  # observability/requests.py says more
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # the line of the association says it
