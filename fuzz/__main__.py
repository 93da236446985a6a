"""`python -m fuzz [TARGET…] [--seconds N]`: each target in a process of its own, for a bounded time.

atheris steers by coverage where it is installed; without it seeds are cut, joined and changed at random. What
is found is written to fuzz/found, and the exit code is 1.
"""

import argparse
import subprocess
import sys

from fuzz.targets import TARGETS


def main() -> int:
    """Return the exit code: 1 if a target had a finding."""
    parser = argparse.ArgumentParser(prog="fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all if none")
    parser.add_argument("--seconds", type=int, default=20, help="for each target")
    asked = parser.parse_args()
    unknown = set(asked.targets) - TARGETS.keys()
    if unknown:
        parser.error(f"there is no target {', '.join(sorted(unknown))}")
    failed = []
    for name in asked.targets or TARGETS:
        command = [sys.executable, "-m", "fuzz.child", name, str(asked.seconds)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        print(
            f"{'FOUND' if done.returncode else 'ok':6}{name:14}{_last(done.stdout + done.stderr)}", flush=True
        )
        if done.returncode:
            failed.append(name)
            print(done.stdout[-3000:] + done.stderr[-3000:])
    return int(bool(failed))


def _last(said: str) -> str:
    lines = [line for line in said.splitlines() if line.startswith(("Done ", "tried "))]
    return lines[-1] if lines else ""


if __name__ == "__main__":
    sys.exit(main())
