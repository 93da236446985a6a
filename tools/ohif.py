"""`python -m tools.ohif [DICOMWEB_URL]`: the published OHIF viewer on an address of its own.

Fetched once from npm by the lock in tests/ohif; no other host is asked while it runs.
"""

import subprocess
import sys
import threading

from tests.ohif.viewer import DIST, serve_viewer

DEFAULT_URL = "http://127.0.0.1:8080/dicom-web"


def main() -> None:
    """Serve the viewer until stopped."""
    url = sys.argv[1] if len(sys.argv) > 1 else DEFAULT_URL
    if not DIST.is_dir():
        print("fetching the OHIF viewer", flush=True)
        subprocess.run(
            [
                "npm",
                "ci",
                "--prefix",
                "tests/ohif",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--silent",
            ],
            check=True,
            cwd=DIST.parents[5],
        )
    with serve_viewer(url) as viewer:
        print(f"OHIF is at {viewer} and shows {url}; Ctrl-C stops it", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
