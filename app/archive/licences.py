"""The three licences under which ISIC publishes, and what each asks for."""

from dataclasses import dataclass


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
LICENCE_BY_ID = {licence.id: licence for licence in LICENCES}
