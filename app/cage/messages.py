"""What crosses the pipe between a parent and its caged child.

A request is a function, by its name, and a batch of argument tuples. An answer is one outcome; those that
come in quick succession travel together.

The parent reads answers without trust: a child whose decoder was taken over by the file it decodes can send
any bytes. Plain data pass, and instances of this program's own classes; no other name is looked up.
"""

import io
import pickle
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

Arguments = tuple[Any, ...]

_PROTOCOL = 5
_HARMLESS = {
    ("builtins", "bytearray"),
    ("builtins", "set"),
    ("builtins", "frozenset"),
    ("builtins", "complex"),
}


class Kind(IntEnum):
    """How a task ended."""

    VALUE = 0
    REFUSED = 1  # an ArchiveError, raised by the task itself
    FAILED = 2  # any other exception, as a sentence
    EXHAUSTED = 3  # memory ran out: this process should be replaced


class Answer(NamedTuple):
    """The outcome of one task: what it returned, the error it raised, or a sentence."""

    kind: int
    content: Any


class _AnswerReader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - pickle's own signature
        if (module, name) in _HARMLESS:
            return super().find_class(module, name)
        # A dot in the name would reach through our modules to what they import.
        if module.startswith("app.") and "." not in name:
            found = super().find_class(module, name)
            if isinstance(found, type) and found.__module__ == module:
                return found
        raise pickle.UnpicklingError(f"{module}.{name} has no place in an answer")


def pack_request(function: Callable[..., Any], batch: Sequence[Arguments]) -> bytes:
    """Serialise a request; `function` must be importable by its name."""
    return pickle.dumps((function, tuple(batch)), _PROTOCOL)


def unpack_request(message: bytes) -> tuple[Callable[..., Any], tuple[Arguments, ...]]:
    """Read a request, in the child: it comes from the parent and is trusted."""
    function, batch = pickle.loads(message)  # noqa: S301 - the parent wrote it
    return function, batch


def pack_answers(answers: Sequence[Answer]) -> bytes:
    """Serialise answers, in the child."""
    return pickle.dumps([(int(answer.kind), answer.content) for answer in answers], _PROTOCOL)


def unpack_answers(message: bytes) -> list[Answer]:
    """Read answers, in the parent; raises `pickle.UnpicklingError` or other errors when they are none."""
    return [Answer(Kind(kind), content) for kind, content in _AnswerReader(io.BytesIO(message)).load()]
