"""Tasks for the cage, each badly behaved in its own way; importable by name in a child process."""

import os
import pickle
import resource
import threading
import time
from pathlib import Path

from app.errors import Unreadable


def add(a, b):
    return a + b


def echo(value):
    return value


def process_id(_):
    return os.getpid()


def fail(kind, text):
    raise kind(text)


def read(path):
    return Path(path).read_bytes()


def recurse(depth):
    return recurse(depth + 1)


def end_by_signal(number):
    os.kill(os.getpid(), number)


def leave(status):
    os._exit(status)


def allocate(size):
    return len(bytearray(size))


def spin_s(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    return os.getpid()


def wait_for_ever():
    threading.Event().wait()


def tell_and_wait(news, mood):
    Path(news).write_text(str(os.getpid()))
    if mood == "busy":
        wait_for_ever()


def crash_on_multiples_of_thirteen(number):
    if number % 13 == 0:
        os.abort()
    if number % 13 == 1:
        raise Unreadable(f"{number}")
    return number * 2


class _Trap:
    def __reduce__(self):
        return (os.system, ("true",))


def answer_with_a_trap():
    pickle.dumps(_Trap())
    return _Trap()


def surroundings():
    return {
        "data": resource.getrlimit(resource.RLIMIT_DATA)[0],
        "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
        "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "environment": list(os.environ),
    }


def return_what_cannot_travel_on_five(number):
    return threading.Lock() if number == 5 else number
