"""`dermzoo index`."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import click

from app.archive.embargoes import today
from app.archive.hiding import settle
from app.archive.index import index_folder
from app.archive.index_report import IndexReport, shown
from app.cli.configuration import config_option, read_settings
from app.cli.opening import no_search_for_cycles, opened_archive
from app.cli.progress import progress
from app.corpus.licences import LICENCE_IDS, Licence
from app.corpus.stating import Stated, checked_terms, state_terms
from app.errors import NotImportable

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
@click.option(
    "--license", "licence_id", type=click.Choice(LICENCE_IDS), help="State under which licence the folder is."
)
@click.option("--attribution", help="Whom copies must name; CC-BY and CC-BY-NC ask for it.")
@click.option("--json", "as_json", is_flag=True, help="Print a report for programs.")
@config_option
def index(
    folders: tuple[Path, ...],
    licence_id: str | None,
    attribution: str | None,
    config: Path | None,
    *,
    prune: bool,
    as_json: bool,
) -> None:
    """Catalogue DICOM files where they lie: any name, any depth; nothing is moved or changed.

    Run it again after adding files, or after it was interrupted: what is unchanged is not read again. Every
    file that was not taken is listed with the reason, and the exit code is 1 if any was refused.

    With --license the terms of all that lies there are stated: shown and searched like the rest, and sent
    along with the pixels. The files are not changed. Stating other terms takes their place.
    """
    terms = _terms(licence_id, attribution)
    stated: dict[str, Stated] = {}
    reports: dict[str, IndexReport] = {}
    with opened_archive(read_settings(config)) as archive, no_search_for_cycles():
        settle(archive, today())
        for folder in folders:
            name = shown(str(folder))
            with progress(None, f"Indexing {name}") as shown_progress:
                reports[name] = index_folder(archive, folder, prune=prune, advance=shown_progress.advance)
            if terms:
                stated[name] = state_terms(archive, folder, *terms)
    if as_json:
        _print_as_json(reports, stated)
    else:
        for name, report in reports.items():
            _print(name, report)
            if name in stated:
                _print_stated(name, stated[name])
    if any(report.refused for report in reports.values()):
        sys.exit(1)


def _terms(licence_id: str | None, attribution: str | None) -> tuple[Licence, str | None] | None:
    if licence_id is None:
        if attribution is not None:
            raise click.UsageError("--attribution says whom to name under a licence: give --license too.")
        return None
    try:
        return checked_terms(licence_id, attribution)
    except NotImportable as error:
        raise click.UsageError(f"--{error.field}: {error.reason}.") from error


def _print_as_json(reports: Mapping[str, IndexReport], stated: Mapping[str, Stated]) -> None:
    told = {
        name: report.to_json() | ({"terms": asdict(stated[name])} if name in stated else {})
        for name, report in reports.items()
    }
    click.echo(json.dumps(told, indent=2))


def _print_stated(name: str, stated: Stated) -> None:
    left = f"; {stated.left} left, whose metadata or file state terms that this does not overrule"
    click.echo(
        f"{name}: terms of {stated.changed} instances stated anew, of {stated.unchanged} as before"
        f"{left if stated.left else ''}."
    )


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
