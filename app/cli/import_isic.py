"""`dermzoo import isic`: images and their CSV into DICOM, and into the archive."""

import json
from collections import Counter
from functools import partial
from pathlib import Path

import click

from app.archive.archive import Archive
from app.cli.configuration import config_option, read_settings
from app.cli.opening import opened_archive
from app.cli.progress import progress
from app.corpus.isic.applying import remember_imported
from app.corpus.isic.files import files_without_row, list_pictures
from app.corpus.isic.importer import Report, RowOutcome, import_rows
from app.corpus.isic.joined import SetTerms
from app.corpus.isic.mapping import MappingOptions
from app.corpus.isic.rows import count_rows
from app.corpus.isic.subject import SopClassChoice
from app.corpus.licences import LICENCE_IDS
from app.corpus.storing import store_files
from app.errors import ArchiveError

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def _slug(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Take a collection's name that fits a URL and a Clinical Trial Protocol ID (LO)."""
    del context, parameter
    if value is not None and not (
        value.isascii() and len(value) <= 64 and value.replace("-", "").isalnum() and value == value.lower()
    ):
        raise click.BadParameter("a collection is named by at most 64 small letters, digits and hyphens")
    return value


@click.command()
@click.option(
    "--images", type=_FOLDER, required=True, help="Folder of ISIC_*.jpg, .png, .tif, nested as you like."
)
@click.option("--metadata", type=_FILE, required=True, help="The CSV, with old or new ISIC column names.")
@click.option("--collection", metavar="SLUG", callback=_slug, help="Collection that the images belong to.")
@click.option(
    "--license",
    "licence_id",
    type=click.Choice(LICENCE_IDS),
    help="Licence of the set; where a row has its own, the stricter holds.",
)
@click.option("--attribution", metavar="TEXT", help="Attribution for rows that name none.")
@click.option(
    "--sop-class",
    type=click.Choice([choice.value for choice in SopClassChoice]),
    default=SopClassChoice.VL_PHOTOGRAPHIC.value,
    show_default=True,
    help="What dermoscopic images become; viewers draw vl-photographic.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@config_option
@click.pass_context
def isic(  # noqa: PLR0913 - one argument an option
    context: click.Context,
    *,
    images: Path,
    metadata: Path,
    collection: str | None,
    licence_id: str | None,
    attribution: str | None,
    sop_class: str,
    as_json: bool,
    config: Path | None,
) -> None:
    """Turn ISIC images with their metadata into DICOM and store them.

    Run it again after an interruption: what is held is not stored twice. Exit code 1 if any was refused.
    """
    attribution = (attribution or "").strip() or None
    options = MappingOptions(licence_id, attribution, SopClassChoice(sop_class), collection)
    with opened_archive(read_settings(config)) as archive:
        report, failure = _run(archive, images, metadata, options)
    if as_json:
        click.echo(json.dumps(report.to_json() | {"failure": str(failure) if failure else None}, indent=1))
    else:
        _print(report)
    if failure:
        raise failure
    context.exit(1 if report.refused else 0)


def _run(
    archive: Archive, images: Path, metadata: Path, options: MappingOptions
) -> tuple[Report, ArchiveError | None]:
    """Import all rows; with the report of what was done, return what ended the run early, if anything did."""
    report = Report()
    seen: set[str] = set()
    total = count_rows(metadata)
    pictures = list_pictures(images)
    with progress(total, "importing") as shown:
        try:
            store = partial(store_files, archive)
            terms = SetTerms(options.licence_id, options.attribution, options.collection)
            for outcome in import_rows(
                pictures,
                metadata,
                options,
                store,
                archive.cage.run,
                work_in=archive.importing_dir,
                remember=partial(remember_imported, archive, terms, options.sop_class),
            ):
                report.add(outcome)
                seen.add(outcome.isic_id or "")
                shown.advance()
        except ArchiveError as error:
            return report, error
    report.files_without_row = files_without_row(pictures, seen)
    return report, None


def _print(report: Report) -> None:
    alike = Counter(note for row in report.noted for note in row.notes)
    for row in report.noted:
        for note in row.notes:
            if count := alike.pop(note, 0):
                more = f" (and {count - 1} more)" if count > 1 else ""
                click.echo(f"note     line {row.line} {row.isic_id}: {note}{more}")
    for file in report.files_without_row:
        click.echo(f"no row   {file}")
    for row in report.refused:
        click.echo(f"refused  line {row.line} {_subject(row)}: {row.field}: {row.reason}")
    click.echo(", ".join(f"{count} {outcome.value}" for outcome, count in report.counts.items()))


def _subject(row: RowOutcome) -> str:
    return row.file or row.isic_id or "(no image named)"
