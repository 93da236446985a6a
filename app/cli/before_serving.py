"""What `dermzoo serve` makes sure of before it starts the processes that serve."""

import os
from collections.abc import Mapping
from pathlib import Path

from app.archive.archive import Archive
from app.archive.embargoes import today
from app.archive.hiding import settle
from app.cli.configuration import read_settings
from app.cli.opening import opened_archive
from app.cli.prepared import Prepared
from app.errors import SettingsError
from app.observability.logging import configure_logging
from app.observability.shared_metrics import MULTIPROCESS_DIR, emptied_folder
from app.settings import CONFIG_VARIABLE, EVERYWHERE, SERVICE_PATH, Settings
from app.throttle.opening import open_budget

_WELCOME = """\
dermzoo serves DICOMweb at {base}{path}
  studies   {base}{path}/studies
  API       {base}/docs
  health    {base}/readyz    metrics {base}/metrics    your quota {base}/quota
Stop it with Ctrl-C. Not for clinical use."""

_WELCOME_TO_OTHERS = """
It listens on every address, and its answers name this one. Set DERMZOO_PUBLIC_URL to what others reach."""

_WELCOME_OF_DIMSE = """
  DICOM     {title} at {host}:{port}; try
            echoscu -aec {title} {host} {port}"""


def prepare(config: Path | None, options: Mapping[str, object]) -> Prepared:
    """Read the settings, check them and what they name; raises SettingsError."""
    settings = read_settings(config, **options)
    configure_logging(settings.log_level)
    environment = _environment(settings, config)
    os.environ.update(environment)  # in time for prometheus_client, should this process serve
    _check(settings)
    welcome = _WELCOME.format(base=settings.base_url, path=SERVICE_PATH)
    if settings.host in EVERYWHERE and not settings.public_url:
        welcome += _WELCOME_TO_OTHERS
    if settings.dimse:
        welcome += _WELCOME_OF_DIMSE.format(
            title=settings.dimse_ae_title, host=settings.host, port=settings.dimse_port
        )
    return Prepared(settings.model_dump(), environment, welcome)


def _environment(settings: Settings, config: Path | None) -> dict[str, str]:
    """Return the settings that were given as options, and where counts are shared."""
    given = {f"DERMZOO_{name.upper()}": str(getattr(settings, name)) for name in ("host", "port", "workers")}
    if config is not None:
        given[CONFIG_VARIABLE] = str(config.absolute())
    return given | {MULTIPROCESS_DIR: emptied_folder(settings.data_dir / "metrics")}


def _check(settings: Settings) -> None:
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
        settle(archive, today())
    if settings.dimse:
        _check_dimse(settings)


def _clear_scratch(archive: Archive) -> None:
    if archive.scratch_dir.is_dir():
        for left_over in archive.scratch_dir.iterdir():
            left_over.unlink()


def _check_dimse(settings: Settings) -> None:
    from app.dimse.process import (  # noqa: PLC0415 a server without DIMSE needs none of it
        check_peers,
        listening_socket,
        tls_context,
    )
    from app.dimse.titles import require_distinct  # noqa: PLC0415
    from app.dimse.upstreams import upstream_titles  # noqa: PLC0415

    listening_socket(settings, is_shared=False).close()
    tls_context(settings)
    check_peers(settings)
    require_distinct(settings, upstream_titles(settings).values())
