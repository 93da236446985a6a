"""206 for a resource of which only a part can be sent (PS3.18 8.5, 10.4.3): decided before the first byte."""

from dataclasses import dataclass
from http import HTTPStatus

from starlette.responses import Response

from app.errors import InstanceUnavailable
from app.web.conditional import PARTIAL


@dataclass(frozen=True, slots=True)
class LeftOut:
    """How many of the items that a request addresses are not sent, and why."""

    items: str  # what they are called
    addressed: int
    not_acceptable: int
    unreadable: int
    unlicensed: int = 0

    @property
    def count(self) -> int:
        """How many in all."""
        return self.not_acceptable + self.unreadable + self.unlicensed

    def __str__(self) -> str:
        """Say it to a person."""
        reasons = (
            (self.not_acceptable, "not available in an accepted media type and transfer syntax"),
            (self.unreadable, "missing or changed on the disk"),
            (self.unlicensed, "of unknown licence or attribution"),
        )
        why = ", ".join(f"{count} {reason}" for count, reason in reasons if count)
        return f"{self.count} of {self.addressed} {self.items} are left out: {why}"


def refuse_nothing(left_out: LeftOut) -> None:
    """Raise InstanceUnavailable when nothing is left to send."""
    if left_out.count == left_out.addressed:
        raise InstanceUnavailable(f"{left_out}.")


def mark_partial(response: Response, root: str, left_out: LeftOut) -> Response:
    """Make it 206 with a `Warning` if something is left out; it is then not for keeping."""
    if left_out.count:
        response.status_code = HTTPStatus.PARTIAL_CONTENT
        response.headers["Warning"] = f"299 {root}: {left_out}"
        response.headers["Cache-Control"] = PARTIAL
    return response
