"""Requests of pynetdicom that follow one another at once get all their answers.

While a request waits, the library's other thread is to rest; whether it does is told by a flag that the
request before has left standing. Then that thread takes an answer, and the request waits for it in vain.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch


class _Checkpoint(threading.Event):
    """Where the other thread rests; when it may go on, it rests no more."""

    def __init__(self, association: Any) -> None:
        super().__init__()
        self._association = association
        self.set()

    def set(self) -> None:
        self._association._is_paused = False
        super().set()


@contextmanager
def resting_reactors() -> Iterator[None]:
    """Give each association such a checkpoint."""
    from pynetdicom.association import Association

    begin = Association.__init__

    def begin_with_checkpoint(self: Association, *given: Any, **named: Any) -> None:
        begin(self, *given, **named)
        self._reactor_checkpoint = _Checkpoint(self)

    with patch.object(Association, "__init__", begin_with_checkpoint):
        yield
