"""Registrations that wait for their turn to write, made in one transaction.

Each commit waits for the disk, and writers take turns. So whoever gets the turn takes along all who wait in
this process: each is answered after the commit that holds its rows, as if it had come alone.

Where others are likely to follow one by one, a few only arrive on SQLite (app/catalog/arrivals.py), and are
registered with those that follow.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from threading import Lock

from app.catalog.arrivals import arrive
from app.catalog.database import Catalog
from app.catalog.register import Located, Outcome, register
from app.errors import CatalogUnavailable

ARRIVE_AT_MOST = 8  # together; to register more of them at once costs little more
SETTLE_AFTER = 32

Several = Sequence[Located]


@dataclass(slots=True)
class _Waiting:
    located: Several
    is_followed: bool
    outcomes: list[Outcome] = field(default_factory=list)
    error: BaseException | None = None
    is_done: bool = False


class Registrar:
    """Registers from any thread; raises what register() or the catalogue raises."""

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []
        self._changing, self._turn = Lock(), Lock()
        self._arrived = 0  # through this process, since it last caught up

    def register(self, catalog: Catalog, located: Several, *, is_followed: bool = False) -> list[Outcome]:
        """Add what is new, and commit; return what became of each entry, in order.

        Who says that it `is_followed` calls catch_up() after each answer, and after the last one.
        """
        own = _Waiting(located, is_followed)
        with self._changing:
            self._waiting.append(own)
        with self._turn:
            if not own.is_done:
                with self._changing:
                    waiting, self._waiting = self._waiting, []
                self._commit(catalog, waiting)
        if own.error is not None:
            raise own.error
        return own.outcomes

    def catch_up(self, catalog: Catalog, after: int = SETTLE_AFTER) -> None:
        """Have what arrived through this process registered, if it is so many or more."""
        with self._changing:
            is_due = self._arrived >= after
            self._arrived = 0 if is_due else self._arrived
        if is_due:
            with suppress(CatalogUnavailable), catalog.read():  # which registers; else another reader does
                pass

    def _commit(self, catalog: Catalog, waiting: Sequence[_Waiting]) -> None:
        try:
            located = [each for one in waiting for each in one.located]
            if _may_wait(catalog, waiting, len(located)):
                with catalog.arriving() as connection:
                    outcomes = iter(arrive(connection, located))
                with self._changing:
                    self._arrived += len(located)
            else:
                with catalog.write() as connection:
                    outcomes = iter(register(connection, located))
            found = [list(islice(outcomes, len(one.located))) for one in waiting]
        except BaseException as error:  # noqa: BLE001 whatever it is, each of them must hear of it
            if (
                len(waiting) > 1
                and isinstance(error, Exception)
                and not isinstance(error, CatalogUnavailable)
            ):
                for one in waiting:  # what is wrong with one must not keep the others out
                    self._commit(catalog, [one])
                return
            for one in waiting:
                one.error, one.is_done = error, True
        else:
            for one, its in zip(waiting, found, strict=True):
                one.outcomes, one.is_done = its, True


def _may_wait(catalog: Catalog, waiting: Sequence[_Waiting], number: int) -> bool:
    is_few = number <= ARRIVE_AT_MOST and all(one.is_followed for one in waiting)
    return catalog.is_sqlite and is_few and not catalog.is_behind
