"""Looking once a minute whether the day of an image has come on which it becomes public.

Every process of the server may look: one statement on an index tells that there is nothing to do, and of
those that find something only the first changes anything, since writers take turns.
"""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from app.archive.archive import Archive
from app.archive.hiding import lift_embargoes
from app.errors import ArchiveError

EVERY_S = 60.0

logger = logging.getLogger("dermzoo")


def today() -> str:
    """Return the day that embargoes go by: it begins at midnight, UTC."""
    return datetime.now(UTC).date().isoformat()


class EmbargoWatch:
    """Lifts embargoes in the background, from now on; to be closed before the archive."""

    def __init__(self, archive: Archive, every_s: float = EVERY_S, day: Callable[[], str] = today) -> None:
        self._archive = archive
        self._every_s = every_s
        self._day = day
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="embargoes", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop after what is being brought back."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            try:
                came = lift_embargoes(self._archive, self._day())
            except (ArchiveError, OSError) as error:
                logger.warning("Embargoes could not be looked at; tried again in a minute: %s", error)
            else:
                if came:
                    logger.info("images became public", extra={"facts": {"instances": came}})
