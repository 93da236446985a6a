"""What `dermzoo serve` makes sure of before it starts the processes that serve."""

from app.archive.archive import Archive
from app.cli.opening import opened_archive
from app.errors import SettingsError
from app.settings import Settings
from app.throttle.opening import open_budget


def check_before_serving(settings: Settings) -> None:
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

    listening_socket(settings).close()
    tls_context(settings)
    check_peers(settings)
