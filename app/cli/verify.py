"""`dermzoo verify`."""

import json
import sys
from pathlib import Path

import click

from app.archive.verify import verify as verify_archive
from app.cli.configuration import config_option, read_settings
from app.cli.opening import opened_archive
from app.cli.progress import progress


@click.command()
@click.option("--all", "contents", is_flag=True, help="Read every file and compare its SHA-256.")
@click.option("--json", "as_json", is_flag=True, help="Print a report for programs.")
@config_option
def verify(config: Path | None, *, contents: bool, as_json: bool) -> None:
    """Check that nothing is lost, torn or forgotten.

    Every catalogued file is there with its size (with --all, its SHA-256), every managed file has its row,
    every count is right. The server may be at work meanwhile. The exit code is 1 if anything is wrong.
    """
    with (
        opened_archive(read_settings(config)) as archive,
        progress(None, "Checking files") as shown_progress,
    ):
        report = verify_archive(archive, contents=contents, advance=shown_progress.advance)
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=2))
    else:
        for finding in (*report.missing_or_changed, *report.torn, *report.without_row, *report.miscounted):
            click.echo(finding)
        hashed = f", {report.bytes_hashed} bytes compared" if contents else ""
        click.echo(f"{report.files} files{hashed}: {'all is well' if report.is_sound else 'see above'}.")
    if not report.is_sound:
        sys.exit(1)
