"""`dermzoo mirror UPSTREAM --study UID`."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from app.archive.archive import Archive
from app.cli.configuration import config_option, read_settings
from app.cli.opening import opened_archive
from app.cli.progress import progress
from app.errors import SettingsError
from app.proxy.mirror import MirrorReport, mirror_study
from app.proxy.proxy import Proxy
from app.proxy.upstreams import read_upstreams
from app.settings import Settings
from app.throttle.budget import Budget
from app.throttle.opening import open_budget


@click.command()
@click.argument("upstream")
@click.option(
    "--study",
    "studies",
    multiple=True,
    required=True,
    metavar="UID",
    help="A study; may be given more than once.",
)
@config_option
def mirror(upstream: str, studies: tuple[str, ...], config: Path | None) -> None:
    """Copy studies of UPSTREAM, a name in config/upstreams.toml, into this archive.

    It takes its turn among all who ask that server through here, and waits where they would be refused. Run
    it again after it was interrupted, or when the study has grown: what is held is not fetched again.
    Each instance that could not be taken is listed with the reason, and the exit code is then 1.
    """
    settings = read_settings(config)
    if upstream not in {one.name for one in read_upstreams(settings).upstream}:
        raise SettingsError(f"{settings.upstreams_file} names no upstream {upstream!r}")
    with opened_archive(settings) as archive, _opened_budget(settings) as budget:
        proxy = Proxy.open(settings, budget, is_patient=True)
        report = asyncio.run(_mirror(archive, proxy, upstream, studies))
    for uid, reason in report.failed:
        click.echo(f"{uid}: {reason}")
    click.echo(f"{report.stored} stored, {report.held} held before, {len(report.failed)} failed.")
    sys.exit(1 if report.failed else 0)


@contextmanager
def _opened_budget(settings: Settings) -> Iterator[Budget | None]:
    if settings.throttle == "off":
        yield None
        return
    budget = open_budget(settings)
    try:
        yield budget
    finally:
        budget.close()


async def _mirror(archive: Archive, proxy: Proxy, upstream: str, studies: tuple[str, ...]) -> MirrorReport:
    report = MirrorReport()
    try:
        with progress(None, f"Copying from {upstream}") as shown:
            for study in studies:
                await mirror_study(archive, proxy.services[upstream], study, report, shown.advance)
    finally:
        await proxy.close()
    return report
