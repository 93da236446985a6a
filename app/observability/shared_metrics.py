"""Where the processes of a server keep the counts that they add up."""

from pathlib import Path

MULTIPROCESS_DIR = "PROMETHEUS_MULTIPROC_DIR"


def emptied_folder(folder: Path) -> str:
    """Empty the folder for MULTIPROCESS_DIR, a variable that prometheus_client reads once, when imported."""
    folder.mkdir(parents=True, exist_ok=True)
    for left_over in folder.glob("*.db"):
        left_over.unlink()
    return str(folder)
