"""The three licences under which ISIC publishes, and what each asks for."""

from dataclasses import dataclass

from app.errors import NotImportable


@dataclass(frozen=True, slots=True)
class Licence:
    """One licence; `id` is ISIC's own name for it."""

    id: str
    spdx_id: str
    title: str
    url: str
    needs_attribution: bool
    allows_commercial_use: bool


# From the most to the least permissive.
LICENCES = (
    Licence(
        "CC-0",
        "CC0-1.0",
        "CC0 1.0 Universal",
        "https://creativecommons.org/publicdomain/zero/1.0/",
        needs_attribution=False,
        allows_commercial_use=True,
    ),
    Licence(
        "CC-BY",
        "CC-BY-4.0",
        "Attribution 4.0 International",
        "https://creativecommons.org/licenses/by/4.0/",
        needs_attribution=True,
        allows_commercial_use=True,
    ),
    Licence(
        "CC-BY-NC",
        "CC-BY-NC-4.0",
        "Attribution-NonCommercial 4.0 International",
        "https://creativecommons.org/licenses/by-nc/4.0/",
        needs_attribution=True,
        allows_commercial_use=False,
    ),
)
LICENCE_IDS = tuple(licence.id for licence in LICENCES)


def find_licence(licence_id: str) -> Licence:
    """Return the licence of that id; NotImportable when it is none of the three."""
    for licence in LICENCES:
        if licence.id == licence_id:
            return licence
    raise NotImportable("copyright_license", f"{licence_id!r} is not one of {', '.join(LICENCE_IDS)}")


def effective_licence(of_image: str | None, of_set: str | None) -> Licence:
    """Return the stricter of its own licence and that of the set it came in; NotImportable without any."""
    found = [find_licence(licence_id) for licence_id in (of_image, of_set) if licence_id]
    if not found:
        raise NotImportable("copyright_license", "no licence is given: pixels without one are not published")
    return max(found, key=LICENCES.index)
