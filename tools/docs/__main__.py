"""`python -m tools.docs`: write the generated parts anew; with `--check` only tell which are stale."""

import sys

from tools.docs.blocks import pages, regenerated


def main() -> int:
    """Return the exit code: 1 if `--check` found something stale."""
    check = "--check" in sys.argv[1:]
    stale = []
    for path in pages():
        before = path.read_text(encoding="utf-8")
        after = regenerated(before)
        if before != after:
            stale.append(path)
            if not check:
                path.write_text(after, encoding="utf-8")
    for path in stale:
        print(f"{'stale' if check else 'written'}: {path}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
