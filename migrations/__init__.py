"""Alembic migrations of the catalogue; `dermzoo migrate` runs them."""
