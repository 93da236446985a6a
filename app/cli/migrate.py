"""`dermzoo migrate`."""

from pathlib import Path

import click

from app.catalog.database import Catalog
from app.catalog.migrate import migrate as migrate_catalog
from app.cli.configuration import config_option, read_settings


@click.command()
@config_option
def migrate(config: Path | None) -> None:
    """Bring the catalogue to the schema of this version. Safe to run again; it is one transaction."""
    catalog = Catalog(read_settings(config).catalog_url)
    try:
        migrate_catalog(catalog)
        catalog.require_current_schema()
    finally:
        catalog.close()
    click.echo(f"The catalogue {catalog.name} is at the current schema. Next: dermzoo serve")
