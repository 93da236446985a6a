"""`python -m tools.trace`: an access log to try policies on, made up, and the same each time.

People who look at studies in a viewer by day, a class behind one address, a crawler, and somebody who
downloads everything in half an hour.
"""

import argparse
import json
import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime

START = datetime(2026, 3, 2, tzinfo=UTC).timestamp()  # a Monday
DAY_S = 86_400
IMAGE_BYTES = 900_000
STUDY = "/dicom-web/studies/2.25.{}"

Line = tuple[float, str, str, int]  # when, by whom, what, bytes


def visit(chance: random.Random, at_s: float, client: str, images: int) -> Iterator[Line]:
    """Yield what a viewer asks for when a study is opened."""
    study = STUDY.format(chance.randrange(10**12))
    yield at_s, client, "/dicom-web/studies", 4_000
    yield at_s + 2, client, f"{study}/series", 3_000
    for number in range(images):
        at_s += chance.expovariate(4)
        yield at_s + 3, client, f"{study}/instances/2.25.{number}/thumbnail", 6_000
        if chance.random() < 0.5:
            size = int(IMAGE_BYTES * chance.lognormvariate(0, 0.4))
            yield at_s + 5, client, f"{study}/series/2.25.1/instances/2.25.{number}/frames/1", size


def days(chance: random.Random, number_of_days: int) -> Iterator[Line]:
    """Yield all requests."""
    for day in range(number_of_days):
        start = START + day * DAY_S
        people = 40 if day % 7 < 5 else 12
        for _ in range(people):
            hour = min(22.0, max(6.0, chance.gauss(14, 3)))
            client = f"198.51.{chance.randrange(100, 110)}.{chance.randrange(1, 255)}"
            yield from visit(
                chance, start + hour * 3600, client, int(chance.lognormvariate(math.log(20), 0.8))
            )
        if day == 2:  # a class of thirty
            for pupil in range(30):
                yield from visit(chance, start + 36_000 + 20 * pupil, "192.0.2.30", 25)
        for number in range(400):  # a crawler, around the clock
            yield start + number * DAY_S / 400, "203.0.113.9", f"/dicom-web/studies?offset={number}00", 60_000
    for number in range(6_000):  # everything, by a line of 100 Mbit/s
        path = f"{STUDY.format(number)}/series/2.25.1/instances/2.25.1"
        yield START + 3.4 * DAY_S + number * 0.3, "2001:db8:1:2::7", path, IMAGE_BYTES * 9 // 2


def main() -> None:
    """Print the log."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    for at_s, client, path, size in sorted(days(random.Random(chosen.seed), chosen.days)):
        line = {
            "time": datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds"),
            "message": "request",
            "client": client,
            "method": "GET",
            "path": path,
            "status": 200,
            "bytes": size,
            "ms": 5,
        }
        print(json.dumps(line))


if __name__ == "__main__":
    main()
