"""What runs in a caged process: it takes its limits on, then answers requests until its parent is gone.

Limits: memory (RLIMIT_DATA, so that mapped files are free), processor seconds for each task (RLIMIT_CPU,
moved ahead before each), no core file, few open files. A processor limit ends even C code that never returns.

No orphan: when the parent ends, however it ends, its side of the pipe closes. A process that waits for a
request sees the end of the pipe; a thread watches for the same while a task runs. (PR_SET_PDEATHSIG would
follow the parent's *thread*, and a web server's threads come and go.)
"""

import contextlib
import logging
import os
import resource
import select
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from app.cage.channel import Channel
from app.cage.messages import Answer, Arguments, Kind, pack_answers, unpack_answers, unpack_request
from app.errors import ArchiveError

_OPEN_FILES = 64
_SENTENCE_CHARACTERS = 300
_TOGETHER_S = 0.05


def serve(handle: int, memory_bytes: int, cpu_s: int) -> None:
    """Answer the requests that come over the socket `handle` until it closes."""
    _settle(memory_bytes)
    channel = Channel(handle)
    threading.Thread(target=_end_with_the_parent, args=(handle,), daemon=True).start()
    allowance = _Allowance(cpu_s)
    while True:
        try:
            message = channel.receive(memory_bytes)
        except (EOFError, ConnectionError):
            return
        function, batch = unpack_request(message)
        for answers in _answers(function, batch, allowance):
            channel.send(_pack(answers))


def _settle(memory_bytes: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the parent decides when we end
    with contextlib.suppress(OSError):  # if the machine runs out of memory, this process goes first
        Path("/proc/self/oom_score_adj").write_text("1000")
    warnings.simplefilter("ignore")  # what libraries think of a stranger's file is told by the answer
    logging.disable(logging.CRITICAL)
    threading.stack_size(256 * 1024)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 2)  # the same for C libraries; until here an error of ours could be read
    os.close(silence)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    _limit(resource.RLIMIT_DATA, memory_bytes)


def _limit(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (allowed, allowed))


class _Allowance:
    """The processor seconds of a task, from its beginning."""

    def __init__(self, cpu_s: int) -> None:
        self._cpu_s, self._until_s = cpu_s, 0

    def renew(self) -> None:
        """Move the limit ahead; for many short tasks it stays where it is."""
        until_s = int(time.process_time()) + 1 + self._cpu_s
        if until_s != self._until_s:
            hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
            allowed = until_s if hard == resource.RLIM_INFINITY else min(until_s, hard)
            resource.setrlimit(resource.RLIMIT_CPU, (allowed, hard))
            self._until_s = until_s


def _end_with_the_parent(handle: int) -> None:
    watch = select.poll()
    watch.register(handle, select.POLLRDHUP)
    watch.poll()
    os.kill(os.getpid(), signal.SIGKILL)


def _answers(
    function: Callable[..., Any], batch: Sequence[Arguments], allowance: _Allowance
) -> Iterator[Sequence[Answer]]:
    """Yield the answers to a batch, those of a short while together: a message each would cost more."""
    answers: list[Answer] = []
    since_s = time.monotonic()
    for arguments in batch:
        allowance.renew()
        answers.append(_answer(function, arguments))
        if time.monotonic() - since_s >= _TOGETHER_S or answers[-1].kind == Kind.EXHAUSTED:
            yield answers
            answers, since_s = [], time.monotonic()
    if answers:
        yield answers


def _answer(function: Callable[..., Any], arguments: Arguments) -> Answer:
    try:
        return Answer(Kind.VALUE, function(*arguments))
    except ArchiveError as error:
        return Answer(Kind.REFUSED, error.with_traceback(None))
    except Exception as error:  # noqa: BLE001 - a parser met with a stranger's file may raise anything
        return _failure(error)


def _pack(answers: Sequence[Answer]) -> bytes:
    try:
        return pack_answers(answers)
    except Exception as error:  # noqa: BLE001 - what a parser returns may hold anything
        if len(answers) == 1:
            return pack_answers([_failure(error)])
    return pack_answers([unpack_answers(_pack([answer]))[0] for answer in answers])


def _failure(error: Exception) -> Answer:
    if isinstance(error, MemoryError):
        return Answer(Kind.EXHAUSTED, "it needs more memory than one file may use")
    if isinstance(error, RecursionError):
        return Answer(Kind.FAILED, "it is nested too deeply")
    return Answer(Kind.FAILED, _sentence(error))


def _sentence(error: Exception) -> str:
    # An OSError's own text would name our files to the public.
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{type(error).__name__}: {' '.join(text.split())}"[:_SENTENCE_CHARACTERS]
