"""A lock that several processes take in turns, and that nobody waits for longer than he can."""

import fcntl
import time

STEP_S = 0.0001


def locked_within(descriptor: int, seconds: float) -> bool:
    """Lock an open file for this process alone, trying for so long; say whether it is locked.

    A process that was stopped holds its lock until it goes on or dies.
    """
    ends_s = 0.0
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            now = time.monotonic()
            ends_s = ends_s or now + seconds
            if now >= ends_s:
                return False
            time.sleep(STEP_S)
        else:
            return True
