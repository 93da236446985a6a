"""`python -m fuzz.child TARGET SECONDS`: one target until its time is over, or something is found."""

import random
import resource
import signal
import sys
import time
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import NoReturn

FOUND = Path(__file__).parent / "found"
CORPUS = Path(__file__).parents[1] / ".cache" / "fuzz"
MEMORY_BYTES = 4 * 2**30
LONGEST_INPUT = 64 * 1024
ONE_INPUT_S = 10


def main(name: str, seconds: int) -> None:
    """Fuzz one target."""
    if find_spec("atheris"):
        _steered(name, seconds)
    else:
        _at_random(name, seconds)


def _steered(name: str, seconds: int) -> None:
    import atheris  # noqa: PLC0415 optional

    with atheris.instrument_imports(include=["app"]):
        from fuzz.targets import TARGETS  # noqa: PLC0415 instrumented
    corpus = CORPUS / name
    corpus.mkdir(parents=True, exist_ok=True)
    FOUND.mkdir(exist_ok=True)
    for seed in TARGETS[name].seeds():
        (corpus / sha256(seed).hexdigest()).write_bytes(seed)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST_INPUT}",
        f"-timeout={ONE_INPUT_S}",
        f"-rss_limit_mb={MEMORY_BYTES >> 20}",
        f"-artifact_prefix={FOUND}/{name}-",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], TARGETS[name].run)
    atheris.Fuzz()


def _at_random(name: str, seconds: int) -> None:
    from fuzz.targets import TARGETS  # noqa: PLC0415 as above

    target = TARGETS[name]
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGALRM, _too_long)
    chance, pool, tried = random.Random(0), target.seeds(), 0  # the same each time
    stop = time.monotonic() + seconds
    while time.monotonic() < stop:
        data = changed(chance, pool)
        signal.alarm(ONE_INPUT_S)
        try:
            target.run(data)
        except BaseException:
            FOUND.mkdir(exist_ok=True)
            (FOUND / f"{name}-{sha256(data).hexdigest()[:16]}").write_bytes(data)
            raise
        signal.alarm(0)
        tried += 1
    print(f"tried {tried} inputs")


def _too_long(_number: int, _frame: FrameType | None) -> NoReturn:
    raise TimeoutError(f"one input took more than {ONE_INPUT_S} s")


def changed(chance: random.Random, pool: list[bytes]) -> bytes:
    """Return a seed, or two of them joined, with a few bytes changed, cut out or repeated."""
    data = bytearray(chance.choice(pool))
    if chance.random() < 0.2:
        other = chance.choice(pool)
        data = data[: chance.randint(0, len(data))] + other[chance.randint(0, len(other)) :]
    for _ in range(chance.randint(1, 8)):
        at = chance.randint(0, len(data))
        match chance.randrange(5):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                data[at : at + 4] = chance.choice(
                    [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x01\0\0\0", b"\0\0\0\x80"]
                )
            case 2:
                del data[at : at + chance.randint(1, 16)]
            case 3:
                data[at:at] = data[at : at + chance.randint(1, 64)]
            case 4:
                data[at:at] = chance.choice([b",", b"=", b"%", b";", b'"', b"-", b"\r\n", b"*", b"."])
    return bytes(data[:LONGEST_INPUT])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
