"""`dermzoo refresh SOURCE`."""

import json
from pathlib import Path

import click

from app.cli.configuration import config_option, read_settings
from app.cli.metadata_apply import print_findings
from app.cli.opening import no_search_for_cycles, opened_archive
from app.cli.progress import progress
from app.corpus.isic.joining import Fate
from app.corpus.isic.refreshing import RefreshReport
from app.corpus.isic.refreshing import refresh as refresh_from


@click.command()
@click.argument("source", metavar="SOURCE")
@click.option(
    "--allow-shrink", is_flag=True, help="Take a source that tells of more than 5 % fewer images than before."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@config_option
@click.pass_context
def refresh(
    context: click.Context, source: str, *, allow_shrink: bool, as_json: bool, config: Path | None
) -> None:
    """Follow the ISIC Archive: mend the facts of the images that are held, hide those that it withdrew.

    SOURCE tells of all public images: the archive's Parquet snapshot, as a file or its URL, or the base
    address of its API, https://api.isic-archive.com/api/v2/. Prefer the snapshot: it is one request. A run
    that was cut goes on after its last page. Nothing is fetched but metadata.
    """
    settings = read_settings(config)
    with opened_archive(settings) as archive, no_search_for_cycles(), progress(None, "refreshing") as shown:
        report = refresh_from(archive, source, allow_shrink=allow_shrink, advance=shown.advance)
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=1))
    else:
        _print(report)
    context.exit(1 if report.joined.counts[Fate.INVALID] else 0)


def _print(report: RefreshReport) -> None:
    print_findings(report.joined)
    for isic_id in report.withdrawn:
        click.echo(f"withdrawn {isic_id}: it is no longer there; hidden")
    counts, first = report.joined.counts, report.joined.first_seen
    click.echo(
        f"{first} added, {counts[Fate.MATCHED] - first} updated, {counts[Fate.ALREADY_SO]} already so, "
        f"{counts[Fate.NOT_HELD]} not held, {counts[Fate.NOT_PUBLIC]} not public, "
        f"{len(report.withdrawn)} withdrawn, {counts[Fate.INVALID]} invalid"
    )
