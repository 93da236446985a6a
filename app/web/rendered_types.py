"""Which rendered media type an instance is sent in (PS3.18 8.7.4, 8.7.8)."""

from collections.abc import Collection, Sequence

from app.dicom.rendered_kinds import HTML, PDF, XML
from app.web.errors import RequestError
from app.web.negotiation import MediaRange, not_acceptable


def chosen_type(ranges: Sequence[MediaRange], types: Sequence[str]) -> tuple[str, MediaRange] | None:
    """Return the media type that the client likes best, and the range that says so; None if none is accepted.

    Among those it likes as well as one another the server's first goes: a browser that lists all the formats
    it knows gets the one that need not be made.
    """
    found = [
        (-media_range.quality, place, media_type, media_range)
        for place, media_type in enumerate(types)
        for media_range in ranges
        if media_range.covers(media_type) and not _names_pixels(media_range)
    ]
    if not found:
        return None
    _, _, media_type, media_range = min(found, key=lambda one: one[:2])
    return media_type, media_range


def nothing_accepted(types: Sequence[str], *, several: bool) -> RequestError:
    """Return the refusal; it names what there is."""
    forms = ", ".join(dict.fromkeys(types))
    if several:
        return not_acceptable(f"Several items are available as multipart/related with a type of {forms}.")
    return not_acceptable(f"There is {forms}, alone or in multipart/related.")


def security_headers(media_types: Collection[str]) -> dict[str, str]:
    """Return what keeps a text from strangers from acting in a browser as if it were ours.

    A PDF is not put in a sandbox, for browsers do not show it in one; it runs nothing of ours.
    """
    if {HTML, XML} & set(media_types):
        return {"Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'"}
    if PDF in media_types:
        return {"Content-Security-Policy": "default-src 'none'; object-src 'self'"}
    return {}


def _names_pixels(media_range: MediaRange) -> bool:
    # With a transfer syntax it is a DICOM media type, which this resource does not have (8.7.3, 8.7.4).
    return media_range.transfer_syntax is not None and not media_range.content_type.endswith("*")
