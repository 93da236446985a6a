"""Runs the migrations over the connection that the caller hands in (app/catalog/migrate.py)."""

from alembic import context

from app.catalog import corpus_models  # noqa: F401 its tables are among them
from app.catalog.models import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite changes a table by making it anew
)
with context.begin_transaction():
    context.run_migrations()
