"""Which licence metadata name, and which holds where a set has one too."""

from app.archive.licences import LICENCE_BY_ID, LICENCE_IDS, LICENCES, Licence
from app.errors import NotImportable

__all__ = ["LICENCES", "LICENCE_BY_ID", "LICENCE_IDS", "Licence", "effective_licence", "find_licence"]


def find_licence(licence_id: str) -> Licence:
    """Return the licence of that id; NotImportable when it is none of the three."""
    if licence_id in LICENCE_BY_ID:
        return LICENCE_BY_ID[licence_id]
    raise NotImportable("copyright_license", f"{licence_id!r} is not one of {', '.join(LICENCE_IDS)}")


def effective_licence(of_image: str | None, of_set: str | None) -> Licence:
    """Return the stricter of its own licence and that of the set it came in; NotImportable without any."""
    found = [find_licence(licence_id) for licence_id in (of_image, of_set) if licence_id]
    if not found:
        raise NotImportable("copyright_license", "no licence is given: pixels without one are not published")
    return max(found, key=LICENCES.index)
