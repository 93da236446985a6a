"""`--config`, and the settings of a command."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.errors import SettingsError

if TYPE_CHECKING:
    from app.settings import Settings


def config_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--config FILE` to a command."""
    option = click.option(
        "--config",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Settings file in TOML (default: config/dermzoo.toml, where there is one).",
    )
    return option(command)


def read_settings(config: Path | None = None, **overrides: object) -> "Settings":
    """Read the settings; raises SettingsError naming each that cannot be used."""
    from pydantic import ValidationError  # noqa: PLC0415 a process that asks for no settings needs none of it

    from app.settings import load_settings  # noqa: PLC0415 the same

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
