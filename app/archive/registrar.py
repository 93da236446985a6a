"""Registrations that wait for their turn to write, made in one transaction.

Each commit waits for the disk, and writers take turns. So whoever gets the turn takes along all who wait in
this process: each is answered after the commit that holds its rows, as if it had come alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from threading import Lock

from app.catalog.database import Catalog
from app.catalog.entry import Entry
from app.catalog.register import Location, Outcome, register
from app.errors import CatalogUnavailable

Located = Sequence[tuple[Entry, Location]]


@dataclass(slots=True)
class _Waiting:
    located: Located
    outcomes: list[Outcome] = field(default_factory=list)
    error: BaseException | None = None
    is_done: bool = False


class Registrar:
    """Registers from any thread; raises what register() or the catalogue raises."""

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []
        self._changing, self._turn = Lock(), Lock()

    def register(self, catalog: Catalog, located: Located) -> list[Outcome]:
        """Add what is new, and commit; return what became of each entry, in order."""
        own = _Waiting(located)
        with self._changing:
            self._waiting.append(own)
        with self._turn:
            if not own.is_done:
                with self._changing:
                    waiting, self._waiting = self._waiting, []
                _commit(catalog, waiting)
        if own.error is not None:
            raise own.error
        return own.outcomes


def _commit(catalog: Catalog, waiting: Sequence[_Waiting]) -> None:
    try:
        with catalog.write() as connection:
            outcomes = iter(register(connection, [each for one in waiting for each in one.located]))
            found = [list(islice(outcomes, len(one.located))) for one in waiting]
    except BaseException as error:  # noqa: BLE001 whatever it is, each of them must hear of it
        if len(waiting) > 1 and isinstance(error, Exception) and not isinstance(error, CatalogUnavailable):
            for one in waiting:  # what is wrong with one must not keep the others out
                _commit(catalog, [one])
            return
        for one in waiting:
            one.error, one.is_done = error, True
    else:
        for one, its in zip(waiting, found, strict=True):
            one.outcomes, one.is_done = its, True
