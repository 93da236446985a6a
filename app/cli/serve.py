"""`dermzoo serve`: the web server, in one process or several.

With several, this one only starts and watches them, and stays small: it holds what it imports as long as it
runs.
"""

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import uvicorn

from app.cli.configuration import config_option, read_settings
from app.observability.logging import configure_logging
from app.observability.shared_metrics import share_between_processes
from app.settings import CONFIG_VARIABLE, SERVICE_PATH, Settings


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
    _tell_worker_processes(settings, config)
    _check(settings)
    click.echo(
        f"dermzoo serves DICOMweb at {settings.base_url}{SERVICE_PATH}\n"
        f"  studies   {settings.base_url}{SERVICE_PATH}/studies\n"
        f"  API       {settings.base_url}/docs\n"
        f"  health    {settings.base_url}/readyz    metrics {settings.base_url}/metrics    your quota "
        f"{settings.base_url}/quota\n"
        "Stop it with Ctrl-C. Not for clinical use.",
        err=True,
    )
    with _listening_beside(settings):
        # uvicorn stops in good order and then raises the signal again: by then it is no more than the end.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: sys.exit(0))
        _serve_web(settings)


def _serve_web(settings: Settings) -> None:
    uvicorn.run(
        "app.main:app_from_environment",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        http="app.web.protocol:BoundedHttpProtocol",
        loop="uvloop",
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # throttle/clients.py reads them, and believes only the proxies it is told of
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_grace_s,
    )


def _check(settings: Settings) -> None:
    """Check what the settings name, in a process that ends with what it imported; raises SettingsError."""
    chosen = settings.model_dump()
    if settings.workers == 1:  # this process will hold the application itself
        _check_here(chosen)
        return
    with ProcessPoolExecutor(1, get_context("fork")) as short_lived:
        short_lived.submit(_check_here, chosen).result()


def _check_here(chosen: Mapping[str, Any]) -> None:
    from app.cli.before_serving import check_before_serving  # noqa: PLC0415 see above

    check_before_serving(Settings(**chosen))


@contextmanager
def _listening_beside(settings: Settings) -> Iterator[None]:
    """Start what listens on the DICOM network, and end it in good order; raises SettingsError."""
    if not settings.dimse:
        yield
        return
    from app.dimse.listeners import Listeners  # noqa: PLC0415 see above

    click.echo(
        f"  DICOM     {settings.dimse_ae_title} at {settings.host}:{settings.dimse_port}; try\n"
        f"            echoscu -aec {settings.dimse_ae_title} {settings.host} {settings.dimse_port}",
        err=True,
    )
    listeners = Listeners(settings)
    listeners.wait_until_ready()
    try:
        yield
    finally:
        listeners.close()


def _tell_worker_processes(settings: Settings, config: Path | None) -> None:
    """Leave them the settings that were given as options. Before anything imports prometheus_client."""
    for name in ("host", "port", "workers"):
        os.environ[f"DERMZOO_{name.upper()}"] = str(getattr(settings, name))
    if config is not None:
        os.environ[CONFIG_VARIABLE] = str(config.absolute())
    share_between_processes(settings.data_dir / "metrics")
