"""Where the processes of a server keep the counts that they add up."""

import os
from pathlib import Path

MULTIPROCESS_DIR = "PROMETHEUS_MULTIPROC_DIR"


def share_between_processes(folder: Path) -> None:
    """Have the worker processes that are started from here keep their counts in `folder`, emptied first.

    Must be called before prometheus_client makes its first metric.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left_over in folder.glob("*.db"):
        left_over.unlink()
    os.environ[MULTIPROCESS_DIR] = str(folder)
