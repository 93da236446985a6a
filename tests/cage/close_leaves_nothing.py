"""Opens and closes cages and looks at what is left; run by test_cage in an interpreter of its own."""

import gc
import signal
import threading
from pathlib import Path

from app.cage import Cage
from app.errors import CagedFailure
from tests.cage import tasks

MIB = 2**20


def open_files() -> list[str]:
    """The descriptors of this process that are the cage's to close: all but the one that lists them."""
    gc.collect()
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def use_and_close() -> None:
    """One cage with a crash in it, closed twice; none of its processes is left."""
    cage = Cage(3, 256 * MIB, 2)
    running = {outcome for _, outcome in cage.map(tasks.process_id, range(30), chunk_size=1)}
    try:
        cage.run(tasks.end_by_signal, signal.SIGSEGV)
    except CagedFailure:
        cage.close()
        cage.close()
    assert running
    assert all(not Path(f"/proc/{process_id}").exists() for process_id in running)


def threads() -> int:
    """How many threads there are once the one that ends idle children has noticed that there are none."""
    for thread in threading.enumerate():
        if thread.name == "cage-idle":
            thread.join()
    return threading.active_count()


if __name__ == "__main__":
    use_and_close()  # what is opened once and kept is open now
    before = threads(), open_files()
    for _ in range(3):
        use_and_close()
    assert (threads(), open_files()) == before
