"""What is decided about a balance, apart from how a store is asked: at once, or while others go on.

A generator yields what it wants of the store and is sent what the store says; its result is the decision. So
there is one text of every rule for threads, which ask and wait, and for an event loop, which must not.
"""

from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple, TypeVar

from app.throttle.bucket import Bucket, Draw
from app.throttle.stores import BucketStore, Taken


class Look(NamedTuple):
    """Balances to be told, and not changed."""

    buckets: Sequence[Bucket]


T = TypeVar("T")
Wanted = Sequence[Draw] | Look
Steps = Generator[Wanted, Taken, T]


def run_steps(steps: Steps[T], store: BucketStore, clock: Callable[[], float]) -> T:
    """Ask the store for each step, and wait for it; return the decision."""
    try:
        wanted = next(steps)
        while True:
            wanted = steps.send(_ask(store, wanted, clock()))
    except StopIteration as end:
        decision: T = end.value
        return decision


def _ask(store: BucketStore, wanted: Wanted, now: float) -> Taken:
    if isinstance(wanted, Look):
        return True, store.peek(wanted.buckets, now)
    return store.take(wanted, now)
