"""`python -m tools.docs`: write the generated parts anew; with `--check` only tell which are stale."""

import sys

from tools.docs.blocks import FILES, pages, regenerated


def main() -> int:
    """Return the exit code: 1 if `--check` found something stale."""
    check = "--check" in sys.argv[1:]
    stale = []
    written = {path: made() for path, made in FILES.items()}
    for path in (*pages(), *FILES):
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        after = written.get(path) or regenerated(before)
        if before != after:
            stale.append(path)
            if not check:
                path.write_text(after, encoding="utf-8")
    for path in stale:
        print(f"{'stale' if check else 'written'}: {path}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
