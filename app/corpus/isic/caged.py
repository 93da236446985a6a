"""How the importer runs what touches strangers' pixels."""

from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class RunCaged(Protocol):
    """`Cage.run`, or a plain call in a test."""

    def __call__(self, function: Callable[..., T], /, *args: object) -> T:
        """Return what the function returns for the arguments."""
