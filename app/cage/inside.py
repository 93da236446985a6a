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
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from app.cage.messages import Answer, Arguments, Kind, pack_answer, unpack_request
from app.errors import ArchiveError

_OPEN_FILES = 64
_SENTENCE_CHARACTERS = 300


def serve(handle: int, memory_bytes: int, cpu_s: int) -> None:
    """Answer the requests that come over the socket `handle` until it closes."""
    _settle(memory_bytes)
    connection = Connection(handle)
    threading.Thread(target=_end_with_the_parent, args=(handle,), daemon=True).start()
    while True:
        try:
            message = connection.recv_bytes()
        except (EOFError, ConnectionError):
            return
        function, batch = unpack_request(message)
        for arguments in batch:
            _allow_cpu(cpu_s)
            connection.send_bytes(_answer(function, arguments))


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


def _allow_cpu(cpu_s: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    soft = int(time.process_time()) + 1 + cpu_s
    resource.setrlimit(
        resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard)
    )


def _end_with_the_parent(handle: int) -> None:
    watch = select.poll()
    watch.register(handle, select.POLLRDHUP)
    watch.poll()
    os.kill(os.getpid(), signal.SIGKILL)


def _answer(function: Callable[..., Any], arguments: Arguments) -> bytes:
    try:
        return pack_answer(Answer(Kind.VALUE, function(*arguments)))
    except ArchiveError as error:
        return pack_answer(Answer(Kind.REFUSED, error.with_traceback(None)))
    except MemoryError:
        return pack_answer(Answer(Kind.EXHAUSTED, "it needs more memory than one file may use"))
    except RecursionError:
        return pack_answer(Answer(Kind.FAILED, "it is nested too deeply"))
    except Exception as error:  # noqa: BLE001 - a parser met with a stranger's file may raise anything
        return pack_answer(Answer(Kind.FAILED, _sentence(error)))


def _sentence(error: Exception) -> str:
    # An OSError's own text would name our files to the public.
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{type(error).__name__}: {' '.join(text.split())}"[:_SENTENCE_CHARACTERS]
