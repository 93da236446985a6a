"""`dermzoo metadata export`: the metadata of what is held, as a table."""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path

import click

from app.archive.archive import Archive
from app.cli.configuration import config_option, read_settings
from app.cli.opening import opened_archive
from app.cli.progress import progress
from app.corpus.isic.exporting import (
    Exported,
    Form,
    count_fields,
    exported_images,
    read_mapping,
    used_columns,
)
from app.corpus.isic.parquet import required_parquet
from app.corpus.isic.tables import WRITERS, whole_file
from app.corpus.licences import LICENCE_IDS
from app.dicom.matching import Match
from app.web.search_parameters import parse_search

Matches = tuple[tuple[str, Match], ...]


@click.command()
@click.option(
    "--fields",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of lines `internal,ISIC`: the header of a column, and the field or column that it holds.",
)
@click.option(
    "--format", "form_of_file", type=click.Choice(list(WRITERS)), default="csv", show_default=True,
    help="What is written.",
)  # fmt: skip
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Where to; else printed."
)
@click.option(
    "--as", "form", type=click.Choice([form.value for form in Form]), default="canonical", show_default=True,
    help="Values under today's names, or word for word as published.",
)  # fmt: skip
@click.option("--missing", default="", metavar="TEXT", help="What a CSV says where nothing is known.")
@click.option("--license", "licences", type=click.Choice(LICENCE_IDS), help="Only images under this licence.")
@click.option("--commercial-safe", is_flag=True, help="Only images whose licence allows commercial use.")
@click.option(
    "--query", "queries", multiple=True, metavar="KEYWORD=VALUE",
    help="Only what a search with this parameter finds; may be given more than once.",
)  # fmt: skip
@click.option(
    "--list-fields", is_flag=True, help="Print every field that an image has, and how many have it."
)
@config_option
def export(  # noqa: PLR0913 one argument an option
    *,
    fields: Path | None,
    form_of_file: str,
    output: Path | None,
    form: str,
    missing: str,
    licences: str | None,
    commercial_safe: bool,
    queries: tuple[str, ...],
    list_fields: bool,
    config: Path | None,
) -> None:
    """Write the metadata of the images that are held and public: one row an image.

    Without --fields the columns are the archive's own: isic_id, attribution, copyright_license, then every
    field that any image has. A file is written aside and renamed: one that is there is whole.

    \b
      dermzoo metadata export -o all.csv
      dermzoo metadata export --query DiagnosisLevels=Malignant --commercial-safe --format jsonl
      dermzoo metadata export --list-fields
    """  # noqa: D301 click wants the character
    columns = read_mapping(fields) if fields else None
    if form_of_file == "parquet":
        required_parquet()
        if output is None and not list_fields:
            raise click.UsageError("A Parquet file is not printed. Name it: -o FILE.parquet")
    matches = _matches(queries, licences, commercial_safe=commercial_safe)
    with opened_archive(read_settings(config)) as archive:
        if list_fields:
            _list_fields(count_fields(_shown(archive, matches, "reading")))
            return
        columns = columns or used_columns(count_fields(_shown(archive, matches, "reading")))
        with whole_file(output) if output else nullcontext(sys.stdout.buffer) as out:
            images = _shown(archive, matches, "writing")
            WRITERS[form_of_file](out, columns, Form(form), missing, images)


def _list_fields(counts: Counter[str]) -> None:
    for name in sorted(counts):
        click.echo(f"{counts[name]:>9}  {name}")


def _shown(archive: Archive, matches: Matches, label: str) -> Iterator[Exported]:
    """Yield the images, and show how far it is."""
    with progress(None, label) as shown:
        for image in exported_images(archive, matches):
            yield image
            shown.advance()


def _matches(queries: Iterable[str], licence_id: str | None, *, commercial_safe: bool) -> Matches:
    parameters = [_pair(query) for query in queries]
    parameters += [("LicenseID", licence_id)] if licence_id else []
    parameters += [("CommercialUse", "YES")] if commercial_safe else []
    parsed = parse_search(parameters)
    if len(parsed.matches) < len(parameters):
        raise click.UsageError("--query takes attributes alone, such as Modality=DMS or ISICSex=female")
    return parsed.matches


def _pair(query: str) -> tuple[str, str]:
    keyword, equals, value = query.partition("=")
    if not equals or not keyword:
        raise click.UsageError(f"--query {query}: expected KEYWORD=VALUE, such as ISICSex=female")
    return keyword, value
