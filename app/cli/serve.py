"""`dermzoo serve`: the web server, in one process or several.

With several, this one only starts and watches them, and stays small: it holds what it imports as long as it
runs.
"""

import multiprocessing
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

from app.cli.configuration import config_option
from app.cli.prepared import Prepared
from app.observability.logging import configure_logging


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
    prepared = prepared_apart(config, {"host": host, "port": port, "workers": workers, "dimse": dimse})
    chosen = prepared.chosen
    configure_logging(chosen["log_level"])
    os.environ.update(prepared.environment)
    click.echo(prepared.welcome, err=True)
    with _listening_beside(chosen):
        # uvicorn stops in good order and then raises the signal again: by then it is no more than the end.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _end)
        _serve_web(chosen)


def _end(*_: object) -> None:
    """End, and the worker processes too: the signal may come before uvicorn knows of them."""
    for child in multiprocessing.active_children():
        child.terminate()
    sys.exit(0)


def _serve_web(chosen: Mapping[str, Any]) -> None:
    uvicorn.run(
        "app.main:app_from_environment",
        factory=True,
        host=chosen["host"],
        port=chosen["port"],
        workers=chosen["workers"],
        http="app.web.protocol:BoundedHttpProtocol",
        loop="uvloop",
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # throttle/clients.py reads them, and believes only the proxies it is told of
        server_header=False,
        timeout_graceful_shutdown=chosen["shutdown_grace_s"],
    )


def prepared_apart(config: Path | None, options: Mapping[str, object]) -> Prepared:
    """Prepare to serve, in a process that ends with what it imported; raises SettingsError."""
    if options["workers"] == 1:  # this process will hold the application itself
        return _prepare(config, options)
    with ProcessPoolExecutor(1, get_context("fork")) as short_lived:
        return short_lived.submit(_prepare, config, options).result()


def _prepare(config: Path | None, options: Mapping[str, object]) -> Prepared:
    from app.cli.before_serving import prepare  # noqa: PLC0415 see above

    return prepare(config, options)


@contextmanager
def _listening_beside(chosen: Mapping[str, Any]) -> Iterator[None]:
    """Start what listens on the DICOM network, and end it in good order; raises SettingsError."""
    if not chosen["dimse"]:
        yield
        return
    from app.dimse.listeners import Listeners  # noqa: PLC0415 see above

    listeners = Listeners(chosen)
    listeners.wait_until_ready()
    try:
        yield
    finally:
        listeners.close()
