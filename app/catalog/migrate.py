"""Bringing the catalogue's schema to the one this code works on."""

from pathlib import Path

from alembic import command
from alembic.config import Config

from app.catalog.database import Catalog, unavailable_as_catalog_error

MIGRATIONS = Path(__file__).parents[2] / "migrations"


def migrate(catalog: Catalog, revision: str = "head") -> None:
    """Upgrade the schema to a revision in one transaction; `base` takes everything away."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with unavailable_as_catalog_error(), catalog.engine.begin() as connection:
        config.attributes["connection"] = connection
        (command.downgrade if revision == "base" else command.upgrade)(config, revision)
