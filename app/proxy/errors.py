"""What goes wrong between us and another server; it is never the fault of the client, nor its quota."""

from app.errors import ArchiveError


class UpstreamError(ArchiveError):
    """Another server does not do what it should."""


class UpstreamFailed(UpstreamError):
    """The other server failed, refused our credentials, or answered what cannot be right."""


class UpstreamUnavailable(UpstreamError):
    """The other server is overloaded or failed again and again; it is left alone for a while.

    `after_s` are the seconds after which asking again makes sense.
    """

    def __init__(self, text: str, after_s: int = 5) -> None:
        super().__init__(text)
        self.after_s = after_s


class UpstreamTimeout(UpstreamError):
    """The other server did not answer in time."""
