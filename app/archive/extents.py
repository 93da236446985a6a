"""What collections hold, counted once for each state of the catalogue."""

from collections import OrderedDict
from dataclasses import dataclass, field

from sqlalchemy import Connection

from app.catalog.members import Extent, extent
from app.catalog.statements import held

_KEPT = 1000


@dataclass
class Extents:
    """A process's memory of extents: to count one reads through all of its members."""

    _known: OrderedDict[tuple[int, int], Extent] = field(default_factory=OrderedDict)

    def get(self, connection: Connection, number: int) -> Extent:
        """Return what a collection holds."""
        key = int(held(connection.dialect).rows(connection, {})[0].generation), number
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = extent(connection, number)
            if len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return known
