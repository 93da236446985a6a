"""`dermzoo bake`."""

import sys
from collections import Counter
from pathlib import Path

import click
import orjson

from app.archive.bake import Baked, bake
from app.catalog.overlays import count_overlaid
from app.cli.configuration import config_option, read_settings
from app.cli.opening import opened_archive
from app.cli.progress import progress
from app.cli.terms import Licences, terms_options
from app.corpus.rights import Rights, licence_text

IMAGES_NAME, LICENCES_NAME = "images", "LICENSE.txt"


@click.command(name="bake")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@terms_options
@click.option("--json", "as_json", is_flag=True, help="Print a report for programs.")
@config_option
def bake_command(folder: Path, config: Path | None, *, as_json: bool, licences: Licences) -> None:
    """Write copies of files with their facts in them to FOLDER/images, for programs that read files.

    What `dermzoo metadata apply` joined is shown by the server beside files that stay as they came; in these
    copies it is in the file. Pixels are copied unchanged, the UIDs stay. Copies that are there are not made
    again. FOLDER/LICENSE.txt says on which terms each may be used.
    """
    images = folder / IMAGES_NAME
    images.mkdir(parents=True, exist_ok=True)
    outcomes: Counter[str] = Counter()
    problems: list[Baked] = []
    rights: dict[Rights, list[str]] = {}
    with opened_archive(read_settings(config)) as archive:
        with archive.catalog.read() as connection:
            total = count_overlaid(connection)
        with progress(total, "baking", sys.stderr) as shown:
            for each in bake(archive, images, licences):
                shown.advance()
                if each.held is None:
                    problems.append(each)
                    continue
                if each.is_left_out:
                    outcomes["left out"] += 1
                    continue
                outcomes["already there" if each.was_there else "written"] += 1
                terms = Rights(each.held.licence_id, None, each.held.attribution)
                rights.setdefault(terms, []).append(each.path.name)
    if rights:
        (folder / LICENCES_NAME).write_text(licence_text(rights), encoding="utf-8")
    _tell(outcomes, problems, images, as_json=as_json)
    sys.exit(1 if problems else 0)


def _tell(outcomes: Counter[str], problems: list[Baked], folder: Path, *, as_json: bool) -> None:
    if as_json:
        refused = [{"sop_instance_uid": each.sop_instance_uid, "reason": each.problem} for each in problems]
        report = {
            "written": outcomes["written"],
            "already_there": outcomes["already there"],
            "left_out": outcomes["left out"],
            "refused": refused,
        }
        click.echo(orjson.dumps(report, option=orjson.OPT_INDENT_2).decode())
        return
    for each in problems:
        click.echo(f"refused: {each.sop_instance_uid}: {each.problem}")
    counted = f"{outcomes['written']} written, {outcomes['already there']} already there"
    if outcomes["left out"]:
        counted += f", {outcomes['left out']} under other licences"
    click.echo(f"{counted}, {len(problems)} refused, in {folder}.")
    if not outcomes and not problems:
        click.echo("Nothing is shown beside any file. Next: dermzoo metadata apply --help")
