"""`dermzoo profile`."""

import json
from pathlib import Path

import click

from app.archive.archive import CAGED_WALL_S
from app.archive.profile import profile_folder
from app.archive.profile_report import lines, to_json
from app.cage import Cage
from app.cli.configuration import config_option, read_settings
from app.cli.progress import progress


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print a report for programs.")
@config_option
def profile(folder: Path, config: Path | None, *, as_json: bool) -> None:
    """Tell what a folder of DICOM files holds, before it is indexed; nothing is catalogued or changed.

    SOP classes, transfer syntaxes, modalities, photometric interpretations, sizes, UIDs, and every file that
    the index would refuse, with the reason.
    """
    settings = read_settings(config)
    cage = Cage(
        settings.caged_processes, settings.caged_memory_bytes, settings.caged_cpu_s, wall_s=CAGED_WALL_S
    )
    own = (settings.data_dir, settings.objects_dir)
    try:
        with progress(None, "Reading files") as shown_progress:
            found = profile_folder(cage, folder, own, shown_progress.advance)
    finally:
        cage.close()
    if as_json:
        click.echo(json.dumps(to_json(found), indent=2))
    else:
        for line in lines(found):
            click.echo(line)
