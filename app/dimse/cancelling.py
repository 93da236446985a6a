"""C-CANCEL (PS3.7 9.3.2.3): noticed wherever we look, and remembered for whoever asks next."""

from app.dimse.association import Association, Message


class Cancellation:
    """Whether the caller has cancelled a request by now; asked as often as there is time."""

    def __init__(self, association: Association, message: Message) -> None:
        self._association, self._message = association, message
        self._is_cancelled = False

    def __call__(self) -> bool:
        """Look whether a C-CANCEL has come; raises an AssociationEnded when the association is over."""
        self._is_cancelled = self._is_cancelled or self._association.is_cancelled(self._message)
        return self._is_cancelled

    def take(self, received: Message) -> bool:
        """Heed a message that came while another was expected: nothing but a C-CANCEL may."""
        self._is_cancelled = self._association.is_cancel(received, self._message) or self._is_cancelled
        return True
