"""`dermzoo collection add | remove`."""

import csv
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import click
import orjson

from app.archive.archive import Archive
from app.archive.membership import Report, add_members, found_instances, remove_members
from app.cli.configuration import config_option, read_settings
from app.cli.opening import opened_archive
from app.web.search_parameters import parse_keys

COLUMNS = ("isic_id", "image_name", "sop_instance_uid")  # of a CSV file, the first that it has
_NAMED_AT_MOST = 20

csv.field_size_limit(2**20)


def _naming(command: Any) -> Any:  # noqa: ANN401 click's own decorators say no more
    """Add the options that say which instances are meant."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print a report for programs."),
        click.option("--dry-run", is_flag=True, help="Only tell what would happen."),
        click.option("--query", "queries", metavar="KEY=VALUE", multiple=True, help="A key of a search."),
        click.option(
            "--csv",
            "table",
            type=click.File("r", "utf-8-sig"),
            help=f"A CSV file with a column {', '.join(COLUMNS[:-1])} or {COLUMNS[-1]}; - reads the input.",
        ),
        click.option(
            "--list",
            "listed",
            type=click.File("r", "utf-8-sig"),
            help="A file of names, one a line; - reads the input.",
        ),
        click.argument("names", metavar="[NAME]...", nargs=-1),
        click.argument("slug", metavar="SLUG"),
    ):
        command = option(command)
    return config_option(command)


@click.command()
@_naming
def add(slug: str, config: Path | None, **meant: Any) -> None:  # noqa: ANN401 of every option
    """Make instances members: by ISIC ids, or by UIDs of instances, series or studies, as NAME, list or CSV.

    Or by a query of the keys of a search, all of which must match: --query DiagnosisLevels=Melanoma. What is
    not found is listed, and the exit code is then 1.
    """
    _change(slug, config, add_members, ("are new", "were members"), **meant)


@click.command()
@_naming
def remove(slug: str, config: Path | None, **meant: Any) -> None:  # noqa: ANN401 of every option
    """Take members out, named as for adding them; what is held stays held."""
    _change(slug, config, remove_members, ("are removed", "were no members"), **meant)


def _change(
    slug: str,
    config: Path | None,
    work: Callable[..., Report],
    words: tuple[str, str],
    *,
    dry_run: bool,
    as_json: bool,
    **meant: Any,  # noqa: ANN401 of every option
) -> None:
    with opened_archive(read_settings(config)) as archive:
        report = work(archive, slug, _names(archive, **meant), dry_run=dry_run)
    if as_json:
        click.echo(orjson.dumps(asdict(report) | {"dry_run": dry_run}).decode())
    else:
        _print(report, words, dry_run=dry_run)
    if report.not_found or report.refused:
        sys.exit(1)


def _names(
    archive: Archive,
    names: tuple[str, ...],
    listed: TextIO | None,
    table: TextIO | None,
    queries: tuple[str, ...],
) -> list[str]:
    given = [bool(names), listed is not None, table is not None, bool(queries)]
    if sum(given) != 1:
        raise click.UsageError("Say which instances: names, or one of --list, --csv and --query.")
    if queries:
        return _found(archive, queries)
    if listed is not None:
        names = tuple(line.strip() for line in listed if line.strip())
    if table is not None:
        names = tuple(_column(table))
    return list(names)


def _found(archive: Archive, queries: tuple[str, ...]) -> list[str]:
    pairs = [query.partition("=") for query in queries]
    if not all(equals for _, equals, _ in pairs):
        raise click.UsageError("A query is KEY=VALUE, as in --query Modality=DMS.")
    return found_instances(archive, parse_keys((key, value) for key, _, value in pairs))


def _column(table: TextIO) -> Iterator[str]:
    rows = csv.DictReader(table)
    there = {name.strip().lower(): name for name in rows.fieldnames or ()}
    column = next((there[name] for name in COLUMNS if name in there), None)
    if column is None:
        raise click.UsageError(f"The CSV file has none of the columns {', '.join(COLUMNS)}.")
    for row in rows:
        if value := (row[column] or "").strip():
            yield value


def _print(report: Report, words: tuple[str, str], *, dry_run: bool) -> None:
    for title, lines in (
        ("Not found", report.not_found),
        ("Refused", [f"{name}: {reason}" for name, reason in report.refused.items()]),
    ):
        if lines:
            click.echo(f"{title}:")
            for line in lines[:_NAMED_AT_MOST]:
                click.echo(f"  {line}")
            if len(lines) > _NAMED_AT_MOST:
                click.echo(f"  and {len(lines) - _NAMED_AT_MOST} more; --json has all of them")
    would = "Nothing is changed. " if dry_run else ""
    click.echo(f"{would}{report.changed} instances {words[0]}, {report.unchanged} {words[1]}.")
