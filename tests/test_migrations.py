"""The migrations make the schema that the code describes, both ways, on both databases."""

from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from app.catalog import corpus_models  # noqa: F401 its tables are among them
from app.catalog.database import SCHEMA_REVISION, Catalog
from app.catalog.migrate import MIGRATIONS, migrate
from app.catalog.models import metadata
from app.errors import SettingsError


@pytest.fixture
def empty(database_url: str) -> Iterator[Catalog]:
    catalog = Catalog(database_url)
    yield catalog
    catalog.close()


def test_head_is_what_the_tables_say(empty: Catalog) -> None:
    migrate(empty)
    with empty.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_down_takes_everything_away_and_up_works_again(empty: Catalog) -> None:
    migrate(empty)
    migrate(empty, "base")
    with empty.engine.connect() as connection:
        assert connection.dialect.get_table_names(connection) == ["alembic_version"]
    migrate(empty)
    empty.require_current_schema()


def test_the_code_asks_for_the_newest_revision() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == SCHEMA_REVISION


def test_an_old_schema_is_refused_with_the_command_to_type(empty: Catalog) -> None:
    with pytest.raises(SettingsError, match=r"is empty\. Run: dermzoo migrate"):
        empty.require_current_schema()
    migrate(empty)
    with empty.engine.begin() as connection:
        connection.exec_driver_sql("update alembic_version set version_num = '0000'")
    with pytest.raises(SettingsError, match=r"has schema 0000.*Run: dermzoo migrate"):
        empty.require_current_schema()
