"""What a command does before it works on the archive: see that there is a catalogue, open both."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from app.archive.archive import Archive
from app.archive.store import sweep
from app.catalog.database import Catalog
from app.settings import Settings


def prepare_catalog(settings: Settings) -> None:
    """Make the catalogue where there is none yet: on SQLite a first run needs no command of its own."""
    catalog = Catalog(settings.catalog_url)
    try:
        if catalog.is_sqlite and catalog.is_new():
            from app.catalog.migrate import migrate  # noqa: PLC0415 Alembic takes longer than all else here

            migrate(catalog)
        catalog.require_current_schema()
    finally:
        catalog.close()


@contextmanager
def opened_archive(settings: Settings) -> Iterator[Archive]:
    """Open the archive for one command."""
    prepare_catalog(settings)
    archive = Archive.open(settings)
    try:
        sweep(archive)  # what a killed command or server left staged
        yield archive
    finally:
        archive.close()


@contextmanager
def no_search_for_cycles() -> Iterator[None]:
    """Leave the collector out: batches are many objects and no cycles; looking for some took a fifth."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
