"""`dermzoo metadata apply`: a CSV joined to the images that are held."""

import json
from pathlib import Path

import click

from app.archive.archive import Archive
from app.cli.configuration import config_option, read_settings
from app.cli.opening import no_search_for_cycles, opened_archive
from app.cli.progress import progress
from app.corpus.isic.applying import JoinReport, apply_metadata
from app.corpus.isic.joined import SetTerms
from app.corpus.isic.joining import Fate
from app.corpus.isic.rows import count_rows
from app.corpus.licences import LICENCE_IDS

_MOST_PRINTED = 100


@click.command()
@click.argument("csv", metavar="CSV", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--license",
    "licence_id",
    type=click.Choice(LICENCE_IDS),
    help="Licence of the set; where a row has its own, the stricter holds.",
)
@click.option("--attribution", metavar="TEXT", help="Attribution for rows that name none.")
@click.option("--dry-run", is_flag=True, help="Tell what would become of each row; change nothing.")
@click.option("--strict", is_flag=True, help="Take no row if any of them is bad.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@config_option
@click.pass_context
def apply(
    context: click.Context,
    *,
    csv: Path,
    licence_id: str | None,
    attribution: str | None,
    dry_run: bool,
    strict: bool,
    as_json: bool,
    config: Path | None,
) -> None:
    """Join the rows of CSV to the images that are held, and show their facts beside the files.

    A row finds its image by a column sop_instance_uid, by the ISIC identifier that a file states, or by the
    name of a file where it lies: ISIC_0000000.dcm. Old and new ISIC column names are taken. No file is
    changed. Run it again after an interruption, or with another CSV: columns are added, and replace those
    there were. Exit code 1 if any row was bad.
    """
    terms = SetTerms(licence_id, (attribution or "").strip() or None)
    with opened_archive(read_settings(config)) as archive, no_search_for_cycles():
        report, is_changed = _run(archive, csv, terms, dry_run=dry_run, strict=strict)
    if as_json:
        click.echo(json.dumps(report.to_json() | {"changed": is_changed}, indent=1))
    else:
        print_report(report)
        if not is_changed:
            click.echo(
                "Nothing was changed." if dry_run else "Nothing was changed: --strict, and rows are bad."
            )
    context.exit(1 if report.counts[Fate.INVALID] else 0)


def _run(
    archive: Archive, csv: Path, terms: SetTerms, *, dry_run: bool, strict: bool
) -> tuple[JoinReport, bool]:
    """Join the rows; return the report, and whether it is of more than a rehearsal."""
    total = count_rows(csv)
    if dry_run or strict:
        with progress(total, "checking") as shown:
            report = apply_metadata(archive, csv, terms, changes_nothing=True, advance=shown.advance)
        if dry_run or report.counts[Fate.INVALID]:
            return report, False
    with progress(total, "joining") as shown:
        return apply_metadata(archive, csv, terms, advance=shown.advance), True


def print_findings(report: JoinReport) -> None:
    """Print what was found about rows that a person should look at."""
    for note, count in report.notes.most_common():
        where = f"line {report.first_lines[note]}" + (f" and {count - 1} more" if count > 1 else "")
        click.echo(f"note     {where}: {note}")
    for row in report.invalid[:_MOST_PRINTED]:
        at = f"{report.source}, line {row.line}" if row.line else report.source
        click.echo(f"invalid  {at}, {row.isic_id or '(no image)'}: {row.error}")
    if (unprinted := report.counts[Fate.INVALID] - _MOST_PRINTED) > 0:
        click.echo(f"invalid  … and {unprinted} more rows; --json lists them")


def print_report(report: JoinReport) -> None:
    """Print what became of the rows, and what to type next."""
    print_findings(report)
    if report.some_not_held:
        click.echo(f"not held {_some(report.some_not_held, report.counts[Fate.NOT_HELD])}")
    if report.without_terms:
        count = report.without_terms
        click.echo(
            f"{count} {'image is' if count == 1 else 'images are'} without a licence, or without "
            "the attribution that it asks for: their pixels are not served.\n"
            "  Give --license and --attribution of the set they came in, for example:\n"
            f'  dermzoo metadata apply {report.source} --license CC-BY-NC --attribution "Who must be named"'
        )
    click.echo(", ".join(f"{report.counts[fate]} {fate.value}" for fate in Fate))


def _some(names: list[str], count: int) -> str:
    return ", ".join(names) + (f" and {count - len(names)} more" if count > len(names) else "")
