"""`dermzoo metadata`: facts about images that are held."""

import click

from app.cli.metadata_apply import apply
from app.cli.metadata_export import export


@click.group()
def metadata() -> None:
    """Join metadata to the images that are held, and get them out again.

    \b
      dermzoo metadata apply train.csv --dry-run     what would become of each row; nothing is changed
      dermzoo metadata apply train.csv --license CC-BY-NC --attribution "The challenge"
      dermzoo metadata export -o all.csv
    """  # noqa: D301 click wants the character


metadata.add_command(apply)
metadata.add_command(export)
