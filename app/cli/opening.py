"""What every command does first: read the settings, open the archive."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from app.archive.archive import Archive
from app.archive.store import sweep
from app.catalog.database import Catalog
from app.catalog.migrate import migrate
from app.errors import SettingsError
from app.settings import Settings, load_settings


def config_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--config FILE` to a command."""
    option = click.option(
        "--config",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Settings file in TOML (default: config/dermzoo.toml, where there is one).",
    )
    return option(command)


def read_settings(config: Path | None = None, **overrides: object) -> Settings:
    """Read the settings; raises SettingsError naming each that cannot be used."""
    try:
        return load_settings(config, **overrides)
    except ValidationError as error:
        problems = (
            f"DERMZOO_{'_'.join(map(str, item['loc'])).upper()}: {item['msg']} (it is {item['input']!r})"
            for item in error.errors()
        )
        raise SettingsError("These settings cannot be used:\n  " + "\n  ".join(problems)) from None
    except ValueError as error:  # TOML that cannot be read
        raise SettingsError(f"The settings file cannot be read: {error}") from None


def prepare_catalog(settings: Settings) -> None:
    """Make the catalogue where there is none yet: on SQLite a first run needs no command of its own."""
    catalog = Catalog(settings.catalog_url)
    try:
        if catalog.is_sqlite and catalog.is_new():
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
