"""What the process that starts those that serve knows of the settings."""

from typing import Any, NamedTuple


class Prepared(NamedTuple):
    """Plain data: it comes from another process, and what it is made of is imported with it."""

    chosen: dict[str, Any]  # every setting
    environment: dict[str, str]  # what the worker processes are to find in theirs
    welcome: str
