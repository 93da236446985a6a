"""Parquet by pyarrow, which is not installed with the rest: it takes 170 MB."""

from typing import Any

from app.errors import SettingsError

INSTALL = ".venv/bin/python -m pip install 'pyarrow>=26'"


def refusals() -> tuple[type[Exception], ...]:
    """Return what pyarrow raises for files that are none, or whose values have no place in Python."""
    from pyarrow import ArrowException  # noqa: PLC0415 optional, and slow to import

    return (ArrowException, OSError, ValueError, KeyError, OverflowError)


def required_parquet() -> Any:  # noqa: ANN401 a module that may not be there
    """Return pyarrow.parquet; SettingsError with the command to type where it is not installed."""
    try:
        import pyarrow.parquet as found  # noqa: PLC0415 optional, and slow to import
    except ImportError:
        raise SettingsError(f"Parquet files need pyarrow, which is not installed. Type: {INSTALL}") from None
    return found
