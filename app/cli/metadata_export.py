"""`dermzoo metadata export`: the metadata of what is held, as a table."""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import click

from app.archive.archive import Archive
from app.cli.configuration import config_option, read_settings
from app.cli.opening import opened_archive
from app.cli.progress import progress
from app.cli.terms import Licences, terms_options
from app.corpus.isic.exporting import (
    Column,
    Form,
    Reading,
    count_fields,
    count_instances,
    read_mapping,
    used_columns,
)
from app.corpus.isic.parquet import required_parquet
from app.corpus.isic.resuming import Asked, Noting, empty_columns, export_file
from app.corpus.isic.tables import FORMATS, Layout
from app.dicom.matching import Match, UIDList
from app.dicom.private_block import LICENCE_ID, tag_of_element
from app.web.search_parameters import parse_search

Matches = tuple[tuple[str, Match], ...]
_Shown = Callable[..., AbstractContextManager[Callable[[], None]]]


@click.command()
@click.option(
    "--fields",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of lines `internal,ISIC`: the header of a column, and the field or column that it holds.",
)
@click.option(
    "--format", "form_of_file", type=click.Choice(list(FORMATS)), default="csv", show_default=True,
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
@terms_options
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
    licences: Licences,
    queries: tuple[str, ...],
    list_fields: bool,
    config: Path | None,
) -> None:
    """Write the metadata of the images that are held and public: one row an image.

    Without --fields the columns are the archive's own: isic_id, attribution, copyright_license, then every
    field that any image has. A file is written aside and renamed: one that is there is whole. Run the same
    command again after an interruption, and it goes on where it was.

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
    matches = _matches(queries, licences)
    asked = Asked(form_of_file, matches, columns, Form(form), missing)
    with opened_archive(read_settings(config)) as archive:
        shown = partial(_shown, count_instances(archive, matches))
        if list_fields:
            _list_fields(_counts(archive, matches, shown))
        elif output:
            empty = export_file(archive, asked, output, shown, partial(click.echo, err=True))
            _tell_empty(fields, empty)
        else:
            _tell_empty(fields, _print(archive, asked, shown))


def _print(archive: Archive, asked: Asked, shown: _Shown) -> list[Column]:
    """Write to standard output; return the columns that are empty."""
    columns = asked.columns or used_columns(_counts(archive, asked.matches, shown))
    layout = Layout(columns, asked.form, asked.missing)
    with shown("writing") as advance:
        images = Reading(archive, asked.matches, advance)
        noting = Noting(images, (column.name for column in columns), asked.form)
        FORMATS[asked.kind].write(sys.stdout.buffer, layout, noting)
    return empty_columns(columns, noting.known) if noting.count else []


def _counts(archive: Archive, matches: Sequence[tuple[str, Match]], shown: _Shown) -> Counter[str]:
    with shown("reading") as advance:
        return count_fields(Reading(archive, matches, advance))


def _list_fields(counts: Counter[str]) -> None:
    for name in sorted(counts):
        click.echo(f"{counts[name]:>9}  {name}")


def _tell_empty(fields: Path | None, empty: Sequence[Column]) -> None:
    """Say which lines of a mapping file ask for what no image has, and what to type next."""
    for column in empty:
        click.echo(
            f"{fields}, line {column.line}: no image has {column.name!r}: the column is empty", err=True
        )
    if empty:
        click.echo("Next: dermzoo metadata export --list-fields tells what images have", err=True)


@contextmanager
def _shown(total: int | None, label: str, done: int = 0) -> Iterator[Callable[[], None]]:
    """Show how far it is: how many instances were read."""
    with progress(total, label, done=done) as shown:
        yield shown.advance


def _matches(queries: Iterable[str], licences: Licences) -> Matches:
    parameters = [_pair(query) for query in queries]
    parsed = parse_search(parameters)
    if len(parsed.matches) < len(parameters):
        raise click.UsageError("--query takes attributes alone, such as Modality=DMS or ISICSex=female")
    if licences is None:
        return parsed.matches
    return (*parsed.matches, (tag_of_element(LICENCE_ID), UIDList(tuple(sorted(licences)))))


def _pair(query: str) -> tuple[str, str]:
    keyword, equals, value = query.partition("=")
    if not equals or not keyword:
        raise click.UsageError(f"--query {query}: expected KEYWORD=VALUE, such as ISICSex=female")
    return keyword, value
