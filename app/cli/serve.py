"""`dermzoo serve`: the web server, in one process or several."""

import os
import signal
import sys
from pathlib import Path

import click
import uvicorn

from app.archive.archive import Archive
from app.cli.opening import config_option, opened_archive, prepare_catalog, read_settings
from app.dimse.process import Listeners, check_peers, listening_socket, tls_context
from app.errors import SettingsError
from app.main import CONFIG_VARIABLE
from app.observability.logging import configure_logging
from app.observability.metrics import share_between_processes
from app.settings import Settings
from app.throttle.budget import open_budget
from app.web.dependencies import SERVICE_PATH
from app.web.protocol import BoundedHttpProtocol


@click.command()
@click.option("--host", help="Address to listen on (default: 127.0.0.1).")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on (default: 8080).")
@click.option("--workers", type=click.IntRange(1, 64), help="Server processes (default: 2).")
@click.option("--dimse/--no-dimse", default=None, help="Listen on the DICOM network too (default: no).")
@config_option
def serve(
    host: str | None,
    port: int | None,
    workers: int | None,
    dimse: bool | None,  # noqa: FBT001 click passes it by name
    config: Path | None,
) -> None:
    """Serve the archive over DICOMweb, and on the DICOM network with --dimse, until stopped.

    Ctrl-C, or SIGTERM, stops it: no new request is taken, and answers under way may finish for 30 seconds.
    """
    settings = read_settings(config, host=host, port=port, workers=workers, dimse=dimse)
    configure_logging(settings.log_level)
    prepare_catalog(settings)
    _check_before_start(settings)
    _tell_worker_processes(settings, config)
    click.echo(
        f"dermzoo serves DICOMweb at {settings.base_url}{SERVICE_PATH}\n"
        f"  studies   {settings.base_url}{SERVICE_PATH}/studies\n"
        f"  API       {settings.base_url}/docs\n"
        f"  health    {settings.base_url}/readyz    metrics {settings.base_url}/metrics    your quota "
        f"{settings.base_url}/quota\n"
        "Stop it with Ctrl-C. Not for clinical use.",
        err=True,
    )
    listeners = _listen_beside(settings)
    # uvicorn stops in good order and then raises the signal again: by then it is no more than the end.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        _serve_web(settings)
    finally:
        if listeners is not None:
            listeners.close()


def _serve_web(settings: Settings) -> None:
    uvicorn.run(
        "app.main:app_from_environment",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        http=BoundedHttpProtocol,
        loop="uvloop",
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # throttle/clients.py reads them, and believes only the proxies it is told of
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_grace_s,
    )


def _listen_beside(settings: Settings) -> Listeners | None:
    """Start what listens on the DICOM network; raises SettingsError now rather than in its processes."""
    if not settings.dimse:
        return None
    listening_socket(settings).close()
    tls_context(settings)
    check_peers(settings)
    click.echo(
        f"  DICOM     {settings.dimse_ae_title} at {settings.host}:{settings.dimse_port}; try\n"
        f"            echoscu -aec {settings.dimse_ae_title} {settings.host} {settings.dimse_port}",
        err=True,
    )
    listeners = Listeners(settings)
    listeners.wait_until_ready()
    return listeners


def _check_before_start(settings: Settings) -> None:
    """Raise SettingsError now, once, rather than in every worker; clear what a killed server left."""
    if settings.budget_url.startswith("memory:") and settings.workers > 1:
        raise SettingsError(
            "DERMZOO_THROTTLE_URL=memory: gives each worker process a budget of its own. "
            "Use mmap:PATH, or --workers 1"
        )
    if settings.throttle == "on":
        open_budget(settings).close()
    with opened_archive(settings) as archive:
        _clear_scratch(archive)


def _clear_scratch(archive: Archive) -> None:
    if archive.scratch_dir.is_dir():
        for left_over in archive.scratch_dir.iterdir():
            left_over.unlink()


def _tell_worker_processes(settings: Settings, config: Path | None) -> None:
    """Leave them the settings that were given as options."""
    for name in ("host", "port", "workers"):
        os.environ[f"DERMZOO_{name.upper()}"] = str(getattr(settings, name))
    if config is not None:
        os.environ[CONFIG_VARIABLE] = str(config.absolute())
    share_between_processes(settings.data_dir / "metrics")
