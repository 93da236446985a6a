"""`dermzoo collection create | change | delete | list | show | lock | unlock`; members in members.py."""

from pathlib import Path
from typing import Any

import click
import orjson

from app.archive.collection_summaries import Summary, summaries, summary_of
from app.archive.collections import (
    change_collection,
    create_collection,
    drop_collection,
    lock_collection,
    unlock_collection,
)
from app.cli.configuration import config_option, read_settings
from app.cli.members import add, remove
from app.cli.opening import opened_archive

_SLUG = click.argument("slug", metavar="SLUG")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_TO_FIELDS = {"public": "is_public", "pinned": "is_pinned", "part_of": "parent"}


def _described(command: Any) -> Any:  # noqa: ANN401 click's own decorators say no more
    """Add the options that say what a collection is."""
    for option in (
        click.option(
            "--requires-licence/--no-licence-needed", default=None, help="Bind its pixels to terms."
        ),
        click.option("--pinned/--not-pinned", default=None, help="Whether it is listed first."),
        click.option("--public/--not-public", default=None, help="Whether it is listed and served at all."),
        click.option("--part-of", metavar="SLUG", help="The collection that shows its members too."),
        click.option(
            "--description-file", type=click.File("r", "utf-8"), help="Markdown; - reads the input."
        ),
        click.option("--description", help="What it is, in Markdown."),
        click.option("--title", help="Its title; a new one needs it."),
    ):
        command = option(command)
    return config_option(command)


@click.group()
def collection() -> None:
    """Choose what is shown together: each collection is a DICOMweb root of its own."""


@collection.command()
@_SLUG
@_described
def create(slug: str, config: Path | None, **described: Any) -> None:  # noqa: ANN401 of every option
    """Make an empty collection, served at /collections/SLUG/dicom-web once it is public."""
    with opened_archive(read_settings(config)) as archive:
        made = create_collection(archive, {"slug": slug, **_fields(described)})
    public = "public" if made.is_public else "not public yet: dermzoo collection change --public"
    click.echo(f"{made.slug}: {made.title} ({public})")


@collection.command()
@_SLUG
@_described
@click.option("--apart", is_flag=True, help="Part of no other any more.")
def change(slug: str, config: Path | None, *, apart: bool, **described: Any) -> None:  # noqa: ANN401 of every option
    """Change what a collection is; a locked one is left as it is."""
    fields = _fields(described) | ({"parent": None} if apart else {})
    if not fields:
        raise click.UsageError("Say what is to be changed: see --help.")
    with opened_archive(read_settings(config)) as archive:
        changed = change_collection(archive, slug, fields)
    click.echo(f"{changed.slug}: {changed.title}")


@collection.command()
@_SLUG
@config_option
def delete(slug: str, config: Path | None) -> None:
    """Delete a collection, and nothing that it holds."""
    with opened_archive(read_settings(config)) as archive:
        drop_collection(archive, slug)
    click.echo(f"{slug} is deleted; its members are held as before.")


@collection.command()
@_SLUG
@config_option
def lock(slug: str, config: Path | None) -> None:
    """Freeze a collection and its parts: neither members nor anything else can be changed."""
    with opened_archive(read_settings(config)) as archive:
        lock_collection(archive, slug)
    click.echo(f"{slug} is locked.")


@collection.command()
@_SLUG
@click.option("--reason", required=True, help="Told to everybody, at the end of the description.")
@config_option
def unlock(slug: str, reason: str, config: Path | None) -> None:
    """Let a locked collection be changed again; its parts stay locked."""
    with opened_archive(read_settings(config)) as archive:
        unlock_collection(archive, slug, reason)
    click.echo(f"{slug} is not locked any more, and its description says why.")


@collection.command("list")
@_JSON
@config_option
def list_all(config: Path | None, *, as_json: bool) -> None:
    """List the collections, public or not, with what they hold."""
    with opened_archive(read_settings(config)) as archive:
        found, _ = summaries(archive, 10**9, 0, sees_all=True)
    if as_json:
        click.echo(orjson.dumps([one.told() for one in found]).decode())
        return
    for one in found:
        click.echo(
            f"{one.collection.slug}  {one.extent.instances} instances  {_state(one)}{one.collection.title}"
        )
    if not found:
        click.echo("There are no collections.")


@collection.command()
@_SLUG
@_JSON
@config_option
def show(slug: str, config: Path | None, *, as_json: bool) -> None:
    """Tell what a collection is and holds."""
    with opened_archive(read_settings(config)) as archive:
        found = summary_of(archive, slug, sees_all=True)
    if as_json:
        click.echo(orjson.dumps(found.told()).decode())
        return
    one, held = found.collection, found.extent
    click.echo(f"{one.slug}: {one.title} ({_state(found).strip() or 'not public'})")
    click.echo(f"{held.studies} studies, {held.series} series, {held.instances} instances")
    for licence_id, count in found.licences.items():
        click.echo(f"  {licence_id or 'no known licence'}: {count}")
    for name, slugs in (("Part of", [found.parent]), ("Parts", found.parts)):
        if any(slugs):
            click.echo(f"{name}: {', '.join(filter(None, slugs))}")
    if one.description:
        click.echo(f"\n{one.description}")


def _fields(described: dict[str, Any]) -> dict[str, Any]:
    described = dict(described)
    if (file := described.pop("description_file")) is not None:
        described["description"] = file.read()
    return {_TO_FIELDS.get(name, name): value for name, value in described.items() if value is not None}


def _state(found: Summary) -> str:
    one = found.collection
    words = [
        name
        for name, is_so in (("public", one.is_public), ("pinned", one.is_pinned), ("locked", one.is_locked))
        if is_so
    ]
    return f"{', '.join(words)}  " if words else ""


collection.add_command(add)
collection.add_command(remove)
