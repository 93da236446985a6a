"""`dermzoo import`: one command for each kind of corpus."""

import click

from app.cli.import_isic import isic


@click.group()
def importing() -> None:
    """Turn images with their metadata into DICOM and store them."""


importing.add_command(isic)
