"""`dermzoo withdraw`, `withdrawn` and `restore`."""

from dataclasses import asdict
from pathlib import Path

import click
import orjson

from app.archive.withdraw import restore as restore_named
from app.archive.withdraw import withdraw_named
from app.archive.withdraw import withdrawn as all_withdrawn
from app.cli.configuration import config_option, read_settings
from app.cli.opening import opened_archive

BY = "command line"


@click.command()
@click.argument("uid", metavar="UID")
@click.option("--reason", required=True, help="Told to everybody who asks for it from now on.")
@config_option
def withdraw(uid: str, reason: str, config: Path | None) -> None:
    """Take back an instance, a series or a study, named by its UID.

    Managed files are deleted; files indexed where they lie are not touched. Who asks for it is answered 410
    with the reason, and it is not taken in again until it is restored. The server may be at work.
    """
    with opened_archive(read_settings(config)) as archive:
        done = withdraw_named(archive, uid, reason, BY)
    instances, in_place = sum(each.instances for each in done), sum(each.in_place for each in done)
    click.echo(f"{instances} instances are withdrawn: {done[0].reason}")
    if in_place:
        click.echo(f"The files of {in_place} of them lie where they were indexed; they are yours to delete.")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@config_option
def withdrawn(config: Path | None, *, as_json: bool) -> None:
    """List what was withdrawn: when, instance, by whom, why."""
    with opened_archive(read_settings(config)) as archive:
        tombstones = all_withdrawn(archive)
    if as_json:
        rows = [asdict(each) | {"sha256": each.sha256.hex() if each.sha256 else None} for each in tombstones]
        click.echo(orjson.dumps(rows).decode())
        return
    for each in tombstones:
        click.echo(f"{each.withdrawn_at}  {each.sop_instance_uid}  {each.withdrawn_by}  {each.reason}")
    if not tombstones:
        click.echo("Nothing is withdrawn.")


@click.command()
@click.argument("uid", metavar="UID")
@config_option
def restore(uid: str, config: Path | None) -> None:
    """Let a withdrawn instance, series or study come back.

    Nothing was kept of managed files: store them again. Files in place come back with the next index.
    """
    with opened_archive(read_settings(config)) as archive:
        tombstones = restore_named(archive, uid)
    click.echo(f"{len(tombstones)} instances may come back: store them again, or index their folder.")
