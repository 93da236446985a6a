"""The URLs of what is held."""

from app.catalog.holdings import Held


def location_of(root: str, held: Held) -> str:
    """Return the URL of an instance."""
    return (
        f"{root}/studies/{held.study_instance_uid}/series/{held.series_instance_uid}"
        f"/instances/{held.sop_instance_uid}"
    )
