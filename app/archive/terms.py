"""Licence and attribution as rules: of what is of the corpus no pixels leave without both.

Every path that opens the bytes of an instance to serve them asks here (retrieve.open_stored, file_of). What
an instance says of itself, its metadata, is served whatever its terms.
"""

from collections.abc import Sequence

from app.archive.licences import LICENCE_BY_ID, LICENCE_IDS
from app.catalog.holdings import Held
from app.dicom.frames import bulk_paths
from app.errors import NotLicensed
from app.settings import Settings

PIXELS = frozenset({"7FE00010", "7FE00008", "7FE00009"})  # PS3.5 8.1.1: integers, floats, doubles
_COMMANDS = (
    "dermzoo index --license ID --attribution TEXT DIR, for files that lie in a folder, or dermzoo metadata "
    "apply, for images of the corpus"
)


def require_terms(settings: Settings, held: Held) -> None:
    """Raise NotLicensed unless the pixels of an instance may be served."""
    if (held.is_bound or settings.require_license) and (missing := missing_terms(held)):
        raise NotLicensed(
            f"The pixels of the instance {held.sop_instance_uid} are not served: {missing}. "
            f"The operator of this archive may state what is missing with {_COMMANDS}."
        )


def licensed_among(settings: Settings, instances: Sequence[Held]) -> list[Held]:
    """Return those whose pixels, if they have any, may be served."""
    asks = settings.require_license
    return [held for held in instances if not ((held.is_bound or asks) and missing_terms(held))]


def missing_terms(held: Held) -> str:
    """Return what its pixels lack to be served on complete terms; empty if nothing, or if it has none."""
    if not held.frames and not any(holds_pixels(path) for path in bulk_paths(held.bulk)):
        return ""
    if held.licence_id is None:
        return "its licence is not known"
    licence = LICENCE_BY_ID.get(held.licence_id)
    if licence is None:
        return f"its licence is not one of {', '.join(LICENCE_IDS)}"
    if licence.needs_attribution and not held.attribution:
        return f"under {licence.id} whoever made it must be named, and whom to name is not known"
    return ""


def holds_pixels(path: str) -> bool:
    """Whether the bulk value at a path are pixels, of the image or of an icon in it."""
    return path[-8:] in PIXELS
