"""`dermzoo index`."""

import gc
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from app.archive.embargoes import today
from app.archive.hiding import settle
from app.archive.index import index_folder
from app.archive.index_report import IndexReport, shown
from app.cli.configuration import config_option, read_settings
from app.cli.opening import opened_archive
from app.cli.progress import progress

_LISTED = (
    ("refused", "Refused"),
    ("withdrawn", "Withdrawn"),
    ("not_public", "Not public"),
    ("duplicates", "Identical to what is catalogued"),
    ("passed_over", "Passed over"),
    ("vanished", "Gone since the last time"),
)


@click.command()
@click.argument(
    "folders",
    metavar="DIR...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@click.option("--prune", is_flag=True, help="Forget catalogued files that are gone.")
@click.option("--json", "as_json", is_flag=True, help="Print a report for programs.")
@config_option
def index(folders: tuple[Path, ...], config: Path | None, *, prune: bool, as_json: bool) -> None:
    """Catalogue DICOM files where they lie: any name, any depth; nothing is moved or changed.

    Run it again after adding files, or after it was interrupted: what is unchanged is not read again. Every
    file that was not taken is listed with the reason, and the exit code is 1 if any was refused.
    """
    reports: dict[str, IndexReport] = {}
    with opened_archive(read_settings(config)) as archive, _no_search_for_cycles():
        settle(archive, today())
        for folder in folders:
            name = shown(str(folder))
            with progress(None, f"Indexing {name}") as shown_progress:
                reports[name] = index_folder(archive, folder, prune=prune, advance=shown_progress.advance)
    if as_json:
        click.echo(json.dumps({name: report.to_json() for name, report in reports.items()}, indent=2))
    else:
        for name, report in reports.items():
            _print(name, report)
    if any(report.refused for report in reports.values()):
        sys.exit(1)


@contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    """Leave the collector out: batches are many objects and no cycles; looking for some took a fifth."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _print(name: str, report: IndexReport) -> None:
    for attribute, title in _LISTED:
        if lines := getattr(report, attribute):
            click.echo(f"{title}:")
            for line in lines:
                click.echo(f"  {shown(line)}" if isinstance(line, str) else f"  {shown(line[0])}: {line[1]}")
    counted = [
        f"{count} {what}"
        for count, what in (
            (report.added, "added"),
            (report.changed, "changed"),
            (report.moved, "moved"),
            (report.unchanged, "unchanged"),
            (report.pruned, "forgotten"),
            (len(report.duplicates), "identical"),
            (len(report.withdrawn), "withdrawn"),
            (len(report.not_public), "not public"),
            (len(report.refused), "refused"),
        )
        if count
    ]
    click.echo(f"{name}: {report.files} files; {', '.join(counted) or 'nothing to catalogue'}.")
    if report.vanished and not report.pruned:
        click.echo("Files that are gone stay catalogued until: dermzoo index --prune DIR")
