"""How an association ends before its time."""


class AssociationEnded(Exception):
    """The association is over; nothing more can be said on it."""


class Released(AssociationEnded):
    """The peer released it in good order."""


class Aborted(AssociationEnded):
    """The peer aborted it, or the connection broke."""


class TimedOut(AssociationEnded):
    """The peer was silent, or took nothing, for too long: we abort."""


class Stopping(AssociationEnded):
    """The listener stops: we abort."""


class Cancelled(Exception):
    """The caller cancelled its request while we waited for another; the association goes on."""


class ProtocolError(AssociationEnded):
    """The peer sent what the protocol does not allow: we abort with this reason (PS3.8 Table 9-26)."""

    def __init__(self, message: str, reason: int = 0) -> None:
        super().__init__(message)
        self.reason = reason
